"""Profile likelihood: chi2 over one or two parameters, minimised over all others; resumable.

1. Tempered SMC (:mod:`smc`); the populations of all temperatures are kept. The hot ones cover the
   plane, the cold ones have the modes.
2. Every cell is minimised (:mod:`minimise`) from the best of its nearest points of that pool and
   from the best of some at random of one chart (:mod:`charts`), for a few steps; a start that is
   not expected to end below what the cell has is given up.
3. Sweeps: a cell starts again from the minima of its neighbours, and from its own where that had
   not converged, and keeps what is lowest, until nothing is lower. So a basin that one cell has
   found spreads to all cells that it reaches, and most steps are taken from near a minimum. A
   minimum that goes to the next mass takes its own masses along at their ratios or leaves them:
   poles and thresholds lie at ratios.
4. The best fit (:mod:`best_fit`), with nothing fixed, from the lowest cells and points of the pool.

After every stage and sweep the state goes to ``profile.pkl`` in the output folder; the same profile
started again there goes on from it, with the numbers it would have given in one go.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import smc
from .ahead import ahead
from .best_fit import best_fit
from .charts import Charts, numbers
from .checkpoint import Checkpoint
from .minimise import Minima, chi2_of, compile_minimiser, minimise
from .nuts import bulk_covariance
from .profile_grid import Grid
from .progress import Progress, silent
from .provenance import fingerprint
from .target import Evaluated, Target, columns, evaluate

FILE = "profile.pkl"
_TURNS = np.array([1, 2])
"""Charts that a step along each axis of the grid goes on."""
_GIVEN = 2
"""Neighbours that a cell starts from in a sweep, at most."""
IMPROVED = 0.01
"""A cell whose chi2 falls by less than this sends its neighbours nowhere."""


@dataclasses.dataclass(frozen=True)
class ProfileSettings:
    """Sizes of a profile."""

    names: tuple[str, ...]
    """one or two scanned parameters"""
    size: int
    """cells along each"""
    particles: int = 512
    moves: int = 4
    """population sweeps at each SMC temperature"""
    starts: int = 2
    """minimisations in each cell at first"""
    candidates: int = 8
    """points of the pool tried for each of them: the nearest, or some at random"""
    steps: int = 10
    """of a minimisation at first and in a sweep, at most"""
    sweeps: int = 100
    """at most"""
    free_starts: int = 64
    """of the best fit"""


@dataclasses.dataclass(frozen=True)
class State:
    """How far a profile has come."""

    pool: tuple[smc.Stage, ...] = ()
    cells: Any = None
    """:class:`Minima`, once there are"""
    improved: Any = None
    """cells whose chi2 fell in the last sweep by more than ``IMPROVED``"""
    sweeps: int = 0
    best: Any = None
    wall_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Profile:
    """What was found."""

    target: Target
    settings: ProfileSettings
    grid: Grid
    seed: int
    cells: Minima
    best: Minima
    """one row: the best fit"""
    pool: Evaluated
    """all points of the SMC"""
    columns: dict[str, float]
    """of the best fit: observables, ``loglike_<term>`` and ``pull_<term>``"""
    sweeps: int
    unsettled: int
    """cells that the last sweep still lowered; 0 unless the sweeps ran out"""
    wall_s: float

    @property
    def delta_chi2(self) -> np.ndarray:
        """Above the best fit, in the shape of the grid."""
        return (self.cells.chi2 - self.best.chi2[0]).reshape(self.grid.shape)


def run(
    target: Target,
    settings: ProfileSettings,
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress = silent,
) -> Profile:
    """The profile; the same seed gives the same numbers.

    Args:
        target: see :func:`profile_grid.scannable`.
        settings: what is scanned, and sizes.
        seed: of the SMC.
        folder: where the checkpoint is; None keeps none.
        progress: told what is going on.

    Raises:
        InputError: see :meth:`Grid.over`; the folder holds the checkpoint of another profile, or
            cannot be written.
    """
    grid = Grid.over(target.coordinates.prior, settings.names, settings.size)
    checkpoint = Checkpoint(folder, fingerprint(target, settings, seed), FILE, State())
    progress("compile", 0.0, "compiling the likelihood")
    state = checkpoint.state
    programs = _programs(target) if state.best is None else []
    last = state.pool[-1] if state.pool else None
    particles, moves = settings.particles, settings.moves
    for stage in smc.tempering(target, last, particles, moves, seed, progress):
        state = checkpoint.keep(pool=(*state.pool, stage))
    progress("compile", 1.0, "compiling the minimiser")
    for program in programs[:1]:
        program.result()
    covariance = bulk_covariance(state.pool[-1].points.y)
    pool = state.pool[0].points.joined(*(stage.points for stage in state.pool[1:]))

    def lowered(cells: np.ndarray, y: np.ndarray, phase: str, text: str) -> dict[str, Any]:
        """Fields of the state after starts ``y`` in ``cells``, of which some occur twice."""
        text = f"{text}, {len(y)} starts"
        progress(phase, 0.0, text)
        before = state.cells
        bar = None if before is None else before.chi2[cells] - IMPROVED
        found = minimise(
            target, y, grid.free, lambda n: progress(phase, n / len(y), text), settings.steps, bar
        )
        if before is None:
            return {"cells": found, "improved": np.ones(len(y), bool)}
        lowest = _lowest(cells, found.chi2)
        cells, found = cells[lowest], found[lowest]
        lower = found.chi2 < before.chi2[cells]
        after = before.updated(cells[lower], found[lower])
        return {"cells": after, "improved": before.chi2 - after.chi2 > IMPROVED}

    if state.cells is None:
        rng = np.random.default_rng([seed, 2])
        for number, first in enumerate(starts(target, grid, pool, settings, rng)):
            new = lowered(np.arange(len(first)), first, "cells", f"start {number + 1}")
            state = dataclasses.replace(state, **new)
        everywhere = np.ones(np.prod(grid.shape), bool)
        state = checkpoint.keep(cells=state.cells, improved=everywhere)
    while state.improved.any() and state.sweeps < settings.sweeps:
        cells, begin = from_neighbours(target, grid, state.cells, state.improved, covariance)
        unfinished = np.flatnonzero(~state.cells.converged & state.improved)
        cells = np.concatenate([cells, unfinished])
        begin = np.concatenate([begin, state.cells.y[unfinished]])
        if not len(cells):
            state = checkpoint.keep(improved=np.zeros_like(state.improved))
            break
        new = lowered(cells, begin, "sweep", f"sweep {state.sweeps + 1}")
        state = checkpoint.keep(**new, sweeps=state.sweeps + 1)
    if state.best is None:
        everything = np.ones(target.dimension, bool)
        first = _free_starts(target, state.cells, pool, settings.free_starts)
        progress("best fit", 0.0, f"{len(first)} starts")
        state = checkpoint.keep(best=minimise(target, best_fit(target, first)[None], everything))
    for program in programs:
        program.result()
    at_best = columns(target, state.best.y)
    return Profile(
        target,
        settings,
        grid,
        seed,
        state.cells,
        state.best,
        pool,
        {name: float(value[0]) for name, value in at_best.items()},
        state.sweeps,
        int(state.improved.sum()),
        state.wall_s,
    )


def _programs(target: Target) -> list[Future[None]]:
    """Start to compile what runs after the SMC."""

    def at_the_end() -> None:
        columns(target, np.zeros((1, target.dimension)))

    return ahead(partial(compile_minimiser, target), at_the_end)


def starts(
    target: Target,
    grid: Grid,
    pool: Evaluated,
    settings: ProfileSettings,
    rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """Starts (cells, dimension), ``settings.starts`` times: the best of the points near each cell
    once moved there, then the best of some at random in each chart in turn, which find what nothing
    near a cell knows of.
    """
    x = np.asarray(target.coordinates.to_box_many(pool.y))
    place, chi2 = grid.cell_of(x), chi2_of(target, pool)
    cells = np.stack(np.unravel_index(np.arange(np.prod(grid.shape)), grid.shape), axis=-1)
    count, tried = len(cells), settings.candidates
    # A cell of distance counts like one of chi2: far away only what is much better.
    near = [
        np.argpartition(chi2 + np.sum((place - cell) ** 2, axis=1), tried)[:tried] for cell in cells
    ]
    kind = numbers(Charts.of(target), pool.y)
    of_kind = [np.flatnonzero(kind == number) for number in np.unique(kind)]
    for start in range(settings.starts):
        # Cells beside each other take different ones in turn, and pass on what they find.
        turn = (start + cells @ _TURNS[: len(grid.names)]) % len(of_kind)
        anywhere = [rng.choice(of_kind[k], tried) for k in turn]
        rows = np.ravel(near if start == 0 else anywhere)
        moves = rng.integers(1 if start == 0 else len(grid.moves), size=len(rows))
        candidates = grid.projected(pool.y[rows], np.repeat(np.arange(count), tried), moves)
        chi2 = chi2_of(target, evaluate(target, candidates)).reshape(count, tried)
        lowest = np.argmin(chi2, axis=1)
        yield candidates.reshape(count, tried, -1)[np.arange(count), lowest]


def from_neighbours(
    target: Target, grid: Grid, minima: Minima, improved: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n,), some more than once, and starts (n, dimension) that improved neighbours give.

    A neighbour's minimum, moved to the cell, must be lower than the cell's, or another basin:
    further from the cell's than a standard deviation. What is near and not lower leads back.
    """
    beside = grid.neighbours()
    usable = (beside >= 0) & improved[beside]
    cells = np.flatnonzero(usable.any(axis=1))
    beside, usable = beside[cells], usable[cells]
    # Every way to move there; with a mass only from neighbours that differ in it.
    ways = [(number, leader) for number, (leader, _) in enumerate(grid.moves)]
    along = np.repeat(grid.axes, 2)
    usable = np.concatenate([usable & (w is None or along == w) for _, w in ways], axis=1)
    moves = np.tile(np.repeat([number for number, _ in ways], beside.shape[1]), len(cells))
    beside = np.tile(beside, len(ways))
    chi2 = np.full(beside.size, np.inf)
    tried = np.flatnonzero(usable)
    moved = minima.y[beside.ravel()]
    moved[tried] = grid.projected(
        moved[tried], np.repeat(cells, beside.shape[1])[tried], moves[tried]
    )
    chi2[tried] = chi2_of(target, evaluate(target, moved[tried]))
    chi2, moved = chi2.reshape(beside.shape), moved.reshape(*beside.shape, -1)
    offset = (moved - minima.y[cells, None])[..., grid.free]
    factor = np.linalg.cholesky(covariance[np.ix_(grid.free, grid.free)])
    away = np.linalg.solve(factor, offset[..., None])[..., 0]
    lower = chi2 < minima.chi2[cells, None] - IMPROVED
    usable &= lower | (np.sum(away**2, axis=-1) > 1.0)
    best = np.argsort(np.where(usable, chi2, np.inf), axis=1)[:, :_GIVEN]
    row, side = np.nonzero(np.take_along_axis(usable, best, axis=1))
    return cells[row], moved[row, best[row, side]]


def _lowest(cells: np.ndarray, chi2: np.ndarray) -> np.ndarray:
    """Index of the lowest chi2 (n,) of each cell that occurs in ``cells`` (n,)."""
    order = np.lexsort((chi2, cells))
    return order[np.unique(cells[order], return_index=True)[1]]


def _free_starts(target: Target, cells: Minima, pool: Evaluated, count: int) -> np.ndarray:
    """Half from the lowest cells, half from the lowest points of the pool."""
    half = count // 2
    lowest = np.argsort(cells.chi2)[:half]
    return np.concatenate([cells.y[lowest], pool.y[np.argsort(chi2_of(target, pool))[:half]]])

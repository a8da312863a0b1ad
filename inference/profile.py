"""Profile likelihood: chi2 over one or two parameters, minimised over all others; resumable.

1. Tempered SMC (:mod:`smc`); the populations of all temperatures are kept. The hot ones cover the
   plane, the cold ones have the modes.
2. Every cell is minimised (:mod:`minimise`) from the best of its nearest points of that pool and
   from some at random.
3. Sweeps: a cell starts again from the lowest minimum of its neighbours and keeps what is lower,
   until nothing is. So a basin that one cell has found spreads to all cells that it reaches.
4. The best fit: minimised with nothing fixed, from the lowest cells and points of the pool.

After every stage and sweep the state goes to ``profile.pkl`` in the output folder; the same profile
started again there goes on from it, with the numbers it would have given in one go.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from . import smc
from .checkpoint import Checkpoint
from .minimise import Minima, chi2_of, minimise
from .nuts import bulk_covariance
from .profile_grid import Grid
from .progress import Progress, silent
from .provenance import fingerprint
from .target import Evaluated, Target, columns, evaluate

FILE = "profile.pkl"
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
    moves: int = 8
    """population sweeps at each SMC temperature"""
    nearest: int = 8
    """points of the pool tried in each cell"""
    starts: int = 2
    """minimisations in each cell: from the best of those, and from points at random"""
    sweeps: int = 16
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
    last = state.pool[-1] if state.pool else None
    particles, moves = settings.particles, settings.moves
    for stage in smc.tempering(target, last, particles, moves, seed, progress):
        state = checkpoint.keep(pool=(*state.pool, stage))
    covariance = bulk_covariance(state.pool[-1].points.y)
    pool = state.pool[0].points.joined(*(stage.points for stage in state.pool[1:]))

    def lowered(y: np.ndarray, free: np.ndarray, phase: str, text: str) -> Minima:
        progress(phase, 0.0, text)
        return minimise(target, y, free, lambda n: progress(phase, n / len(y), text))

    if state.cells is None:
        first = starts(target, grid, pool, settings, np.random.default_rng([seed, 2]))
        found = lowered(first, grid.free, "cells", f"{len(first)} starts")
        chi2 = found.chi2.reshape(settings.starts, -1)
        lowest = np.argmin(chi2, axis=0) * chi2.shape[1] + np.arange(chi2.shape[1])
        state = checkpoint.keep(cells=found[lowest], improved=np.ones(len(lowest), bool))
    while state.improved.any() and state.sweeps < settings.sweeps:
        cells, begin = from_neighbours(target, grid, state.cells, state.improved, covariance)
        if not len(cells):
            state = checkpoint.keep(improved=np.zeros_like(state.improved))
            break
        text = f"sweep {state.sweeps + 1}, {len(cells)} cells from their neighbours"
        found = lowered(begin, grid.free, "sweep", text)
        state = checkpoint.keep(**_accepted(state.cells, cells, found), sweeps=state.sweeps + 1)
    if state.best is None:
        everything = np.ones(target.dimension, bool)
        first = _free_starts(target, state.cells, pool, settings.free_starts)
        found = lowered(first, everything, "best fit", f"{len(first)} starts")
        state = checkpoint.keep(best=found[[np.argmin(found.chi2)]])
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


def starts(
    target: Target,
    grid: Grid,
    pool: Evaluated,
    settings: ProfileSettings,
    rng: np.random.Generator,
) -> np.ndarray:
    """(starts x cells, dimension): the best of the points near each cell once moved there, then
    points of the pool at random, which find what nothing near a cell knows of."""
    x = np.asarray(target.coordinates.to_box_many(pool.y))
    place, chi2 = grid.cell_of(x), chi2_of(target, pool)
    cells = np.stack(np.unravel_index(np.arange(np.prod(grid.shape)), grid.shape), axis=-1)
    count, nearest = len(cells), settings.nearest
    # A cell of distance counts like one of chi2: far away only what is much better.
    near = [
        np.argpartition(chi2 + np.sum((place - cell) ** 2, axis=1), nearest)[:nearest]
        for cell in cells
    ]
    candidates = grid.projected(pool.y[np.ravel(near)], np.repeat(np.arange(count), nearest))
    lowest = np.argmin(chi2_of(target, evaluate(target, candidates)).reshape(count, -1), axis=1)
    best = candidates.reshape(count, nearest, -1)[np.arange(count), lowest]
    more = np.tile(np.arange(count), settings.starts - 1)
    anywhere = grid.projected(pool.y[rng.integers(len(pool.y), size=len(more))], more)
    return np.concatenate([best, anywhere])


def from_neighbours(
    target: Target, grid: Grid, minima: Minima, improved: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n,) to which an improved neighbour has something to give, and starts (n, dimension).

    Its minimum, moved to the cell, must be lower than the cell's, or another basin: further from
    the cell's than a standard deviation. What is near and not lower leads back.
    """
    beside = grid.neighbours()
    usable = (beside >= 0) & improved[beside]
    cells = np.flatnonzero(usable.any(axis=1))
    beside, usable = beside[cells], usable[cells]
    moved = grid.projected(minima.y[beside.ravel()], np.repeat(cells, beside.shape[1]))
    chi2 = chi2_of(target, evaluate(target, moved)).reshape(beside.shape)
    moved = moved.reshape(*beside.shape, -1)
    offset = (moved - minima.y[cells, None])[..., grid.free]
    factor = np.linalg.cholesky(covariance[np.ix_(grid.free, grid.free)])
    away = np.linalg.solve(factor, offset[..., None])[..., 0]
    lower = chi2 < minima.chi2[cells, None] - IMPROVED
    usable &= lower | (np.sum(away**2, axis=-1) > 1.0)
    best = np.argmin(np.where(usable, chi2, np.inf), axis=1)
    wanted = usable.any(axis=1)
    return cells[wanted], moved[np.arange(len(cells)), best][wanted]


def _accepted(before: Minima, cells: np.ndarray, found: Minima) -> dict[str, Any]:
    """Fields of the state after a sweep of ``cells``."""
    lower = found.chi2 < before.chi2[cells]
    after = before.updated(cells[lower], found[lower])
    return {"cells": after, "improved": before.chi2 - after.chi2 > IMPROVED}


def _free_starts(target: Target, cells: Minima, pool: Evaluated, count: int) -> np.ndarray:
    """Half from the lowest cells, half from the lowest points of the pool."""
    half = count // 2
    lowest = np.argsort(cells.chi2)[:half]
    return np.concatenate([cells.y[lowest], pool.y[np.argsort(chi2_of(target, pool))[:half]]])

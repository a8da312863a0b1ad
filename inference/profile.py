"""Profile likelihood: chi2 over one or two parameters, minimised over all others; resumable.

1. Tempered SMC (:mod:`smc`); the populations of all temperatures are kept. The hot ones cover the
   plane, the cold ones have the modes.
2. Every second cell is minimised (:mod:`minimise`) from the best of its nearest points of that
   pool, and those between from the best of some at random of one chart (:mod:`charts`), cells close
   to each other of different ones in turn. These go on for long: a basin that is not the lowest in
   this cell may be in one near by.
3. The cells between start again from the nearest of these minima: in each chart from the best, and
   of these from the two lowest.
4. Sweeps: a cell starts again from minima of its neighbours, two that lie apart, and from its own
   where that had not converged, and keeps what is lowest, until nothing is lower, nor after those
   that have not converged went on to the end, each once unless it improves. So a basin that one
   cell has found spreads to all cells that it reaches, and most steps are taken from near a
   minimum. A minimum that goes to the next mass takes its own masses along at their ratios or
   leaves them: poles and thresholds lie at ratios.
5. The best fit (:mod:`best_fit`), with nothing fixed, from the lowest cells and points of the pool.

What is moved to another cell is put onto the relic shell there if that is lower. In 3 and 4 a start
is given up when it is not expected to end below what the cell has. After every stage and sweep the
state goes to ``profile.pkl`` in the output folder; the same profile started again there goes on
from it, with the numbers it would have given in one go.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import profile_starts as starts
from . import smc
from .ahead import ahead
from .best_fit import best_fit
from .checkpoint import Checkpoint
from .minimise import MAX_STEPS, Minima, compile_minimiser, minimise
from .nuts import bulk_covariance
from .profile_grid import Grid
from .profile_starts import IMPROVED
from .progress import Progress, silent
from .provenance import fingerprint
from .target import Evaluated, Target, columns, compile_target

FILE = "profile.pkl"


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
    starts: int = 1
    """minimisations from anywhere, in every second cell"""
    candidates: int = 8
    """points tried for every start: the nearest, or some at random"""
    steps: int = 10
    """of a minimisation from what is near a cell, at most"""
    long: int = 30
    """of one from anywhere, and in a sweep"""
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
    polished: Any = None
    """cells that have gone on to the end and not improved since"""
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
    compile_last: Callable[[], None] = lambda: None,
) -> Profile:
    """The profile; the same seed gives the same numbers.

    Args:
        target: see :func:`profile_grid.scannable`.
        settings: what is scanned, and sizes.
        seed: of the SMC.
        folder: where the checkpoint is; None keeps none.
        progress: told what is going on.
        compile_last: done meanwhile, once all that the profile runs is compiled: compiles what
            comes after it.

    Raises:
        InputError: see :meth:`Grid.over`; the folder holds the checkpoint of another profile, or
            cannot be written.
    """
    grid = Grid.over(target.coordinates.prior, settings.names, settings.size)
    checkpoint = Checkpoint(folder, fingerprint(target, settings, seed), FILE, State())
    progress("compile", 0.0, "compiling the likelihood")
    state = checkpoint.state
    finished = state.best is not None
    if not finished:
        # Before the others: the SMC waits for it, and only one program is traced at a time.
        compile_target(target)
    programs = _programs(target, compile_last, finished)
    last = state.pool[-1] if state.pool else None
    particles, moves = settings.particles, settings.moves
    for stage in smc.tempering(target, last, particles, moves, seed, progress):
        state = checkpoint.keep(pool=(*state.pool, stage))
    covariance = bulk_covariance(state.pool[-1].points.y)
    pool = state.pool[0].points.joined(*(stage.points for stage in state.pool[1:]))

    rng = np.random.default_rng([seed, 2])
    # Before the minimiser is needed, which is still being compiled.
    begin = [] if state.cells is not None else _first_starts(target, grid, pool, settings, rng)
    progress("compile", 1.0, "compiling the minimiser")
    programs[0].result()
    if state.cells is None:
        first = _first_minima(target, grid, begin, settings, rng, progress)
        every = np.ones(len(first.y), bool)
        state = checkpoint.keep(cells=first, improved=every, polished=~every)
    while state.sweeps < settings.sweeps and (state.improved.any() or _unpolished(state).any()):
        after = _swept(target, grid, state, settings, covariance, progress)
        improved = state.cells.chi2 - after.chi2 > IMPROVED
        polished = (state.polished | ~state.improved.any()) & ~improved
        state = checkpoint.keep(
            cells=after, improved=improved, sweeps=state.sweeps + 1, polished=polished
        )
    if state.best is None:
        everything = np.ones(target.dimension, bool)
        first = starts.of_best_fit(target, state.cells, pool, settings.free_starts)
        progress("best fit", 0.0, f"{len(first)} starts")
        state = checkpoint.keep(best=minimise(target, best_fit(target, first)[None], everything))
    progress("best fit", 1.0, "compiling what comes after it")
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


def _programs(
    target: Target, compile_last: Callable[[], None], finished: bool
) -> list[Future[None]]:
    """Start to compile what runs after the SMC, the minimiser first, unless ``finished``."""

    def at_the_end() -> None:
        columns(target, np.zeros((1, target.dimension)))

    minimiser = [] if finished else [partial(compile_minimiser, target)]
    return ahead(*minimiser, at_the_end, compile_last)


def _first_starts(
    target: Target,
    grid: Grid,
    pool: Evaluated,
    settings: ProfileSettings,
    rng: np.random.Generator,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cells (n,) and starts (n, dimension) from near by, then, for those between,
    ``settings.starts`` times from anywhere."""
    tried, turns = settings.candidates, range(settings.starts)
    found = [starts.anywhere(target, grid, pool, tried, turn, rng) for turn in turns]
    return [starts.near(target, grid, pool, tried), *found]


def _first_minima(
    target: Target,
    grid: Grid,
    begin: list[tuple[np.ndarray, np.ndarray]],
    settings: ProfileSettings,
    rng: np.random.Generator,
    progress: Progress,
) -> Minima:
    """The lowest of each cell from there, and from such minima of cells near by."""
    found = []
    for turn, (_, y) in enumerate(begin):
        text = f"anywhere, {turn} of {settings.starts}" if turn else "near"
        told = _told(progress, "cells", text, len(y))
        steps = settings.long if turn else settings.steps
        found.append(minimise(target, y, grid.free, told, steps))
    minima = found[0].joined(*found[1:])
    first = minima[_lowest(np.concatenate([cells for cells, _ in begin]), minima.chi2)]
    cells, y = starts.from_minima(target, grid, minima, settings.candidates // 4, rng)
    told = _told(progress, "cells", "minima near by", len(y))
    return _lowered(target, grid, first, cells, y, settings.steps, told)


def _swept(
    target: Target,
    grid: Grid,
    state: State,
    settings: ProfileSettings,
    covariance: np.ndarray,
    progress: Progress,
) -> Minima:
    """The minima after another sweep; one over all that have not converged, nor gone on to the end,
    when nothing has improved."""
    before, polish = state.cells, not state.improved.any()
    unpolished = _unpolished(state)
    cells = np.flatnonzero(unpolished if polish else unpolished & state.improved)
    y, steps = before.y[cells], MAX_STEPS
    if polish:
        # At a pole or threshold they are in each other's way; those lie at ratios of masses.
        without_masses = grid.free.copy()
        without_masses[target.coordinates.prior.masses] = False
        y = minimise(target, y, without_masses).y
    if not polish:
        more, begin = starts.from_neighbours(target, grid, before, state.improved, covariance)
        cells, y, steps = np.append(more, cells), np.concatenate([begin, y]), settings.long
    if not len(cells):
        return before
    told = _told(progress, "sweep", f"sweep {state.sweeps + 1}", len(cells))
    return _lowered(target, grid, before, cells, y, steps, told)


def _unpolished(state: State) -> np.ndarray:
    """Cells (n,) that have not converged nor gone on to the end since they last improved."""
    return ~state.cells.converged & ~state.polished


def _lowered(
    target: Target,
    grid: Grid,
    before: Minima,
    cells: np.ndarray,
    y: np.ndarray,
    steps: int,
    told: Callable[[int], None],
) -> Minima:
    """The minima after starts ``y`` in ``cells``, of which some occur more than once. One without a
    chance is given up, but where all steps are wanted."""
    bar = before.chi2[cells] - IMPROVED if steps < MAX_STEPS else None
    found = minimise(target, y, grid.free, told, steps, bar)
    lowest = _lowest(cells, found.chi2)
    cells, found = cells[lowest], found[lowest]
    lower = found.chi2 < before.chi2[cells]
    return before.updated(cells[lower], found[lower])


def _told(progress: Progress, phase: str, text: str, count: int) -> Callable[[int], None]:
    """Announces so many starts; what it returns is told how many are done."""
    text = f"{text}, {count} starts"
    progress(phase, 0.0, text)
    return lambda done: progress(phase, done / count, text)


def _lowest(cells: np.ndarray, chi2: np.ndarray) -> np.ndarray:
    """Index of the lowest chi2 (n,) of each cell that occurs in ``cells`` (n,), in their order."""
    order = np.lexsort((chi2, cells))
    return order[np.unique(cells[order], return_index=True)[1]]

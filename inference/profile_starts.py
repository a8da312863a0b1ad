"""Where minimisations of a profile start: each is the best of a few points moved to the cell."""

from __future__ import annotations

import numpy as np

from .charts import Charts, numbers, onto_shell
from .minimise import Minima, chi2_of
from .profile_grid import Grid
from .target import Evaluated, Target, evaluate

_TURNS = np.array([1, 2])
"""Charts that a step along each axis of the grid goes on."""
_GIVEN = 2
"""Starts of a cell in a sweep, or from minima near by, at most."""
IMPROVED = 0.01
"""A cell whose chi2 falls by less than this sends its neighbours nowhere."""


def near(target: Target, grid: Grid, pool: Evaluated, tried: int) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n,), every second one, and starts (n, dimension) from the points nearest to each,
    moved plainly."""
    cells = _every_second(grid, 1)
    place = _place_of(target, grid, pool.y)
    rows = _nearest(grid, cells, place, chi2_of(target, pool), tried)
    return cells, _best(target, grid, cells, pool.y[rows], np.zeros(rows.shape, int))[0]


def anywhere(
    target: Target, grid: Grid, pool: Evaluated, tried: int, turn: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n,), those between the ones of :func:`near`, and starts (n, dimension) from some at
    random of one chart, which find what nothing near a cell knows of; cells close to each other
    take different charts, as a cell does in every turn."""
    kind, cells = numbers(Charts.of(target), pool.y), _every_second(grid, 0)
    of_kind = [np.flatnonzero(kind == number) for number in np.unique(kind)]
    kinds = (turn + _place(grid, cells) @ _TURNS[: len(grid.names)]) % len(of_kind)
    rows = np.array([rng.choice(of_kind[k], tried) for k in kinds])
    moves = rng.integers(len(grid.moves), size=rows.shape)
    return cells, _best(target, grid, cells, pool.y[rows], moves)[0]


def from_minima(
    target: Target, grid: Grid, minima: Minima, tried: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n,), the same more than once, and starts (n, dimension) from the nearest minima: of
    each chart the best, and of these the lowest."""
    usable, cells = minima[np.isfinite(minima.chi2)], _every_second(grid, 0)
    kind, place, best = numbers(Charts.of(target), usable.y), _place_of(target, grid, usable.y), []
    for number in np.unique(kind):
        inside = kind == number
        found, count = usable[inside], min(tried, np.sum(inside))
        rows = _nearest(grid, cells, place[inside], found.chi2, count)
        moves = rng.integers(len(grid.moves), size=rows.shape)
        best.append(_best(target, grid, cells, found.y[rows], moves))
    starts, chi2 = (np.stack(parts) for parts in zip(*best, strict=True))
    lowest = np.argsort(chi2, axis=0)[:_GIVEN]
    begin = np.take_along_axis(starts, lowest[..., None], axis=0)
    return np.tile(cells, len(begin)), np.concatenate(begin)


def _every_second(grid: Grid, first: int) -> np.ndarray:
    cells = np.arange(np.prod(grid.shape))
    return cells[np.sum(_place(grid, cells), axis=1) % 2 == first]


def _place(grid: Grid, cells: np.ndarray) -> np.ndarray:
    """Indices (n, axes) of cells (n,)."""
    return np.stack(np.unravel_index(cells, grid.shape), axis=-1)


def _place_of(target: Target, grid: Grid, y: np.ndarray) -> np.ndarray:
    """Where points y (n, dimension) are (n, axes), in cells."""
    return grid.cell_of(target.coordinates.to_box_many(y))


def _nearest(
    grid: Grid, cells: np.ndarray, place: np.ndarray, chi2: np.ndarray, tried: int
) -> np.ndarray:
    """Indices (cells, tried) of the points nearest to each cell, of ``place`` (n, axes) and chi2
    (n,)."""
    # A cell of distance counts like one of chi2: far away only what is much better.
    far = (chi2 + np.sum((place - at) ** 2, axis=1) for at in _place(grid, cells))
    return np.array([np.argpartition(each, tried - 1)[:tried] for each in far])


def _best(
    target: Target, grid: Grid, cells: np.ndarray, y: np.ndarray, moves: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Of points y (cells, tried, dimension), moved to their cells in one of ``moves`` (cells,
    tried) each, the lowest in each cell (cells, dimension), and its chi2."""
    count, tried = moves.shape
    at = np.repeat(cells, tried)
    candidates, chi2 = _moved(target, grid, y.reshape(len(at), -1), at, moves.ravel())
    chi2 = chi2.reshape(count, tried)
    lowest = np.arange(count), np.argmin(chi2, axis=1)
    return candidates.reshape(y.shape)[lowest], chi2[lowest]


def from_neighbours(
    target: Target, grid: Grid, minima: Minima, improved: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cells (n,), some more than once, and starts (n, dimension) that improved neighbours give.

    A neighbour's minimum, moved to the cell, must be lower than the cell's, or another basin:
    further from the cell's than a standard deviation. What is near and not lower leads back. Those
    of a cell are as far from each other, or they would lead to the same.
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
    at = np.repeat(cells, beside.shape[1])
    moved[tried], chi2[tried] = _moved(target, grid, moved[tried], at[tried], moves[tried])
    chi2, moved = chi2.reshape(beside.shape), moved.reshape(*beside.shape, -1)
    offset = (moved - minima.y[cells, None])[..., grid.free]
    factor = np.linalg.cholesky(covariance[np.ix_(grid.free, grid.free)])
    away = np.linalg.solve(factor, offset[..., None])[..., 0]
    lower = chi2 < minima.chi2[cells, None] - IMPROVED
    usable &= lower | (np.sum(away**2, axis=-1) > 1.0)
    row, given, begin = np.arange(len(cells)), [], []
    for _ in range(_GIVEN):
        best = np.argmin(np.where(usable, chi2, np.inf), axis=1)
        some = usable[row, best]
        given.append(cells[some])
        begin.append(moved[row, best][some])
        usable &= np.sum((away - away[row, best][:, None]) ** 2, axis=-1) > 1.0
    return np.concatenate(given), np.concatenate(begin)


def _moved(
    target: Target, grid: Grid, y: np.ndarray, cells: np.ndarray, moves: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points y (n, dimension) moved to cells (n,) in one of ``moves`` each (n,), and their chi2.

    Each plainly, or then along the axis of its chart onto the relic shell, if chi2 is lower there:
    off the shell it says nothing of a basin, and the way back takes most of the steps.
    """
    charts, plain = Charts.of(target), grid.projected(y, cells, moves)
    scanned = np.isin(np.arange(y.shape[1]), grid.axes)
    on_shell = np.where(scanned, plain, onto_shell(charts, numbers(charts, y), plain))
    points, others = evaluate(target, plain), evaluate(target, on_shell)
    points = points.updated(chi2_of(target, others) < chi2_of(target, points), others)
    return points.y, chi2_of(target, points)


def of_best_fit(target: Target, cells: Minima, pool: Evaluated, count: int) -> np.ndarray:
    """Half from the lowest cells, half from the lowest points of the pool."""
    half = count // 2
    lowest = np.argsort(cells.chi2)[:half]
    return np.concatenate([cells.y[lowest], pool.y[np.argsort(chi2_of(target, pool))[:half]]])

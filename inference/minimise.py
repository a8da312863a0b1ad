"""Minima of chi2 from many starts at once: Levenberg and Marquardt, lanes refilled as they finish.

chi2 = -2 ln L + sum of z^2 over the nuisances: no prior on parameters, whose ranges are kept by
:mod:`bounds`. The relic density confines the minimum to a valley of 1 % that bends by decades, on
which BFGS, whose curvature is an average over its past, needs 47 steps (median over cells of a
plane of talk2024). Here the gradient is exact and the curvature is that of Gauss and Newton, from
the slopes of all pulls, at every step: 18 steps there (mean); forward mode gives both at once, but
for the relic density, whose slopes come in reverse (:meth:`Target.fit_quality`). Terms that are no
squares of pulls cost steps, not accuracy.

Starts differ in how many steps they need by factors of ten, and a batch waits for its slowest
member. So a fixed number of lanes steps on, and a lane that is done takes the next start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.numerics.compiling import top_level_jit

from .bounds import Bounds
from .lanes import GPU_LANES, THREADS
from .target import Evaluated, Target

CPU_LANES = 16
"""Half as many as where only values are taken: slopes in reverse keep what they pass."""
MAX_STEPS = 100
_TOLERANCE = 1e-4
"""At a minimum a step, of a parameter's range at most, would lower chi2/2 by less; migrad's."""
_IDLE, _CRAWL = 4, 1e-4
"""Steps in a row that lower chi2/2 by less than this end a minimisation, not converged. What does
not lower it is not counted: in a narrow valley damping has to rise by orders of magnitude first."""
_TRUSTED = 3.0
"""Times as far as the curvature at a point says may chi2 fall from there."""
_WIDE = 0.3
"""Share of its range that a parameter moves in a first step if nothing measures it."""
_DAMPING, _LEAST, _HOPELESS = 0.1, 1e-6, 1e8
"""At first, the least, and where a start is given up."""
_STARTS_PER_LANE = 32
"""Starts a compiled call, over its lanes."""
_SCANNED = 2
"""Axes that a plane fixes: slopes are taken along so many less than there are at once."""


@dataclasses.dataclass(frozen=True)
class Minima:
    """Where minimisations ended, n of them."""

    y: np.ndarray
    """(n, dimension)"""
    chi2: np.ndarray
    steps: np.ndarray
    converged: np.ndarray

    def __getitem__(self, index: np.ndarray) -> Minima:
        return Minima(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))

    def joined(self, *others: Minima) -> Minima:
        """These minima, then those of ``others``."""
        names = [field.name for field in dataclasses.fields(self)]
        parts = ([getattr(one, name) for one in (self, *others)] for name in names)
        return Minima(*map(np.concatenate, parts))

    def updated(self, index: np.ndarray, other: Minima) -> Minima:
        """A copy with the rows ``index`` (n,) replaced by those of ``other`` (n of them)."""
        columns = {
            field.name: getattr(self, field.name).copy() for field in dataclasses.fields(self)
        }
        for name, column in columns.items():
            column[index] = getattr(other, name)
        return Minima(**columns)


def chi2_of(target: Target, points: Evaluated) -> np.ndarray:
    """chi2 (n,) of evaluated points."""
    z = points.y[:, len(target.coordinates.prior.parameters) :]
    return np.sum(z**2, axis=1) - 2.0 * points.log_likelihood


def minimise(
    target: Target,
    y: np.ndarray,
    free: np.ndarray,
    progress: Callable[[int], None] = lambda done: None,
    steps: int = MAX_STEPS,
    bar: np.ndarray | None = None,
) -> Minima:
    """Minimise chi2 from every start.

    Args:
        target: posterior whose likelihood is meant.
        y: starts (n, dimension).
        free: (dimension,) bool; the other coordinates stay at their start.
        progress: told how many starts are done.
        steps: at most, from each start.
        bar: (n,) chi2; a start that is not expected to end below its own is given up.
    """
    size = _lanes() * _STARTS_PER_LANE
    rows = np.column_stack([y, np.full(len(y), np.inf) if bar is None else bar])

    def work(piece: np.ndarray) -> tuple[np.ndarray, ...]:
        padded = np.concatenate([piece, np.repeat(rows[:1], size - len(piece), axis=0)])
        return _queued(target, padded, len(piece), free, steps)

    # Two threads at once would compile twice.
    compile_minimiser(target)
    found, done = [], 0
    pieces = -(-len(y) // size)
    pieces += pieces % THREADS if len(y) > _lanes() else 0
    with ThreadPoolExecutor(THREADS) as pool:
        for part in pool.map(work, np.array_split(rows, pieces)):
            found.append(part)
            done += len(part[0])
            progress(done)
    return Minima(*map(np.concatenate, zip(*found, strict=True)))


def compile_minimiser(target: Target) -> None:
    """Compile what :func:`minimise` runs, whatever is free."""
    nowhere = np.zeros((_lanes() * _STARTS_PER_LANE, target.dimension + 1))
    _queued(target, nowhere, 0, np.ones(target.dimension, bool), 0)


def _lanes() -> int:
    return CPU_LANES if jax.default_backend() == "cpu" else GPU_LANES


def _queued(
    target: Target, rows: np.ndarray, count: int, free: np.ndarray, steps: int
) -> tuple[np.ndarray, ...]:
    """The first ``count`` of ``rows`` (start, bar), as many as one compiled call takes."""
    starts, bar = jnp.asarray(rows[:, :-1]), jnp.asarray(rows[:, -1])
    numbers = jnp.asarray(count), jnp.asarray(free), jnp.asarray(steps)
    out = _minimise_queue(target, starts, bar, *numbers, _lanes())
    return tuple(np.asarray(leaf)[:count] for leaf in out)


class _Lane(NamedTuple):
    """One minimisation under way."""

    start: jax.Array
    """index into the queue"""
    v: jax.Array
    """coordinates of :mod:`bounds`"""
    chi2: jax.Array
    gradient: jax.Array
    """of chi2/2"""
    curvature: jax.Array
    damping: jax.Array
    steps: jax.Array
    idle: jax.Array


def _derivatives(target: Target, bounds: Bounds, free: jax.Array, v: jax.Array) -> tuple:
    """(chi2, gradient of chi2/2, curvature) at v (lanes, dimension), along what is free.

    Once round the loop in a plane, twice where fewer than ``_SCANNED`` axes are fixed, with one
    program.
    """
    n, (lanes, dimension) = len(target.coordinates.prior.parameters), v.shape

    def parts(v: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_likelihood, pulls = target.fit_quality(bounds.to_y(v))
        return 0.5 * jnp.sum(v[n:] ** 2) - log_likelihood, jnp.concatenate([pulls, v[n:]])

    def along(v: jax.Array, directions: jax.Array) -> tuple:
        one = jax.vmap(lambda d: jax.jvp(parts, (v,), (d,)), out_axes=((None, None), 0))
        (half, _), slopes = one(directions)
        return half, *slopes

    def further(turn: int, found: tuple) -> tuple:
        axes = jax.lax.dynamic_slice(order, (turn * width,), (width,))
        half, *new = jax.vmap(along, (0, None))(v, jax.nn.one_hot(axes, dimension))
        both = zip(found[1:], new, strict=True)
        return half, *(old.at[:, axes].set(rows, mode="drop") for old, rows in both)

    width = max(dimension - _SCANNED, 1)
    order = jnp.flatnonzero(free, size=dimension + width, fill_value=dimension)
    pulls = jax.eval_shape(parts, v[0])[1].shape
    nothing = jnp.zeros(lanes), jnp.zeros(v.shape), jnp.zeros((*v.shape, *pulls))
    turns = jnp.maximum(1, (jnp.sum(free) + width - 1) // width)
    half, gradient, slopes = jax.lax.fori_loop(0, turns, further, nothing)
    return 2.0 * half, gradient, slopes @ slopes.mT


@top_level_jit
def _minimise_queue(
    target: Target,
    starts: jax.Array,
    bar: jax.Array,
    count: jax.Array,
    free: jax.Array,
    most: jax.Array,
    lanes: int,
) -> tuple[jax.Array, ...]:
    """(y, chi2, steps, converged) of the first ``count`` starts; the other rows mean nothing."""
    ranges = target.coordinates.prior.widths
    bounds = Bounds(target.coordinates, free)
    first_v = bounds.from_y(starts)
    nothing = jnp.zeros(starts.shape[1])

    def fresh(index: jax.Array) -> _Lane:
        # The first step goes nowhere and evaluates the start.
        infinite, first, zero = jnp.asarray(jnp.inf), jnp.asarray(_DAMPING), jnp.asarray(0)
        v, flat = first_v[index], jnp.diag(nothing)
        return _Lane(index, v, infinite, nothing, flat, first, zero, zero)

    def newton(lane: _Lane, ridge: jax.Array) -> jax.Array:
        """The step of the curvature plus a diagonal; what a bound holds stays."""
        held = (lane.v <= bounds.low) & (lane.gradient > 0.0)
        held |= (lane.v >= bounds.high) & (lane.gradient < 0.0)
        inner = ~held & ~held[:, None]
        matrix = jnp.where(inner, lane.curvature + jnp.diag(ridge), jnp.eye(len(held)))
        return -jnp.linalg.solve(matrix, jnp.where(held, 0.0, lane.gradient))

    def proposed(lane: _Lane) -> jax.Array:
        ridge = lane.damping * (jnp.diagonal(lane.curvature) + (_WIDE * ranges) ** -2.0)
        return jnp.clip(lane.v + newton(lane, ridge), bounds.low, bounds.high)

    def judged(lane: _Lane, v: jax.Array, *new: jax.Array) -> tuple[_Lane, jax.Array, jax.Array]:
        change = v - lane.v
        expected = -change @ (lane.gradient + 0.5 * lane.curvature @ change)
        ratio = 0.5 * (lane.chi2 - new[0]) / jnp.maximum(expected, 1e-300)
        lower = new[0] < lane.chi2
        # Nielsen's rule: no damping where the model holds, more where it does not.
        factor = jnp.clip(1.0 - (2.0 * ratio - 1.0) ** 3, 0.1, 2.0)
        damping = jnp.maximum(lane.damping * jnp.where(lower, factor, 5.0), _LEAST)
        kept = jax.tree.map(lambda a, b: jnp.where(lower, a, b), (v, *new), (lane.v, *lane[2:5]))
        crawled = jnp.where(0.5 * (lane.chi2 - new[0]) < _CRAWL, lane.idle + 1, 0)
        idle = jnp.where(lower, crawled, lane.idle)
        v, chi2, gradient, curvature = kept
        steps = lane.steps + 1
        lane = _Lane(lane.start, v, chi2, gradient, curvature, damping, steps, idle)
        fall = -0.5 * lane.gradient @ newton(lane, ranges**-2.0)
        converged = (fall < _TOLERANCE) & jnp.isfinite(lane.chi2)
        given_up = (damping > _HOPELESS) | (lane.steps >= most) | (idle >= _IDLE)
        given_up |= lane.chi2 - 2.0 * _TRUSTED * fall > bar[lane.start]
        return lane, converged | given_up, converged

    def result(lane: _Lane, converged: jax.Array) -> tuple[jax.Array, ...]:
        return bounds.to_y(lane.v), lane.chi2, lane.steps, converged

    def advance(carry: tuple) -> tuple:
        running, queued, found = carry
        v = jax.vmap(proposed)(running)
        derivatives = _derivatives(target, bounds, free, v)
        running, done, converged = jax.vmap(judged)(running, v, *derivatives)
        # Lanes beyond the queue write to a row that does not exist, and are dropped.
        row = jnp.where(done, running.start, len(starts))
        new = jax.vmap(result)(running, converged)
        found = jax.tree.map(lambda rows, value: rows.at[row].set(value, mode="drop"), found, new)
        following = queued + jnp.cumsum(done) - 1
        refilled = jax.vmap(fresh)(jnp.where(done, following, running.start))

        def choose(a: jax.Array, b: jax.Array) -> jax.Array:
            return jnp.where(done.reshape(-1, *[1] * (a.ndim - 1)), a, b)

        return jax.tree.map(choose, refilled, running), queued + jnp.sum(done), found

    n = len(starts)
    found = (
        jnp.zeros_like(starts),
        jnp.full(n, jnp.inf),
        jnp.zeros(n, int),
        jnp.zeros(n, bool),
    )
    first = jax.vmap(fresh)(jnp.arange(lanes))
    *_, found = jax.lax.while_loop(
        lambda carry: jnp.any(carry[0].start < count), advance, (first, jnp.asarray(lanes), found)
    )
    return found

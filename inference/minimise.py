"""Minima of chi2 from many starts at once: optimistix's BFGS, lanes refilled as they finish.

chi2 = -2 ln L + sum of z^2 over the nuisances: no prior on parameters, whose ranges are kept by
:mod:`folding`. What is minimised is its root, softened where chi2 is small: a parabola
becomes a cone, so that a first step from afar has the length of a standard deviation.

Starts differ in how many steps they need by factors of ten, and a batch waits for its slowest
member. So a fixed number of lanes steps on, and a lane that is done takes the next start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx

from lmltdm_jax.numerics.compiling import top_level_jit

from .folding import Folding
from .target import CPU_LANES, GPU_LANES, THREADS, Evaluated, Target

MAX_STEPS = 200
_TOLERANCE = 1e-3
"""Of the root of chi2 and of the steps in units of the metric: chi2 is then good to some 1e-3."""
_STARTS_PER_LANE = 16
"""Starts a compiled call, over its lanes."""


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
    metric: np.ndarray,
    free: np.ndarray,
    progress: Callable[[int], None] = lambda done: None,
) -> Minima:
    """Minimise chi2 from every start.

    Args:
        target: posterior whose likelihood is meant.
        y: starts (n, dimension).
        metric: (dimension, dimension): steps are metric @ w with w of order one; columns are
            directions, lengths standard deviations.
        free: (dimension,) bool; the other coordinates stay at their start.
        progress: told how many starts are done.
    """
    lanes = CPU_LANES if jax.default_backend() == "cpu" else GPU_LANES
    size = lanes * _STARTS_PER_LANE
    steps, movable = jnp.asarray(np.where(free[:, None], metric, 0.0)), jnp.asarray(free)

    def work(piece: np.ndarray) -> tuple[np.ndarray, ...]:
        count = len(piece)
        starts = np.concatenate([piece, np.repeat(y[:1], size - count, axis=0)])
        queue = jnp.asarray(starts), jnp.asarray(count)
        out = _minimise_queue(target, *queue, steps, movable, lanes)
        return tuple(np.asarray(leaf)[:count] for leaf in out)

    # Compiles, and does nothing: two threads at once would compile twice.
    work(y[:0])
    found, done = [], 0
    pieces = -(-len(y) // size)
    pieces += pieces % THREADS if pieces > 1 else 0
    with ThreadPoolExecutor(THREADS) as pool:
        for part in pool.map(work, np.array_split(y, pieces)):
            found.append(part)
            done += len(part[0])
            progress(done)
    return Minima(*map(np.concatenate, zip(*found, strict=True)))


class _Lane(NamedTuple):
    """One minimisation under way."""

    start: jax.Array
    """index into the queue"""
    w: jax.Array
    chi2: jax.Array
    state: Any
    """arrays of optimistix's state"""
    steps: jax.Array


@top_level_jit
def _minimise_queue(
    target: Target,
    starts: jax.Array,
    count: jax.Array,
    metric: jax.Array,
    free: jax.Array,
    lanes: int,
) -> tuple[jax.Array, ...]:
    """(y, chi2, steps, converged) of the first ``count`` starts; the other rows mean nothing."""
    dimension = starts.shape[1]
    solver = optx.BFGS(rtol=_TOLERANCE, atol=_TOLERANCE)
    scalar = jax.ShapeDtypeStruct((), starts.dtype)
    folding = Folding(target.coordinates, free)
    first_v = folding.from_y(starts)

    def place(index: jax.Array, w: jax.Array) -> jax.Array:
        return folding.to_y(first_v[index] + metric @ w)

    # Jitted inside, so that its trace is kept: optimistix asks for it more than once.
    @jax.jit
    def objective(w: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = place(index, w)
        _, log_likelihood, _ = target.evaluate(y)
        z = y[len(target.coordinates.prior.parameters) :]
        chi2 = jnp.sum(z**2) - 2.0 * log_likelihood
        return jnp.sqrt(0.5 * (chi2 + jnp.hypot(chi2, 2.0))), chi2

    empty = jnp.zeros(dimension)
    arguments = {"args": jnp.asarray(0), "options": {}, "tags": frozenset()}
    initial = solver.init(objective, empty, f_struct=scalar, aux_struct=scalar, **arguments)
    initial, rest = eqx.partition(initial, eqx.is_array)

    def fresh(index: jax.Array) -> _Lane:
        return _Lane(index, empty, jnp.asarray(jnp.inf), initial, jnp.asarray(0))

    def step(lane: _Lane) -> tuple[_Lane, jax.Array, jax.Array]:
        state = eqx.combine(lane.state, rest)
        options = arguments | {"args": lane.start}
        # What a step returns beside the state is one accepted point behind.
        w, state, _ = solver.step(objective, lane.w, state=state, **options)
        done, result = solver.terminate(objective, w, state=state, **options)
        converged = done & (result == optx.RESULTS.successful)
        lane = _Lane(lane.start, w, state.aux, eqx.filter(state, eqx.is_array), lane.steps + 1)
        return lane, done | (lane.steps >= MAX_STEPS), converged

    def result(lane: _Lane, converged: jax.Array) -> tuple[jax.Array, ...]:
        return place(lane.start, lane.w), lane.chi2, lane.steps, converged

    def advance(carry: tuple) -> tuple:
        running, queued, found = carry
        running, done, converged = jax.vmap(step)(running)
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

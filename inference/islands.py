"""Islands: parts of the posterior off the straightened shell, each with a density of its own.

The shell coordinate is zero where the estimate of :mod:`coordinates` holds. The second coupling
with the same relic density and annihilation through another resonance lie off it, in both
directions: a few per cent of the posterior, as thin as the shell and bent in another way. One flow
for everything cannot see them. Here the members of the tempered population on either side are made
many by a walk that does not leave their side, the direction in which the relic density is steepest
is straightened by what :mod:`learned_shell` learns there, and a flow is fitted. The result only
proposes; how much of the posterior an island holds is found by weighting.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from .archive import Archive
from .flow import Density, Flow, Mixture
from .jumps import sweep
from .learned_shell import LearnedShift, learn_around
from .target import Evaluated, Target, evaluate

OFF_SHELL = 0.12
"""Distance from the shell [dex] beyond which a point belongs to an island."""
_LEAST = 8
"""Members below which a side has no density of its own."""
_WALKERS, _ROUNDS, _SWEEPS = 512, 10, 5
_SHELL_DRAWS = 8000
_STEP = 1e-3
"""Of the difference quotient that finds the steepest direction."""
_FLOW_SHARE = 0.75


@dataclasses.dataclass(frozen=True)
class Sheared:
    """``density`` of the points from which ``shift`` has been subtracted (Jacobian one)."""

    density: Density
    shift: LearnedShift

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return sheared(self.density.draw(rng, n), self.shift, 1.0)

    def log_density(self, y: np.ndarray) -> np.ndarray:
        return self.density.log_density(sheared(y, self.shift, -1.0))


def sheared(y: np.ndarray, shift: LearnedShift, sign: float) -> np.ndarray:
    """Points (n, dimension) with the shift added along its axis."""
    moved = y.copy()
    moved[:, shift.axis] += sign * np.asarray(_shifts(shift, jnp.asarray(y)))
    return moved


@jax.jit
def _shifts(shift: LearnedShift, y: jax.Array) -> jax.Array:
    return jax.vmap(shift)(y)


def island_densities(
    target: Target, population: Evaluated, epochs: int, rng: np.random.Generator, seed: int
) -> Iterator[tuple[float, Density]]:
    """(share of the population, density) of each island; none where nothing is straightened.

    ``target`` and ``population`` in the coordinates where the shell is straight.
    """
    axis = target.shell_axis
    if axis is None:
        return
    sides: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
        lambda y: y[:, axis] > OFF_SHELL,
        lambda y: y[:, axis] < -OFF_SHELL,
    )
    for within in sides:
        inside = within(population.y)
        if np.sum(inside) >= _LEAST:
            density = _island(target, population[inside], within, epochs, rng, seed)
            yield float(np.mean(inside)), density


def _island(
    target: Target,
    members: Evaluated,
    within: Callable[[np.ndarray], np.ndarray],
    epochs: int,
    rng: np.random.Generator,
    seed: int,
) -> Density:
    points = members[rng.integers(len(members.y), size=_WALKERS)]
    walked = []
    for _ in range(_ROUNDS):
        archive = Archive.of(points.y)
        for _ in range(_SWEEPS):
            points, _ = sweep(rng, target, points, archive, within=within)
        walked.append(points.y)
    y = np.concatenate(walked[_ROUNDS // 3 :])
    shift = _straightened(target, points, rng, seed)
    straight = sheared(y, shift, -1.0)
    parts = (Flow.fit(straight, epochs, seed), Archive.of(straight[-_WALKERS:]))
    return Sheared(Mixture(parts, (_FLOW_SHARE, 1.0 - _FLOW_SHARE)), shift)


def _straightened(
    target: Target, points: Evaluated, rng: np.random.Generator, seed: int
) -> LearnedShift:
    """Shift along the axis on which the relic density is steepest."""
    n = len(target.coordinates.prior.parameters)
    slopes = [_slope(target, points, axis) for axis in range(n)]
    axis = int(np.argmax(np.abs(slopes)))
    sign = -np.sign(slopes[axis])

    def excess(y: np.ndarray) -> np.ndarray:
        return sign * evaluate(target, y).shell_excess

    names = target.coordinates.prior.names
    slope = abs(slopes[axis])
    return learn_around(names, axis, points.y, excess, _SHELL_DRAWS, rng, seed, slope)


def _slope(target: Target, points: Evaluated, axis: int) -> float:
    """Median derivative of ln(Omega h2) along an axis."""
    y = points.y.copy()
    y[:, axis] += _STEP
    return float(np.median(evaluate(target, y).shell_excess - points.shell_excess) / _STEP)

"""Islands: parts of the posterior off the straightened shell, each with a density of its own.

The shell coordinate is zero where the estimate of :mod:`coordinates` holds. Above it lies the
second coupling with the same relic density (13 to 18 % of the posterior of ``talk2024``), below it
annihilation through the Z' resonance, where the coupling is free (2 %): as thin as the shell
and bent in another way. One flow for everything cannot see them. Here the members of the population
in an island are made many by a walk that does not leave it, and straightened: above the shell along
its axis, from the estimate of the second coupling; at the resonance along m_zp; in both by what
:mod:`learned_shell` learns there. Then a flow is fitted. The result only proposes; how much of
the posterior an island holds is found by weighting.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Protocol

import equinox as eqx
import jax
import numpy as np

from lmltdm_jax.numerics.compiling import top_level_jit

from .archive import Archive
from .flow import Density, Flow, Mixture
from .jumps import sweep
from .learned_shell import REACH, LearnedShift, learn_around
from .target import Evaluated, Target, evaluate

OFF_SHELL = 0.12
"""Distance from the shell [dex] beyond which a point belongs to an island."""
_RESONANCE = (0.29, 0.6)
"""log10 of m_zp/m_x where X X* annihilate through the Z' itself."""
_LEAST = 8
"""Members below which a side has no density of its own."""
_STEP = 1e-3
"""Of the difference quotient for the slope of the relic density."""
_FLOW_SHARE = 0.75
_ROWS = 128
"""Points a compiled call."""


@dataclasses.dataclass(frozen=True)
class IslandSettings:
    """Sizes of what is done in each island."""

    walkers: int = 512
    rounds: int = 10
    """of the walk; the first third is not used"""
    sweeps: int = 5
    """population sweeps a round"""
    shell_draws: int = 8000
    """points evaluated to learn where the island is"""


class Shift(Protocol):
    """Displacement along ``axis`` that does not depend on where along it a point is."""

    axis: int

    def __call__(self, y: jax.Array) -> jax.Array: ...


class UpperBranch(eqx.Module):
    """From the shell to the estimate of its other branch."""

    target: Target
    axis: int = eqx.field(static=True)

    def __call__(self, y: jax.Array) -> jax.Array:
        return self.target.to_upper_branch(y)


@dataclasses.dataclass(frozen=True)
class Sheared:
    """``density`` of the points from which ``shift`` has been subtracted (Jacobian one)."""

    density: Density
    shift: Shift

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return sheared(self.density.draw(rng, n), self.shift, 1.0)

    def log_density(self, y: np.ndarray) -> np.ndarray:
        return self.density.log_density(sheared(y, self.shift, -1.0))


def sheared(y: np.ndarray, shift: Shift, sign: float) -> np.ndarray:
    """Points (n, dimension) with the shift added along its axis."""
    moved = y.copy()
    for begin in range(0, len(y), _ROWS):
        rows = slice(begin, begin + _ROWS)
        padded = np.resize(y[rows], (_ROWS, y.shape[1]))
        moved[rows, shift.axis] += sign * np.asarray(_shifts(shift, padded))[: len(y[rows])]
    return moved


@top_level_jit
def _shifts(shift: Shift, y: np.ndarray) -> jax.Array:
    return jax.vmap(shift)(y)


def mostly(y: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The points ``inside`` if most are; all of them otherwise, as there is no shell then."""
    return y[inside] if np.mean(inside) > 0.5 else y


def island_densities(
    target: Target,
    population: Evaluated,
    settings: IslandSettings,
    epochs: int,
    rng: np.random.Generator,
    seed: int,
) -> Iterator[tuple[float, Density]]:
    """(share of the population, density) of each island; none where nothing is straightened.

    ``target`` and ``population`` in the coordinates where the shell is straight.
    """
    axis = target.shell_axis
    if axis is None:
        return
    names = target.coordinates.prior.names
    upper = UpperBranch(target, axis)
    sides = [_Side(lambda y: y[:, axis] > OFF_SHELL, upper, axis)]
    if {"m_zp", "m_x"} <= set(names):
        m_zp, m_x = names.index("m_zp"), names.index("m_x")

        def resonant(y: np.ndarray) -> np.ndarray:
            low, high = _RESONANCE
            ratio = y[:, m_zp] - y[:, m_x]
            return (y[:, axis] < -OFF_SHELL) & (ratio > low) & (ratio < high)

        sides.append(_Side(resonant, None, m_zp))
    for side in sides:
        inside = side.within(population.y)
        if np.sum(inside) >= _LEAST:
            density = _island(target, population[inside], side, settings, epochs, rng, seed)
            yield float(np.mean(inside)), density


@dataclasses.dataclass(frozen=True)
class _Side:
    within: Callable[[np.ndarray], np.ndarray]
    estimate: UpperBranch | None
    """from which the learned shift is counted"""
    axis: int
    """along which it is straightened"""


def _island(
    target: Target,
    members: Evaluated,
    side: _Side,
    settings: IslandSettings,
    epochs: int,
    rng: np.random.Generator,
    seed: int,
) -> Density:
    points = members[rng.integers(len(members.y), size=settings.walkers)]
    walked = []
    for _ in range(settings.rounds):
        archive = Archive.of(points.y)
        for _ in range(settings.sweeps):
            points, _ = sweep(rng, target, points, archive, within=side.within)
        walked.append(points.y)
    estimated = _estimated(np.concatenate(walked[settings.rounds // 3 :]), side, -1.0)
    seen = estimated[-settings.walkers :]
    if side.estimate is not None:
        seen = mostly(seen, np.abs(seen[:, side.axis]) < REACH)
    shift = _learned(target, seen, side, settings.shell_draws, rng, seed)
    straight = sheared(estimated, shift, -1.0)
    parts = (Flow.fit(straight, epochs, seed), Archive.of(straight[-settings.walkers :]))
    density = Sheared(Mixture(parts, (_FLOW_SHARE, 1.0 - _FLOW_SHARE)), shift)
    return density if side.estimate is None else Sheared(density, side.estimate)


def _estimated(y: np.ndarray, side: _Side, sign: float) -> np.ndarray:
    return y if side.estimate is None else sheared(y, side.estimate, sign)


def _learned(
    target: Target, y: np.ndarray, side: _Side, n: int, rng: np.random.Generator, seed: int
) -> LearnedShift:
    def excess(y: np.ndarray) -> np.ndarray:
        return evaluate(target, _estimated(y, side, 1.0)).shell_excess

    step = _STEP * np.eye(y.shape[1])[side.axis]
    slope = float(np.median(excess(y + step) - excess(y)) / _STEP)
    return learn_around(
        target.coordinates.prior.names,
        side.axis,
        y,
        lambda y: -np.sign(slope) * excess(y),
        n,
        rng,
        seed,
        abs(slope),
    )

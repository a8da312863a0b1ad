"""Islands: parts of the posterior that the straightened shell does not hold, each with its density.

The shell coordinate is zero where the estimate of :mod:`coordinates` holds. Above it lies the
second coupling with the same relic density (13 to 18 % of the posterior of ``talk2024``), below it
annihilation through the Z' resonance, where the coupling is free (some 5 %): as thin as the shell
and bent in another way. Just above m_h1 = 2 m_x the two couplings are close and the estimate fails.
One flow for everything cannot see them. Here the members of the population in an island are made
many by a walk that does not leave it, and straightened: along the shell's axis, from the estimate
of the coupling; at the resonance along m_zp; everywhere by what :mod:`learned_shell` learns there.
Then a flow is fitted. The result only proposes; how much of the posterior an island holds is found
by weighting.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Iterator
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
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
"""log10 of m_zp/m_x at the resonance."""
_POLE = (0.301, 0.65)
"""log10 of m_h1/m_x where thermal motion reaches the pole of H1."""
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


class Region(eqx.Module):
    """Part of the space, and roughly where in it the posterior is."""

    axis: eqx.AbstractVar[int]
    """along which it is straightened"""
    reach: eqx.AbstractClassVar[float]
    """Distance from the estimate beyond which a member is somewhere else."""

    @abc.abstractmethod
    def within(self, y: jax.Array) -> jax.Array:
        """Whether points (..., dimension) are in it (...); numpy arrays, too."""

    @abc.abstractmethod
    def estimate(self, y: jax.Array) -> jax.Array:
        """Place along ``axis`` for one point (dimension,), whose own place there is not read."""


class UpperBranch(Region):
    """Beyond the shell, where the second coupling with the same relic density is."""

    target: Target
    axis: int = eqx.field(static=True)
    reach: ClassVar[float] = REACH

    def within(self, y: jax.Array) -> jax.Array:
        return y[..., self.axis] > OFF_SHELL

    def estimate(self, y: jax.Array) -> jax.Array:
        return self.target.to_upper_branch(y)


class H1Pole(Region):
    """On the shell where m_h1 is little more than 2 m_x: both branches are close, or meet."""

    axis: int = eqx.field(static=True)
    m_h1: int = eqx.field(static=True)
    m_x: int = eqx.field(static=True)
    reach: ClassVar[float] = REACH

    def within(self, y: jax.Array) -> jax.Array:
        low, high = _POLE
        ratio = y[..., self.m_h1] - y[..., self.m_x]
        return (abs(y[..., self.axis]) <= OFF_SHELL) & (ratio > low) & (ratio < high)

    def estimate(self, y: jax.Array) -> jax.Array:
        return jnp.zeros(())


class ZpResonance(Region):
    """Below the shell, where X X* annihilate through the Z' itself."""

    shell_axis: int = eqx.field(static=True)
    axis: int = eqx.field(static=True)
    """of m_zp"""
    m_x: int = eqx.field(static=True)
    reach: ClassVar[float] = math.inf

    def within(self, y: jax.Array) -> jax.Array:
        low, high = _RESONANCE
        ratio = y[..., self.axis] - y[..., self.m_x]
        return (y[..., self.shell_axis] < -OFF_SHELL) & (ratio > low) & (ratio < high)

    def estimate(self, y: jax.Array) -> jax.Array:
        return jnp.zeros(())


def regions(target: Target) -> list[Region]:
    """Those a target may have; none where nothing is straightened."""
    axis = target.shell_axis
    if axis is None:
        return []
    names = target.coordinates.prior.names
    found: list[Region] = [UpperBranch(target=target, axis=axis)]
    if {"m_h1", "m_x"} <= set(names):
        m_h1, m_x = names.index("m_h1"), names.index("m_x")
        found.append(H1Pole(axis=axis, m_h1=m_h1, m_x=m_x))
    if {"m_zp", "m_x"} <= set(names):
        m_zp, m_x = names.index("m_zp"), names.index("m_x")
        found.append(ZpResonance(shell_axis=axis, axis=m_zp, m_x=m_x))
    return found


class Straightening(eqx.Module):
    """Displacement along ``region.axis`` that does not depend on where along it a point is."""

    region: Region
    learned: LearnedShift
    """what the region's estimate misses"""

    @property
    def axis(self) -> int:
        return self.region.axis

    def __call__(self, y: jax.Array) -> jax.Array:
        return self.region.estimate(y) + self.learned(y)


@dataclasses.dataclass(frozen=True)
class Sheared:
    """``density`` of the points from which ``shift`` has been subtracted (Jacobian one)."""

    density: Density
    shift: Straightening

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        return sheared(self.density.draw(rng, n), self.shift, 1.0)

    def log_density(self, y: np.ndarray) -> np.ndarray:
        return self.density.log_density(sheared(y, self.shift, -1.0))


@dataclasses.dataclass(frozen=True)
class Island:
    """A region with members, and what was learned from them."""

    share: float
    """of the population"""
    density: Sheared
    straight: np.ndarray
    """(walkers, dimension): members where ``density.shift`` has been subtracted"""

    @property
    def shift(self) -> Straightening:
        return self.density.shift


def sheared(y: np.ndarray, shift: Straightening, sign: float) -> np.ndarray:
    """Points (n, dimension) with the shift added along its axis."""
    moved = y.copy()
    for begin in range(0, len(y), _ROWS):
        rows = slice(begin, begin + _ROWS)
        padded = np.resize(y[rows], (_ROWS, y.shape[1]))
        moved[rows, shift.axis] += sign * np.asarray(_shifts(shift, padded))[: len(y[rows])]
    return moved


@top_level_jit
def _shifts(shift: Straightening, y: np.ndarray) -> jax.Array:
    return jax.vmap(shift)(y)


def mostly(y: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The points ``inside`` if most are; all of them otherwise, as there is no shell then."""
    return y[inside] if np.mean(inside) > 0.5 else y


def learn_islands(
    target: Target,
    population: Evaluated,
    settings: IslandSettings,
    epochs: int,
    rng: np.random.Generator,
    seed: int,
) -> Iterator[Island]:
    """Every island of the population.

    ``target`` and ``population`` in the coordinates where the shell is straight.
    """
    for region in regions(target):
        inside = np.asarray(region.within(population.y))
        if np.sum(inside) >= _LEAST:
            members, share = population[inside], float(np.mean(inside))
            yield _island(target, members, share, region, settings, epochs, rng, seed)


def _island(
    target: Target,
    members: Evaluated,
    share: float,
    region: Region,
    settings: IslandSettings,
    epochs: int,
    rng: np.random.Generator,
    seed: int,
) -> Island:
    points = members[rng.integers(len(members.y), size=settings.walkers)]
    walked = []
    for _ in range(settings.rounds):
        archive = Archive.of(points.y)
        for _ in range(settings.sweeps):
            points, _ = sweep(rng, target, points, archive, within=region.within)
        walked.append(points.y)
    y = np.concatenate(walked[settings.rounds // 3 :])
    unlearned = LearnedShift.zero(target.coordinates.prior.names, region.axis)
    estimate = Straightening(region, unlearned)
    estimated = sheared(y, estimate, -1.0)
    seen = estimated[-settings.walkers :]
    seen = mostly(seen, np.abs(seen[:, region.axis]) < region.reach)
    shift = Straightening(region, _learned(target, seen, estimate, settings.shell_draws, rng, seed))
    straight = sheared(y, shift, -1.0)
    last = straight[-settings.walkers :]
    parts = (Flow.fit(straight, epochs, seed), Archive.of(last))
    return Island(share, Sheared(Mixture(parts, (_FLOW_SHARE, 1.0 - _FLOW_SHARE)), shift), last)


def _learned(
    target: Target,
    y: np.ndarray,
    estimate: Straightening,
    n: int,
    rng: np.random.Generator,
    seed: int,
) -> LearnedShift:
    """From points y (n, dimension) where the estimate has been subtracted."""

    def excess(y: np.ndarray) -> np.ndarray:
        return evaluate(target, sheared(y, estimate, 1.0)).shell_excess

    names, axis = target.coordinates.prior.names, estimate.axis
    step = _STEP * np.eye(y.shape[1])[axis]
    slope = float(np.median(excess(y + step) - excess(y)) / _STEP)
    rising = -np.sign(slope)
    return learn_around(names, axis, y, lambda y: rising * excess(y), n, rng, seed, abs(slope))

"""From the tempered population to a density that covers the posterior, and its evidence.

Five steps: learn what the estimate of the relic shell misses (:mod:`learned_shell`); let the
population walk on to get more points; fit a flow to them (:mod:`flow`); do the same again for each
island off the shell (:mod:`islands`); draw from a mixture of the flows and of kernels on the
population, and weight the draws (:mod:`importance`). What the population has hardly seen then shows
by large weights, and a second round learns from the weighted draws. Tempering has to find every
mode; how much of the posterior each holds is measured here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from .archive import Archive
from .flow import Flow, Mixture
from .importance import Importance, importance
from .islands import OFF_SHELL, Island, IslandSettings, learn_islands, mostly, sheared
from .jumps import sweep
from .learned_shell import REACH, LearnedShift, learn_around
from .target import Evaluated, Target, evaluate

FLOW_SHARE = 0.8
"""Of the draws that are not for islands; the rest of them comes from the kernels."""
ISLAND_SHARE = 0.15
KEPT = 0.2
"""Share of the draws that come from the density of the round before."""
_TRUSTED = 50.0
"""Weighted draws, in independent ones, below which the walk knows the posterior better."""
FIRST_DRAWS = 3
"""``draws`` over those of a round that another one follows."""


@dataclasses.dataclass(frozen=True)
class LearnSettings:
    """Sizes of the steps."""

    shell_draws: int
    """points evaluated around the population to learn the shell from"""
    sweeps: int
    """population sweeps that add points for the flow"""
    every: int
    """sweeps between points that are used"""
    epochs: int
    draws: int
    """of the mixture, weighted"""
    rounds: int
    """times that a density is learned; the later ones learn from weighted draws"""
    islands: IslandSettings = dataclasses.field(default_factory=IslandSettings)


@dataclasses.dataclass(frozen=True)
class Learned:
    """What the chains start from: all in the coordinates that ``shift`` straightens."""

    shift: LearnedShift | None
    islands: tuple[Island, ...]
    """the last round's"""
    density: Mixture
    """what was weighted, and what the chains' jumps propose"""
    population: Evaluated
    """equally weighted draws of the posterior, but for large weights that were cut"""
    importance: Importance

    def target(self, target: Target) -> Target:
        """``target`` in the coordinates of the rest."""
        return _shifted(target, self.shift)

    def proposals(self) -> tuple[Archive, Mixture]:
        """Archive and density of the chains' jumps."""
        return Archive.of(self.population.y), self.density


def learn(
    target: Target,
    population: Evaluated,
    settings: LearnSettings,
    seed: int,
    progress: Callable[[float, str], None] = lambda share, text: None,
) -> Learned:
    """Learn from a population that follows the posterior; ``progress`` hears share and step."""
    rng = np.random.default_rng([seed, 3])
    progress(0.0, "learning the relic shell")
    shift = _learn_shell(target, population, settings.shell_draws, rng, seed)
    target, points = _shifted(target, shift), population
    if shift is not None:
        # The same points: only the coordinate along the shell has another origin.
        points = points._replace(y=sheared(points.y, shift, -1.0))
    density: Mixture | None = None
    islands: tuple[Island, ...] = ()
    for number in range(settings.rounds):
        last = number + 1 == settings.rounds

        def said(share: float, text: str, done: float = number / settings.rounds) -> None:
            progress(0.1 + 0.9 * (done + share / settings.rounds), text)

        points, islands, new = _density(target, points, settings, rng, seed, said)
        # What a round has seen must not be forgotten by the next one.
        density = new if density is None else Mixture((new, density), (1.0 - KEPT, KEPT))
        said(0.7, "weighting draws of what was learned")
        draws = settings.draws if last else settings.draws // FIRST_DRAWS
        weighted = importance(target, density, draws, rng)
        if weighted.efficiency * draws > _TRUSTED:
            points = weighted.resampled(len(population.y), rng)
    progress(1.0, f"{weighted.efficiency:.1%} of the draws count")
    assert density is not None
    return Learned(shift, islands, density, points, weighted)


def _density(
    target: Target,
    points: Evaluated,
    settings: LearnSettings,
    rng: np.random.Generator,
    seed: int,
    progress: Callable[[float, str], None],
) -> tuple[Evaluated, tuple[Island, ...], Mixture]:
    """The points after their walk, and the islands and the density learned from it."""
    archive, walked = Archive.of(points.y), [points]
    for i in range(settings.sweeps):
        if i % settings.every == 0:
            progress(0.4 * i / settings.sweeps, "walking to more points")
        points, _ = sweep(rng, target, points, archive)
        if (i + 1) % settings.every == 0:
            walked.append(points)
    progress(0.4, "fitting a flow to the points")
    # With the first ones: the walk may lose what is rare.
    seen = walked[0].joined(*walked[1:])
    flow = Flow.fit(_on_shell(target, seen.y), settings.epochs, seed)
    progress(0.55, "learning the islands off the shell")
    islands = tuple(learn_islands(target, seen, settings.islands, settings.epochs, rng, seed))
    return points, islands, _mixture((flow, archive), islands)


def _on_shell(target: Target, y: np.ndarray) -> np.ndarray:
    """The points (n, dimension) that no island has; all where nothing is straightened."""
    axis = target.shell_axis
    if axis is None:
        return y
    return mostly(y, np.abs(y[:, axis]) <= OFF_SHELL)


def _mixture(everywhere: tuple[Flow, Archive], islands: Sequence[Island]) -> Mixture:
    """Islands by their share, but at least ``ISLAND_SHARE`` each: it is not known well yet."""
    of_islands = [max(island.share, ISLAND_SHARE) for island in islands]
    rest = 1.0 / (1.0 + sum(of_islands))
    shares = (FLOW_SHARE * rest, (1.0 - FLOW_SHARE) * rest, *(rest * s for s in of_islands))
    return Mixture((*everywhere, *(island.density for island in islands)), shares)


def _learn_shell(
    target: Target, population: Evaluated, n: int, rng: np.random.Generator, seed: int
) -> LearnedShift | None:
    axis = target.shell_axis
    if axis is None:
        return None
    members = mostly(population.y, np.abs(population.y[:, axis]) < REACH)

    def excess(y: np.ndarray) -> np.ndarray:
        return evaluate(target, y).shell_excess

    return learn_around(target.coordinates.prior.names, axis, members, excess, n, rng, seed)


def _shifted(target: Target, shift: LearnedShift | None) -> Target:
    if shift is None:
        return target
    return dataclasses.replace(target, coordinates=target.coordinates.with_learned(shift))

"""From the tempered population to a density that covers the posterior, and its evidence.

Four steps: learn what the estimate of the relic shell misses (:mod:`learned_shell`); let the
population walk on to get more points; fit a flow to them (:mod:`flow`); draw from a mixture of the
flow and of kernels on the population, and weight the draws (:mod:`importance`). Tempering has to
find every mode; how much of the posterior each holds is measured here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from .flow import Flow, Mixture
from .importance import Importance, importance
from .jumps import Archive, sweep
from .learned_shell import LearnedShift, learn_shift
from .target import Evaluated, Target, evaluate

FLOW_SHARE = 0.8
"""Of the draws, the rest comes from the kernels; the same in the jumps of the chains."""


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


@dataclasses.dataclass(frozen=True)
class Learned:
    """What the chains start from: all in the coordinates that ``shift`` straightens."""

    shift: LearnedShift | None
    flow: Flow
    population: Evaluated
    """equally weighted draws of the posterior"""
    importance: Importance

    def target(self, target: Target) -> Target:
        """``target`` in the coordinates of the rest."""
        return _shifted(target, self.shift)

    def proposals(self) -> tuple[Archive, Mixture]:
        """Archive and density of the chains' jumps."""
        archive = Archive.of(self.population.y)
        return archive, Mixture((self.flow, archive), (FLOW_SHARE, 1.0 - FLOW_SHARE))


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
        moved = np.asarray(jax.jit(jax.vmap(shift))(jnp.asarray(points.y)))
        y = points.y.copy()
        y[:, shift.axis] -= moved
        points = points._replace(y=y)
    archive, walked = Archive.of(points.y), [points.y]
    for i in range(settings.sweeps):
        if i % settings.every == 0:
            progress(0.1 + 0.3 * i / settings.sweeps, "walking to more points")
        points, _ = sweep(rng, target, points, archive)
        if (i + 1) % settings.every == 0:
            walked.append(points.y)
    progress(0.4, "fitting a flow to the points")
    flow = Flow.fit(np.concatenate(walked), settings.epochs, seed)
    progress(0.8, "weighting draws of the flow")
    density = Mixture((flow, archive), (FLOW_SHARE, 1.0 - FLOW_SHARE))
    weighted = importance(target, density, settings.draws, rng)
    progress(1.0, f"{weighted.efficiency:.1%} of the draws count")
    return Learned(shift, flow, weighted.resampled(len(population.y), rng), weighted)


def _learn_shell(
    target: Target, population: Evaluated, n: int, rng: np.random.Generator, seed: int
) -> LearnedShift | None:
    axis = target.shell_axis
    if axis is None:
        return None
    points = evaluate(target, Archive.of(population.y).draw(rng, n))
    return learn_shift(points.y, points.shell_excess, axis, seed)


def _shifted(target: Target, shift: LearnedShift | None) -> Target:
    if shift is None:
        return target
    return dataclasses.replace(target, coordinates=target.coordinates.with_learned(shift))

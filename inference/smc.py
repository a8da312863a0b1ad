"""Tempered sequential Monte Carlo: from the prior to the posterior, all modes, with evidence.

A population drawn from the prior follows prior x likelihood^beta from beta = 0 to 1. Each stage
raises beta until the effective sample size of the weights falls to a set fraction, adds ln of the
mean weight to ln Z, resamples, and moves every member by the population moves of :mod:`jumps`
(Del Moral, Doucet and Jasra, J. R. Stat. Soc. B 68 (2006) 411).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

from lmltdm_jax.numerics.compiling import top_level_jit

from .archive import Archive
from .coordinates import Coordinates
from .jumps import Cross, crossing, proposer, sweep
from .progress import Progress, silent
from .target import Evaluated, Target, evaluate

ESS_FRACTION = 0.6
_FIRST_BETA = 1e-6


@dataclasses.dataclass(frozen=True)
class Stage:
    """The population at one temperature."""

    beta: float
    log_z: float
    """ln of the evidence of prior x likelihood^beta"""
    points: Evaluated
    acceptance: float
    number: int


def tempering(
    target: Target,
    last: Stage | None,
    particles: int,
    moves: int,
    seed: int,
    progress: Progress = silent,
) -> Iterator[Stage]:
    """Every complete stage after ``last`` (None: ``particles`` draws of the prior, and what
    follows) up to beta = 1, with ``moves`` sweeps each."""

    def evaluated(y: np.ndarray) -> Evaluated:
        return evaluate(target, y)

    if last is None:
        last = start(target, particles, np.random.default_rng([seed, 0]))
        yield last
    while last.beta < 1.0:
        # One generator a stage: a resumed run draws the same numbers.
        rng = np.random.default_rng([seed, 1, last.number])
        stage = last
        for stage, share in run_stage(evaluated, last, moves, rng, crossing(target)):
            text = f"stage {stage.number}, beta = {stage.beta:.3g}"
            progress("temper", _done(last.beta, stage.beta, share), text)
        last = stage
        yield last


def _done(before: float, after: float, share: float) -> float:
    """Progress on a logarithmic scale of beta."""
    low, high = (np.log(max(b, _FIRST_BETA) / _FIRST_BETA) for b in (before, after))
    return float((low + share * (high - low)) / -np.log(_FIRST_BETA))


def start(target: Target, particles: int, rng: np.random.Generator) -> Stage:
    """``particles`` draws from the prior."""
    return Stage(0.0, 0.0, evaluate(target, prior_draws(target, particles, rng)), 1.0, 0)


def prior_draws(target: Target, n: int, rng: np.random.Generator) -> np.ndarray:
    """y (n, dimension)."""
    prior, coordinates = target.coordinates.prior, target.coordinates
    u = rng.uniform(size=(n, prior.dimension))
    return np.asarray(_from_box(coordinates, prior.box_from_unit(jnp.asarray(u))))


@top_level_jit
def _from_box(coordinates: Coordinates, x: jax.Array) -> jax.Array:
    return jax.vmap(coordinates.from_box)(x)


def next_beta(log_likelihood: np.ndarray, beta: float) -> float:
    """The temperature at which the weights keep ``ESS_FRACTION`` of the population, at most 1.

    Of the members whose likelihood is not zero: those are lost at any temperature.
    """
    finite = log_likelihood - log_likelihood.max()
    members = np.isfinite(finite).sum()

    def excess(step: float) -> float:
        # Also for step = 0, where 0 times minus infinity would be no number.
        log_w = np.where(
            np.isfinite(finite), step * np.where(np.isfinite(finite), finite, 0.0), -np.inf
        )
        log_ess = 2.0 * logsumexp(log_w) - logsumexp(2.0 * log_w)
        return log_ess - np.log(ESS_FRACTION * members)

    if excess(1.0 - beta) >= 0.0:
        return 1.0
    return beta + brentq(excess, 0.0, 1.0 - beta, xtol=1e-300, rtol=1e-6)


def run_stage(
    evaluated: Callable[[np.ndarray], Evaluated],
    stage: Stage,
    moves: int,
    rng: np.random.Generator,
    cross: Cross | None = None,
) -> Iterator[tuple[Stage, float]]:
    """The next stage after ``stage`` (beta < 1), yielded after each of ``moves`` sweeps.

    ``evaluated`` evaluates points; ``cross`` is one more kind of moves (:mod:`jumps`).

    Yields (the stage so far, share of its sweeps done); the last one is the complete stage.
    """
    points = stage.points
    beta = next_beta(points.log_likelihood, stage.beta)
    log_w = (beta - stage.beta) * points.log_likelihood
    log_z = stage.log_z + float(logsumexp(log_w) - np.log(len(log_w)))
    ancestors = _systematic(np.exp(log_w - logsumexp(log_w)), rng)
    # Members move by proposals made from the other half of the population: a density that has a
    # kernel on the point itself would send it away too easily, and bias what is left.
    half = (rng.permutation(len(points.y)) % 2)[ancestors]
    order = np.argsort(half, kind="stable")
    points, half = points[ancestors[order]], half[order]
    proposers = [proposer(Archive.of(points.y[half != h]), cross) for h in (0, 1)]
    halves = [points[half == h] for h in (0, 1)]
    moved = 0.0
    for i in range(moves):
        pairs = zip(halves, proposers, strict=True)
        results = [sweep(rng, evaluated, *pair, beta) for pair in pairs]
        halves = [members for members, _ in results]
        moved += np.concatenate([accepted for _, accepted in results]).mean()
        points = jax.tree.map(lambda *a: np.concatenate(a), *halves)
        yield Stage(beta, log_z, points, moved / (i + 1), stage.number + 1), (i + 1) / moves


def _systematic(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices (n,) of a systematic resampling."""
    positions = (rng.uniform() + np.arange(len(weights))) / len(weights)
    return np.minimum(np.searchsorted(np.cumsum(weights), positions), len(weights) - 1)

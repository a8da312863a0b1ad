"""From the tempered population to a density that covers the posterior, and its evidence.

In every chart (:mod:`charts`) the members of the population walk on, which makes them many, and a
flow (:mod:`flow`) is fitted to where they were. A chart in which tempering has left hardly any is
tempered once more, from the prior and by itself: there the shell is flat and easily followed. One
that holds less than 1e-4 of the posterior by that (named approximation) is left out.
Draws of a mixture of these flows, of kernels on the walkers and of something broad are weighted
(:mod:`importance`).
What the population has hardly seen shows by large weights; later rounds start from the weighted
draws. Where few of them count, though they are reliable, flows are fitted to the weighted draws
themselves, and more are drawn. How much of the posterior each chart holds is measured here.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from . import smc
from .archive import Archive
from .charts import Charts, evaluate_in, from_y, numbers, to_y
from .densities import Mixture, Student
from .flow import Flow
from .importance import PARETO_K_MAX, Importance, importance
from .jumps import proposer, sweep
from .target import Evaluated, Target, evaluate

_SHARES = (0.72, 0.18, 0.1)
"""Of the draws in a chart: by the flow, the kernels and a broad distribution for the tails."""
_SHARES_REFITTED = (0.45, 0.27, 0.18, 0.1)
"""The same with another flow after the first, the one before."""
_FITTED, _ENOUGH_TO_FIT = 24_000, 256.0
"""Points that a flow is fitted to of weighted draws; what these must be worth, in independent ones.
"""
_LEAST_SHARE, _LEAST_SHARE_LATER = 0.1, 0.03
"""Of the draws for a chart, at least, before they are normalised: its share is not known well, in
the first round even less."""
_MINOR = 0.05
"""Of the squares of the weights, which are the variance: a chart with less is not learned again."""
_LEAST = 32
"""Members below which a chart is tempered by itself; draws of the prior of finite likelihood below
which it is left out; weighted draws, in independent ones, below which walkers know it better."""
_PRIOR_DRAWS, _CANDIDATES, _MEMBERS, _MOVES, _THIN = 32_768, 4, 128, 6, 1e-3
"""Of that: draws of the prior, those in the chart that are looked at over members, members at most,
sweeps a stage, first width of the shell [dex]."""
_NEGLIGIBLE = 1e-4
"""Share of the posterior below which a chart is left out, by what its tempering says at most."""
_TRUSTED = 50.0
"""Weighted draws, in independent ones, below which the walk knows the posterior better."""
_FIRST_DRAWS = 3
"""``draws`` over those of a round that another one follows."""
_MORE_WALKERS, _FEWER_WALKS = 2, 4
"""Of a later round, over ``walkers``, and walks: weighted draws are many, and independent."""
_WORTH = 0.3
"""Of the draws, in independent ones: with less there is a third round."""
_ENOUGH, _MOST, _BATCH = 1.25, 8.0, 0.25
"""Over ``draws``: what is enough in independent ones, how many there are at most, and how many more
are weighted at a time. A draw costs a hundredth of what a chain's transition and sweeps do, and
chains need them: they leave a place where the density is too low only by one of larger weight."""
_STARTS = 5
"""Draws over those that chains start from; the others are left for them as proposals."""


@dataclasses.dataclass(frozen=True)
class LearnSettings:
    """Sizes of the steps."""

    walkers: int
    """in each chart; all members where there are more"""
    walks: int
    """times that the walkers of the first round are looked at; the first third is not used"""
    sweeps: int
    """population sweeps between"""
    epochs: int
    draws: int
    """of the mixture, weighted at first; then more, until they are worth 1.25 times as many
    independent ones or there are eight times as many"""
    rounds: int
    """times that a density is learned from walkers, the later ones from where weighted draws are;
    once more if by then they are unreliable, or from these alone if few of them count"""


@dataclasses.dataclass(frozen=True)
class Part:
    """What a chart holds of the posterior."""

    number: int
    """of the chart"""
    density: Mixture
    """of w; the first of its parts is the flow"""
    walkers: np.ndarray
    """(walkers, dimension) in w"""


@dataclasses.dataclass(frozen=True)
class Patchwork:
    """A density over y: a point is drawn in the w of some part's chart, and counts only if that is
    the chart that has it. What leaves is thrown away; all integrates to one together with it."""

    charts: Charts
    parts: tuple[Part, ...]
    shares: np.ndarray
    """(parts,) of the draws, sum 1"""

    def draw(self, rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """y (n, dimension), and ln of the density there: infinite for what has left its chart."""
        drawn, densities = [], []
        for part, share, k in zip(
            self.parts, self.shares, rng.multinomial(n, self.shares), strict=True
        ):
            if k:
                w = part.density.draw(rng, int(k))
                y, log_jacobian = to_y(self.charts, part.number, w)
                density = np.log(share) + part.density.log_density(w) - log_jacobian
                inside = numbers(self.charts, y) == part.number
                drawn.append(y)
                densities.append(np.where(inside, density, np.inf))
        order = rng.permutation(n)
        return np.concatenate(drawn)[order], np.concatenate(densities)[order]

    def log_density(self, y: np.ndarray) -> np.ndarray:
        """ln density (n,) at y (n, dimension)."""
        of, found = numbers(self.charts, y), np.full(len(y), -np.inf)
        for part, share in zip(self.parts, self.shares, strict=True):
            rows = np.flatnonzero(of == part.number)
            if len(rows):
                w, log_jacobian = from_y(self.charts, part.number, y[rows])
                found[rows] = np.log(share) + part.density.log_density(w) - log_jacobian
        return found


@dataclasses.dataclass(frozen=True)
class Learned:
    """What the chains start from."""

    parts: tuple[Part, ...]
    """the last round's"""
    density: Patchwork
    """what was weighted"""
    population: Evaluated
    """equally weighted draws of the posterior, but for large weights that were cut: from the first
    ``1/_STARTS`` of those of ``importance``"""
    importance: Importance

    @property
    def unused(self) -> Importance:
        """Draws that neither start a chain nor shape anything: free to be proposed."""
        return self.importance[len(self.importance.log_weights) // _STARTS :]


def learn(
    target: Target,
    tempered: smc.Stage,
    settings: LearnSettings,
    seed: int,
    progress: Callable[[float, str], None] = lambda share, text: None,
) -> Learned:
    """Learn from a population that follows the posterior; ``progress`` hears share and step."""
    rng, population = np.random.default_rng([seed, 3]), tempered.points
    charts, known = Charts.of(target), Importance(population, np.zeros(len(population.y)))
    more = _MORE_WALKERS * settings.walkers
    later = dataclasses.replace(settings, walkers=more, walks=_FEWER_WALKS)
    parts, weighted, good, least = (), known, frozenset(), _LEAST_SHARE
    for number in range(settings.rounds + 1):

        def said(share: float, text: str, done: float = number) -> None:
            progress((done + share) / (settings.rounds + 1), text)

        if number == 0:
            parts = _parts(charts, known, tempered.log_z, settings, rng, seed, said)
        else:
            # What weights that are not reliable know is less than what walkers find out.
            fit = number == settings.rounds and weighted.pareto_k <= PARETO_K_MAX
            again = _refitted if fit else _part_again
            parts = _parts_again(charts, parts, good, weighted, again, later, rng, seed, said)
        of = numbers(charts, known.points.y)
        shares = np.array([max(known.share(of == part.number)[0], least) for part in parts])
        density = Patchwork(charts, parts, shares / shares.sum())
        said(0.7, "weighting draws of what was learned")
        enough = number + 1 >= settings.rounds
        draws = settings.draws if enough else settings.draws // _FIRST_DRAWS
        weighted = importance(target, *density.draw(rng, draws))
        reliable = weighted.pareto_k <= PARETO_K_MAX and weighted.effective >= _WORTH * draws
        last = enough and (number == settings.rounds or reliable)
        if last:
            weighted = _enough(target, density, weighted, rng, said)
        seen = weighted[: len(weighted.log_weights) // _STARTS] if last else weighted
        if seen.effective > _TRUSTED:
            known, good, least = seen, _good(charts, parts, seen), _LEAST_SHARE_LATER
        if last:
            break
    progress(1.0, f"{weighted.efficiency:.1%} of the draws count")
    return Learned(parts, density, known.resampled(len(population.y), rng), weighted)


def _enough(
    target: Target,
    density: Patchwork,
    weighted: Importance,
    rng: np.random.Generator,
    progress: Callable[[float, str], None],
) -> Importance:
    """``weighted``, draws of the density, and more until enough of them count."""
    draws = len(weighted.log_weights)
    while weighted.effective < _ENOUGH * draws and len(weighted.log_weights) < _MOST * draws:
        done = max(weighted.effective / _ENOUGH, len(weighted.log_weights) / _MOST) / draws
        progress(0.7 + 0.3 * done, "weighting more draws")
        more = density.draw(rng, math.ceil(_BATCH * draws))
        weighted = weighted.joined(importance(target, *more))
    return weighted


def _good(charts: Charts, parts: tuple[Part, ...], weighted: Importance) -> frozenset[int]:
    """Numbers of the parts whose weights scatter so little that they need not be learned again."""
    of, squares = numbers(charts, weighted.points.y), weighted.cut_weights**2
    most = _MINOR * np.sum(squares)
    return frozenset(p.number for p in parts if np.sum(squares[of == p.number]) < most)


def _parts(
    charts: Charts,
    known: Importance,
    log_z: float,
    settings: LearnSettings,
    rng: np.random.Generator,
    seed: int,
    progress: Callable[[float, str], None],
) -> tuple[Part, ...]:
    """Of all charts that hold something of the posterior."""
    of, n = numbers(charts, known.points.y), len(charts.each)
    parts = []
    for k in range(n):
        progress(0.7 * k / n, f"learning {charts.label(k)}")
        inside = known[of == k]
        if len(inside.log_weights) >= _LEAST:
            members = inside.resampled(settings.walkers, rng)
        else:
            members = _tempered(charts, k, log_z, settings.walkers, rng)
        if len(members.y):
            parts.append(_part(charts, k, members, settings, rng, seed))
    return tuple(parts)


def _parts_again(
    charts: Charts,
    before: tuple[Part, ...],
    good: frozenset[int],
    weighted: Importance,
    again: Callable[..., Part],
    settings: LearnSettings,
    rng: np.random.Generator,
    seed: int,
    progress: Callable[[float, str], None],
) -> tuple[Part, ...]:
    """The parts ``before``, learned ``again`` but for those that are ``good``."""
    of, parts = numbers(charts, weighted.points.y), []
    for i, part in enumerate(before):
        k = part.number
        if k in good:
            parts.append(part)
            continue
        progress(0.7 * i / len(before), f"learning {charts.label(k)} again")
        parts.append(again(charts, part, weighted[of == k], settings, rng, seed))
    return tuple(parts)


def _part_again(
    charts: Charts,
    part: Part,
    inside: Importance,
    settings: LearnSettings,
    rng: np.random.Generator,
    seed: int,
) -> Part:
    """Learned from walkers that start where the weighted draws ``inside`` the chart are; from where
    they were if those are few."""
    if _worth(inside) >= _LEAST:
        members = inside.resampled(settings.walkers, rng)
    else:
        members = evaluate(charts.target, to_y(charts, part.number, part.walkers)[0])
    return _part(charts, part.number, members, settings, rng, seed)


def _refitted(
    charts: Charts,
    part: Part,
    inside: Importance,
    settings: LearnSettings,
    rng: np.random.Generator,
    seed: int,
) -> Part:
    """Learned from the weighted draws ``inside`` the chart themselves, which are worth more points
    than the walkers were; from walkers again if they are few. The flow before stays for what they
    have not seen."""
    if _worth(inside) < _ENOUGH_TO_FIT:
        return _part_again(charts, part, inside, settings, rng, seed)
    drawn = inside.resampled(_FITTED, rng).y
    w, _ = from_y(charts, part.number, drawn[rng.permutation(len(drawn))])
    walkers, (flow, *_) = w[: settings.walkers], part.density.parts
    flows = (Flow.fit(w, settings.epochs, seed), flow)
    parts = (*flows, Archive.of(walkers), Student.of(walkers))
    return Part(part.number, Mixture(parts, _SHARES_REFITTED), walkers)


def _worth(weighted: Importance) -> float:
    """In independent draws; none where no weight is finite."""
    return weighted.effective if np.isfinite(weighted.log_weights).any() else 0.0


def _tempered(
    charts: Charts, number: int, log_z: float, n: int, rng: np.random.Generator
) -> Evaluated:
    """``n`` points of the posterior inside a chart; none if it has hardly any of it.

    ``log_z``: of the posterior.
    """
    y = smc.prior_draws(charts.target, _PRIOR_DRAWS, rng)
    inside = numbers(charts, y) == number
    y = y[inside][: _CANDIDATES * _MEMBERS]
    nothing = Evaluated(y[:0], y[:0, 0], y[:0, 0])
    if not len(y):
        return nothing
    w, _ = from_y(charts, number, y)
    axis = charts.axis(number)
    if axis is not None:
        # Onto the shell: the likelihood is all that is tempered, and the thin direction is known.
        # That much of the prior is not there, so that the evidence is too large.
        w[:, axis] = _THIN * rng.standard_normal(len(w))

    def evaluated(w: np.ndarray) -> Evaluated:
        return evaluate_in(charts, number, w)

    points = evaluated(w)
    possible = np.isfinite(points.log_likelihood)
    if possible.sum() < _LEAST:
        return nothing
    first_log_z = float(np.log(possible.mean() * inside.mean()))
    stage = smc.Stage(0.0, first_log_z, points[possible][:_MEMBERS], 1.0, 0)
    while stage.beta < 1.0:
        *_, (stage, _) = smc.run_stage(evaluated, stage, _MOVES, rng)
    if stage.log_z - log_z < np.log(_NEGLIGIBLE):
        return nothing
    y, log_jacobian = to_y(charts, number, stage.points.y)
    found = Evaluated(y, stage.points.log_prior - log_jacobian, stage.points.log_likelihood)
    return found[rng.integers(len(y), size=n)]


def _part(
    charts: Charts,
    number: int,
    members: Evaluated,
    settings: LearnSettings,
    rng: np.random.Generator,
    seed: int,
) -> Part:
    def evaluated(w: np.ndarray) -> Evaluated:
        return evaluate_in(charts, number, w)

    w, log_jacobian = from_y(charts, number, members.y)
    points = Evaluated(w, members.log_prior + log_jacobian, members.log_likelihood)
    # Each half moves by proposals made from the other one, which stands meanwhile: a density that
    # has a kernel on the point itself would send it away too easily, and the walkers would not
    # follow the posterior. Copies of a member are in the same half.
    copies = np.unique(points.y, axis=0, return_inverse=True)[1].ravel()
    half = (rng.permutation(copies.max() + 1) % 2)[copies]
    halves = [points[half == h] for h in (0, 1)]
    walked = []
    for _ in range(settings.walks):
        for h in (0, 1):
            propose = proposer(Archive.of(halves[1 - h].y))
            for _ in range(settings.sweeps):
                halves[h], _ = sweep(rng, evaluated, halves[h], propose)
        walked.append(np.concatenate([members.y for members in halves]))
    w = np.concatenate(walked[settings.walks // 3 :])
    parts = (Flow.fit(w, settings.epochs, seed), Archive.of(walked[-1]), Student.of(walked[-1]))
    density = Mixture(parts, _SHARES)
    return Part(number, density, walked[-1])

"""Importance sampling with a learned density: evidence with an error, and independent draws.

For draws y_i of a density q, Z is the mean of w_i = prior x likelihood/q. Its statistical error
follows from the scatter of the weights, and so does the efficiency (sum w)^2/(n sum w^2): the share
of the draws that is worth an independent draw of the posterior. The error holds where q covers the
posterior; a mixture that keeps a kernel on every member of the tempered population is meant to.

Named approximation: the largest weights are smoothed (Vehtari et al., J. Mach. Learn. Res. 25
(2024) 72, arXiv:1507.02646, by ArviZ): a generalised Pareto distribution is fitted to them, and
each has its quantile there, no more than the largest. One draw where q is far too low would
otherwise be a tenth of all, in one run of several, and nothing in the others. Up to a shape k of
0.7 of that distribution the bias is within the error; above it nothing is reliable.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import logsumexp

from lmltdm_jax.errors import InputError

from .convergence import pareto_smoothed
from .target import Evaluated, Target, evaluate

_LEAST_TAIL = 4
"""Weights to which no distribution is fitted."""
_KEPT, _MOST_KEPT = 4.0, 100_000
"""Draws kept for each independent one they are worth, and in all, at most: observables are computed
of them, and they fill the files."""
_NOTHING = -700.0
"""ln of a weight over the largest one that is none: ArviZ has no infinities."""
PARETO_K_MAX = 0.7
"""Above it weighted draws must not be quoted."""


@dataclasses.dataclass(frozen=True)
class Importance:
    """Weighted draws of one density."""

    points: Evaluated
    log_weights: np.ndarray
    """(n,): ln(prior x likelihood/q), as they are"""

    @property
    def weights(self) -> np.ndarray:
        """(n,), sum 1: the smoothed ones"""
        smooth, _ = smoothed(self.log_weights)
        return np.exp(smooth - logsumexp(smooth))

    @property
    def pareto_k(self) -> float:
        """Shape of the distribution of the largest weights; unreliable above ``PARETO_K_MAX``."""
        return smoothed(self.log_weights)[1]

    @property
    def cut_weights(self) -> np.ndarray:
        """(n,): weights, but at most sqrt(n) times their mean (Ionides, J. Comp. Graph. Stat. 17
        (2008) 295): one draw where the density is far too low must not count as half of them."""
        return np.minimum(self.weights, 1.0 / np.sqrt(len(self.log_weights)))

    @property
    def log_z(self) -> float:
        smooth, _ = smoothed(self.log_weights)
        return float(logsumexp(smooth) - np.log(len(smooth)))

    @property
    def log_z_error(self) -> float:
        return float(np.sqrt(np.sum(self.weights**2) - 1.0 / len(self.log_weights)))

    @property
    def efficiency(self) -> float:
        return self.effective / len(self.log_weights)

    @property
    def effective(self) -> float:
        """Independent draws that these are worth (Kish)."""
        return float(1.0 / np.sum(self.weights**2))

    def share(self, inside: np.ndarray) -> tuple[float, float]:
        """Posterior probability of a region and its error; ``inside`` (n,) bool."""
        weights = self.weights
        p = float(np.sum(weights[inside]))
        return p, float(np.sqrt(np.sum(weights**2 * (inside - p) ** 2)))

    def __getitem__(self, rows: slice | np.ndarray) -> Importance:
        """Some of the draws."""
        return Importance(self.points[rows], self.log_weights[rows])

    def joined(self, other: Importance) -> Importance:
        """These draws, then others of the same density."""
        log_weights = np.concatenate([self.log_weights, other.log_weights])
        return Importance(self.points.joined(other.points), log_weights)

    def thinned(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Rows (k,) of the draws that count, and weights (k,) for them, sum 1; k is at most
        ``_KEPT`` times :attr:`effective`, and ``_MOST_KEPT``.

        Of draws lighter than one in so many, every one stays with a probability in proportion and
        then weighs as much as that: sums over the posterior keep their expectation.
        """
        weights = self.weights
        least = 1.0 / min(_KEPT * self.effective, _MOST_KEPT)
        edges = np.cumsum(np.minimum(weights / least, 1.0)) + rng.uniform()
        rows = np.flatnonzero(np.diff(np.floor(edges), prepend=0.0) > 0.0)
        kept = np.maximum(weights[rows], least)
        return rows, kept / kept.sum()

    def resampled(self, n: int, rng: np.random.Generator) -> Evaluated:
        """n equally weighted draws; those of large weight occur more than once.

        Weights are :attr:`cut_weights`. What is learned from it, or starts from it, may be biased
        by that; :attr:`weights` are not.
        """
        kept = self.cut_weights
        positions = (rng.uniform() + np.arange(n)) / n
        chosen = np.searchsorted(np.cumsum(kept) / np.sum(kept), positions)
        return self.points[np.minimum(chosen, len(kept) - 1)]


def smoothed(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """ln of the smoothed weights (n,), and k; no k (inf) and the weights as they are where less
    than a tail of them, ``min(n/5, 3 sqrt(n))``, or no more than it, is finite. Equal weights, and
    others that are bounded close to their mean, have k <= 0."""
    n = len(log_weights)
    tail = int(np.ceil(min(0.2 * n, 3.0 * np.sqrt(n))))
    order = np.argsort(log_weights)
    # The largest that is not smoothed: ArviZ normalises in one version and not in another.
    body = order[n - tail - 1] if tail < n else -1
    if tail <= _LEAST_TAIL or not np.isfinite(log_weights[body]):
        return log_weights, np.inf
    relative = log_weights - log_weights[order[-1]]
    if relative[body] == 0.0:
        return log_weights, -np.inf
    found, k = pareto_smoothed(np.maximum(relative, _NOTHING))
    smooth = log_weights.copy()
    largest = order[n - tail :]
    smooth[largest] = log_weights[body] + found[largest] - found[body]
    return smooth, k


def importance(target: Target, y: np.ndarray, log_density: np.ndarray) -> Importance:
    """Draws y (n, dimension) of a density, weighted; ``log_density`` (n,) is ln of it there,
    infinite for a draw that counts as nothing.

    Raises:
        InputError: the likelihood is not a number at a draw, so that nothing would be one.
    """
    points = evaluate(target, y)
    counts = np.isfinite(log_density)
    undefined = np.flatnonzero(counts & np.isnan(points.log_likelihood))
    if len(undefined):
        values = target.coordinates.values(points.y[undefined[0]])
        text = ", ".join(f"{name} = {float(value):.6g}" for name, value in values.items())
        raise InputError(f"a term of the likelihood is not a number (nan) at {text}")
    log_weights = points.log_prior + points.log_likelihood - log_density
    return Importance(points, np.where(counts, log_weights, -np.inf))

"""Importance sampling with a learned density: evidence with an error, and independent draws.

For draws y_i of a density q, Z is the mean of w_i = prior x likelihood/q. Its statistical error
follows from the scatter of the weights, and so does the efficiency (sum w)^2/(n sum w^2): the share
of the draws that is worth an independent draw of the posterior. The error holds where q covers the
posterior; a mixture that keeps a kernel on every member of the tempered population is meant to.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import logsumexp

from lmltdm_jax.errors import InputError

from .target import Evaluated, Target, evaluate


@dataclasses.dataclass(frozen=True)
class Importance:
    """Weighted draws of one density."""

    points: Evaluated
    log_weights: np.ndarray
    """(n,): ln(prior x likelihood/q)"""

    @property
    def weights(self) -> np.ndarray:
        """(n,), sum 1"""
        return np.exp(self.log_weights - logsumexp(self.log_weights))

    @property
    def cut_weights(self) -> np.ndarray:
        """(n,): weights, but at most sqrt(n) times their mean (Ionides, J. Comp. Graph. Stat. 17
        (2008) 295): one draw where the density is far too low must not count as half of them."""
        return np.minimum(self.weights, 1.0 / np.sqrt(len(self.log_weights)))

    @property
    def log_z(self) -> float:
        return float(logsumexp(self.log_weights) - np.log(len(self.log_weights)))

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

    def resampled(self, n: int, rng: np.random.Generator) -> Evaluated:
        """n equally weighted draws; those of large weight occur more than once.

        Weights are :attr:`cut_weights`. What is learned from it, or starts from it, may be biased
        by that; :attr:`weights` are not.
        """
        kept = self.cut_weights
        positions = (rng.uniform() + np.arange(n)) / n
        chosen = np.searchsorted(np.cumsum(kept) / np.sum(kept), positions)
        return self.points[np.minimum(chosen, len(kept) - 1)]


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

"""Weighted draws of the posterior: what a fit knows best.

Draws of the learned density are independent and count by their weights (:mod:`importance`). They
are worth 8 to 40 times what the chains of the same fit are, which are there to check them: both
must agree.
"""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np

from lmltdm_jax.prediction import observable_columns

from .importance import Importance
from .target import Target, columns


@dataclasses.dataclass(frozen=True)
class Weighted:
    """All arrays are (n,)."""

    weights: np.ndarray
    """sum 1"""
    log_likelihood: np.ndarray
    parameters: dict[str, np.ndarray]
    """sampled parameters in physical units, then nuisances"""
    observables: dict[str, np.ndarray]

    @classmethod
    def of(cls, target: Target, draws: Importance, rng: np.random.Generator) -> Self:
        """Of those draws that :meth:`Importance.thinned` keeps."""
        rows, weights = draws.thinned(rng)
        points = draws.points[rows]
        found = columns(target, points.y)
        return cls(
            weights=weights,
            log_likelihood=points.log_likelihood,
            parameters=target.coordinates.values(points.y),
            observables={n: found[n] for n in observable_columns(target.coordinates.prior.model)},
        )

    @property
    def effective(self) -> float:
        """Independent draws that these are worth (Kish)."""
        return float(1.0 / np.sum(self.weights**2))

    def summary(self, name: str) -> dict[str, float]:
        """Mean, standard deviation and quantiles of a parameter."""
        x = self.parameters[name]
        mean = np.average(x, weights=self.weights)
        sd = np.sqrt(np.average((x - mean) ** 2, weights=self.weights))
        q05, q50, q95 = quantile(x, (0.05, 0.5, 0.95), self.weights)
        return {"mean": float(mean), "sd": float(sd), "q05": q05, "q50": q50, "q95": q95}


def quantile(x: np.ndarray, q: tuple[float, ...], weights: np.ndarray) -> list[float]:
    """Quantiles q of weighted values x (n,)."""
    return [float(v) for v in np.quantile(x, q, weights=weights, method="inverted_cdf")]

"""Whether draws suffice: r_hat and effective sample sizes of chains, and what the largest weights
of weighted draws are worth, as ArviZ has them.

The first two are of ranks (Vehtari et al., Bayesian Anal. 16 (2021) 667): a parameter and its
logarithm have the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

with warnings.catch_warnings():
    # 0.23 announces on import that 1.0 will be different.
    warnings.simplefilter("ignore", FutureWarning)
    import arviz

R_HAT_MAX, ESS_MIN, DIVERGENCES_MAX = 1.01, 400.0, 1e-3
"""A fit has converged if every parameter's r_hat and bulk and tail ess, and the share of divergent
transitions, are within these."""


class Mixing(NamedTuple):
    """Of one parameter, or the worst of several."""

    r_hat: float
    ess_bulk: float
    ess_tail: float

    @property
    def ess(self) -> float:
        return min(self.ess_bulk, self.ess_tail)

    def __str__(self) -> str:
        return f"r_hat {self.r_hat:.3f}, effective sample size {self.ess:.0f}"


def mixing(draws: np.ndarray) -> Mixing:
    """Of the draws (chains, draws) of one parameter; nan where ArviZ has no answer."""
    return Mixing(
        float(arviz.rhat(draws)),
        float(arviz.ess(draws, method="bulk")),
        float(arviz.ess(draws, method="tail", prob=(0.05, 0.95))),
    )


def pareto_smoothed(log_weights: np.ndarray) -> tuple[np.ndarray, float]:
    """ln of Pareto-smoothed weights (n,) but for a constant, and the shape k; of finite ones."""
    # Among candidate shapes there are some so unlikely that 1/exp(...) is zero by overflow.
    with np.errstate(over="ignore"):
        if int(arviz.__version__.split(".")[0]) >= 1:
            from arviz_stats.base import array_stats  # pyright: ignore[reportMissingImports]

            found, k = array_stats.psislw(-log_weights)
        else:
            found, k = arviz.psislw(log_weights.copy())
    return np.asarray(found), float(k)


def worst(parameters: Mapping[str, np.ndarray]) -> Mixing:
    """Largest r_hat and least ess of several parameters; nan if one of them is."""
    found = np.array([mixing(draws) for draws in parameters.values()])
    return Mixing(*map(float, (found[:, 0].max(), found[:, 1].min(), found[:, 2].min())))

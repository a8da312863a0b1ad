"""Errors at the best fit from the exact Hessian of chi2/2, today and with forecasts.

Over box coordinates (log10 of a parameter with a log prior) and nuisances, by forward over reverse
mode. Every term has a weight: one compiled program serves today's data and every forecast, which
switches off the terms that it replaces (:mod:`lmltdm_jax.likelihoods.forecast`).

Seven parameters and a handful of measurements leave directions flat. Along an eigenvector (in units
of the prior's range, of six standard deviations for a nuisance) on which chi2 rises by less than 1
over the whole range, or falls, nothing is measured: every parameter with a part in it is
unconstrained, and has no error, not a made-up one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.likelihoods.forecast import Forecast
from lmltdm_jax.numerics.compiling import top_level_jit

from .target import Target

_PART = 0.05
"""Least component of a flat direction that makes a parameter unconstrained."""


@dataclasses.dataclass(frozen=True)
class Errors:
    """From one Hessian."""

    names: tuple[str, ...]
    sigma: np.ndarray
    """(dimension,) one standard deviation in box coordinates; inf if unconstrained"""
    covariance: np.ndarray
    """(dimension, dimension) over the directions that are not flat"""
    flat: int
    """number of flat directions"""


def hessian(target: Target, weights: Mapping[str, float], x: np.ndarray) -> np.ndarray:
    """(dimension, dimension): Hessian of chi2/2 in box coordinates x.

    Args:
        target: posterior whose likelihood is meant.
        weights: of every term.
        x: one point (dimension,).
    """
    as_arrays = {name: jnp.asarray(float(weight)) for name, weight in weights.items()}
    return np.asarray(_hessian(target, as_arrays, jnp.asarray(x)))


def compile_errors(target: Target) -> None:
    """Compile what :func:`at_best_fit` runs without forecasts, whose terms hold the best fit."""
    prior = target.coordinates.prior
    x = np.append(0.5 * np.sum(prior.box, axis=0), np.zeros(len(prior.nuisances)))
    hessian(target, dict.fromkeys((t.name for t in target.likelihood.term_list), 1.0), x)


@partial(top_level_jit, runs_once=True)
def _hessian(target: Target, weights: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    def gradient(x: jax.Array) -> jax.Array:
        return _gradient(target, weights, x)

    # Rows one after the other: a batch of them compiles a fifth longer.
    return jax.lax.map(lambda unit: jax.jvp(gradient, (x,), (unit,))[1], jnp.eye(len(x)))


def _gradient(target: Target, weights: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    prior = target.coordinates.prior

    def half_chi2(x: jax.Array) -> jax.Array:
        terms = target.likelihood.terms(*prior.physical(x))
        constraints = 0.5 * jnp.sum(x[len(prior.parameters) :] ** 2)
        return constraints - sum(weights[name] * terms[name] for name in weights)

    return jax.grad(half_chi2)(x)


def errors(target: Target, matrix: np.ndarray) -> Errors:
    """Standard deviations from a Hessian, flat directions taken out."""
    prior = target.coordinates.prior
    scale = prior.widths
    values, vectors = np.linalg.eigh(matrix * scale[:, None] * scale)
    flat = values < 1.0
    steep = scale[:, None] * vectors[:, ~flat] / np.sqrt(values[~flat])
    covariance = steep @ steep.T
    unconstrained = np.any(np.abs(vectors[:, flat]) > _PART, axis=1)
    sigma = np.where(unconstrained, np.inf, np.sqrt(np.diagonal(covariance)))
    return Errors(prior.names, sigma, covariance, int(flat.sum()))


def at_best_fit(
    target: Target,
    y: np.ndarray,
    columns: Mapping[str, float],
    forecasts: Sequence[Forecast] = (),
) -> dict[str, Errors]:
    """Errors now, with each forecast, and with all of them if there are several.

    Args:
        target: posterior of today.
        y: the best fit (dimension,).
        columns: observables there.
        forecasts: what is to come.
    """
    likelihood = target.likelihood
    today = dict.fromkeys((term.name for term in likelihood.term_list), 1.0)
    terms = {f.name: f.term(columns) for f in forecasts}
    weights = today | {term.name: 0.0 for term in terms.values()}
    extended = dataclasses.replace(target, likelihood=likelihood.with_terms(*terms.values()))
    groups = {"now": []} | {f.name: [f] for f in forecasts}
    if len(forecasts) > 1:
        groups["all"] = list(forecasts)
    x = target.coordinates.to_box_many(y)
    found = {}
    for name, group in groups.items():
        chosen = dict(weights)
        for forecast in group:
            chosen |= dict.fromkeys(forecast.replaced(likelihood), 0.0)
            chosen[terms[forecast.name].name] = 1.0
        found[name] = errors(target, hessian(extended, chosen, x))
    return found

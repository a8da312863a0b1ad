"""The posterior as functions of a plain vector, for samplers and optimisers of other packages.

    post = VectorPosterior("talk2024", fixed={"q_phi": 0.4})
    emcee.EnsembleSampler(64, post.dimension, post.logpdf, vectorize=True)
    dynesty.NestedSampler(post.loglike, post.prior_transform, post.dimension)
    Minuit(post.chi2, post.start, grad=post.chi2_gradient, name=post.names)

A vector holds physical values in the order of ``names``: sampled parameters, then nuisances (unit
normals). Every function takes one vector (dimension,) or several (n, dimension); it compiles once
for either. Without gradients a fit needs many more calls: ``lmltdm fit`` is the faster way.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from lmltdm_jax.errors import InputError
from lmltdm_jax.likelihoods.total import Likelihood
from lmltdm_jax.numerics.compiling import top_level_jit

from .fit import build_target
from .lanes import CPU_LANES, GPU_LANES
from .prior import Prior


class VectorPosterior:
    """Prior and likelihood of a preset (or a likelihood of your own) over a vector.

    Args:
        preset: a preset's name or a :class:`Likelihood`.
        prior: as in :meth:`Prior.from_table`: ``ranges``, ``fixed``, ``model``.

    Raises:
        InputError: as :meth:`Prior.from_table`, or an unknown preset.
    """

    def __init__(self, preset: str | Likelihood, **prior) -> None:
        target = build_target(preset, **prior)
        self.prior: Prior = target.coordinates.prior
        self.likelihood: Likelihood = target.likelihood

    @property
    def names(self) -> tuple[str, ...]:
        return self.prior.names

    @property
    def dimension(self) -> int:
        return self.prior.dimension

    @property
    def start(self) -> np.ndarray:
        """The benchmark, moved into the prior's range; nuisances at 0. (dimension,)"""
        point = self.prior.model.benchmark()
        pairs = zip(self.prior.parameters, self.prior.ranges, strict=True)
        values = [np.clip(getattr(point, info.name), *ends) for info, ends in pairs]
        return np.array([*values, *np.zeros(len(self.prior.nuisances))], float)

    def prior_transform(self, u: np.ndarray) -> np.ndarray:
        """Unit cube -> vector, for nested samplers."""
        return self.prior.prior_transform(u)

    def loglike(self, vector: np.ndarray) -> np.ndarray | float:
        """ln L of the data alone; -inf outside the physical domain."""
        return self._evaluate("loglike", vector)

    def logpdf(self, vector: np.ndarray) -> np.ndarray | float:
        """ln(prior density in the vector x L); -inf outside the prior's range.

        The prior is normalised, flat in log10 of a parameter where its table says so: the density
        in the parameter itself then falls like 1/value.
        """
        return self._evaluate("logpdf", vector)

    def grad(self, vector: np.ndarray) -> np.ndarray:
        """Gradient of :meth:`logpdf`; 0 where that is -inf."""
        return self._evaluate("logpdf", vector, gradient=True)

    def chi2(self, vector: np.ndarray) -> np.ndarray | float:
        """-2 ln L with the constraints of nuisances and no other prior: to be minimised."""
        return self._evaluate("chi2", vector)

    def chi2_gradient(self, vector: np.ndarray) -> np.ndarray:
        """Gradient of :meth:`chi2`."""
        return self._evaluate("chi2", vector, gradient=True)

    def _evaluate(self, what: str, vector: np.ndarray, gradient: bool = False):
        vectors = np.asarray(vector, float)
        if vectors.ndim not in (1, 2) or vectors.shape[-1] != self.dimension:
            raise InputError(
                f"vector: shape {vectors.shape}, needs ({self.dimension},) or (n, {self.dimension})"
            )
        rows = np.atleast_2d(vectors)
        many = CPU_LANES if jax.default_backend() == "cpu" else GPU_LANES
        lanes = many if vectors.ndim == 2 else 1
        found = []
        for begin in range(0, len(rows), lanes):
            piece = rows[begin : begin + lanes]
            padded = np.concatenate([piece, np.repeat(piece[-1:], lanes - len(piece), axis=0)])
            out = _lanes(self.prior, self.likelihood, jnp.asarray(padded), what, gradient)
            found.append(np.asarray(out)[: len(piece)])
        values = np.concatenate(found) if found else np.empty(vectors.shape[: 1 + gradient])
        if vectors.ndim == 2:
            return values
        return values[0] if gradient else float(values[0])


@top_level_jit
def _lanes(prior: Prior, likelihood: Likelihood, vectors: jax.Array, what: str, gradient: bool):
    function = functools.partial(_FUNCTIONS[what], prior, likelihood)
    return jax.vmap(jax.grad(function) if gradient else function)(vectors)


def _log_likelihood(prior: Prior, likelihood: Likelihood, v: jax.Array) -> jax.Array:
    n = len(prior.parameters)
    values = dict(prior.fixed) | {info.name: v[i] for i, info in enumerate(prior.parameters)}
    nuisances = {name: v[n + i] for i, name in enumerate(prior.nuisances)}
    terms = likelihood.terms(prior.model(**values), nuisances)
    return sum(terms.values(), jnp.zeros(()))


def _chi2(prior: Prior, likelihood: Likelihood, v: jax.Array) -> jax.Array:
    constraints = jnp.sum(v[len(prior.parameters) :] ** 2)
    return constraints - 2.0 * _log_likelihood(prior, likelihood, v)


def _log_posterior(prior: Prior, likelihood: Likelihood, v: jax.Array) -> jax.Array:
    n = len(prior.parameters)
    low, high = np.array(prior.ranges).T
    inside = jnp.all((v[:n] >= low) & (v[:n] <= high))
    # Outside, the middle of the range: its logarithms exist, and no NaN enters the gradient.
    safe = jnp.where(inside, v, jnp.concatenate([0.5 * (low + high), v[n:]]))
    log = prior.is_log[:n]
    slope = jnp.where(log, jnp.log(jnp.where(log, safe[:n], 1.0) * math.log(10.0)), 0.0)
    box_low, box_high = prior.box
    density = -jnp.sum(slope) - np.sum(np.log(box_high - box_low)) + jnp.sum(norm.logpdf(v[n:]))
    return jnp.where(inside, density + _log_likelihood(prior, likelihood, safe), -jnp.inf)


_FUNCTIONS = {"loglike": _log_likelihood, "logpdf": _log_posterior, "chi2": _chi2}

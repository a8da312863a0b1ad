"""What the samplers see: prior and likelihood over the coordinates y, compiled once."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.likelihoods.relic_density import RelicDensity
from lmltdm_jax.likelihoods.total import Evaluation, Likelihood
from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.numerics.fence import fence
from lmltdm_jax.numerics.one_result import one_result
from lmltdm_jax.observables.compute import Relic
from lmltdm_jax.prediction import observable_columns

from .coordinates import OMEGA_H2, Coordinates
from .lanes import CPU_LANES, FEW, in_lanes


class Evaluated(NamedTuple):
    """Points with what a sampler needs (n points along the first axis)."""

    y: np.ndarray
    """(n, dimension)"""
    log_prior: np.ndarray
    log_likelihood: np.ndarray

    def __getitem__(self, index) -> Evaluated:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Evaluated(*(field[index] for field in tuple(self)))

    def updated(self, accepted: np.ndarray, other: Evaluated) -> Evaluated:
        """Rows of ``other`` where ``accepted`` (n,)."""

        def choose(new, old):
            return np.where(accepted.reshape(-1, *[1] * (old.ndim - 1)), new, old)

        return Evaluated(*map(choose, tuple(other), tuple(self)))

    def joined(self, *others: Evaluated) -> Evaluated:
        """These points, then those of ``others``."""
        return Evaluated(*map(np.concatenate, zip(self, *others, strict=True)))


class Target(eqx.Module):
    """Posterior density over y. All methods take one point and are jit, vmap and grad safe."""

    coordinates: Coordinates
    likelihood: Likelihood

    @property
    def dimension(self) -> int:
        return self.coordinates.prior.dimension

    def evaluate(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(ln prior density in y, nuisances included; ln likelihood)."""
        log_prior, evaluation = self._evaluation(y)
        return log_prior, sum(evaluation.terms.values(), jnp.zeros(()))

    def shell_excess(self, y: jax.Array) -> jax.Array:
        """ln(Omega h2/0.12), without all the rest."""
        return jnp.log(self._relic(y).omega_h2 / OMEGA_H2)

    def log_stretch(self, y: jax.Array) -> jax.Array:
        """ln of how many times thicker the relic shell is at a point than where its theory error is
        the constant one, in ln Omega h2; 0 if it is that everywhere."""
        term = self._varying_error
        if term is None:
            return jnp.zeros(())
        constant = term.relative_theory_error
        error = jnp.hypot(constant, self._relic(y).relative_error)
        return jnp.log(jnp.log1p(error) / math.log1p(constant))

    def columns(self, y: jax.Array) -> dict[str, jax.Array]:
        """Observables by name, ``loglike_<term>`` and ``pull_<term>``.

        Apart from :meth:`evaluate`, because observables that no term reads cost as much again.
        """
        _, evaluation = self._evaluation(y)
        names = observable_columns(self.coordinates.prior.model)
        columns = {name: getattr(evaluation.observables, name) for name in names}
        columns |= {f"loglike_{name}": value for name, value in evaluation.terms.items()}
        return columns | {f"pull_{name}": value for name, value in evaluation.pulls.items()}

    def fit_quality(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(ln likelihood, pulls of all terms): what a minimiser reads, made for forward mode."""

        def error(y: jax.Array) -> jax.Array:
            return self._relic(y).relative_error

        # Apart, so that what nothing reads is not computed: most likelihoods read no error, for
        # which reverse mode would be traced for seconds.
        read = self._varying_error is not None
        omega_h2 = one_result(lambda y: self._relic(y).omega_h2, y)
        relic = Relic(omega_h2, one_result(error, y) if read else error(y))
        _, evaluation = self._evaluation(y, relic)
        log_likelihood = sum(evaluation.terms.values(), jnp.zeros(()))
        return log_likelihood, jnp.stack(list(evaluation.pulls.values()))

    @property
    def _varying_error(self) -> RelicDensity | None:
        """The term of the relic density, if its theory error depends on the point."""
        terms = (term for term in self.likelihood.term_list if isinstance(term, RelicDensity))
        return next((term for term in terms if term.varying_error), None)

    def _relic(self, y: jax.Array) -> Relic:
        params, nuisances, _ = fence(self.coordinates.physical(y))
        return self.likelihood.relic(params, nuisances)

    def _evaluation(self, y: jax.Array, relic: Relic | None = None) -> tuple[jax.Array, Evaluation]:
        # The fence keeps XLA from fusing the coordinates into every reader of a parameter.
        params, nuisances, log_prior = fence(self.coordinates.physical(y))
        return log_prior, self.likelihood.evaluate(params, nuisances, relic)

    @property
    def has_shell(self) -> bool:
        """Whether the likelihood confines Omega h2."""
        return any(isinstance(term, RelicDensity) for term in self.likelihood.term_list)

    @property
    def shell_axis(self) -> int | None:
        """Axis along which the relic density fixes a thin shell, None if there is none."""
        return self.coordinates.shell_axis

    def to_upper_branch(self, y: jax.Array) -> jax.Array:
        """Distance along the shell axis to the second coupling with the same relic density."""
        return self.coordinates.to_upper_branch(y)

    def potential(self, y: jax.Array) -> jax.Array:
        """-ln(prior x likelihood), what Hamiltonian samplers call the potential energy."""
        log_prior, log_likelihood = self.evaluate(y)
        return -(log_prior + log_likelihood)


@top_level_jit
def _evaluate_lanes(target: Target, y: jax.Array):
    return jax.vmap(target.evaluate)(y)


@top_level_jit
def _columns_lanes(target: Target, y: jax.Array):
    return jax.vmap(target.columns)(y)


@partial(top_level_jit, runs_once=True)
def _columns_once(target: Target, y: jax.Array) -> dict[str, jax.Array]:
    """Of few points: for them compilation is what counts."""
    return jax.vmap(target.columns)(y)


@top_level_jit
def _upper_lanes(target: Target, y: jax.Array):
    return jax.vmap(target.to_upper_branch)(y)


def to_upper_branch(target: Target, y: np.ndarray) -> np.ndarray:
    """:meth:`Target.to_upper_branch` (n,) of points (n, dimension)."""
    return in_lanes(_upper_lanes, target, y)


def evaluate(target: Target, y: np.ndarray) -> Evaluated:
    """Evaluate points (n, dimension), two compilations whatever n is."""
    return Evaluated(np.asarray(y), *in_lanes(_evaluate_lanes, target, y))


def compile_target(target: Target) -> None:
    """Compile :func:`evaluate` for many points."""
    evaluate(target, np.zeros((CPU_LANES, target.dimension)))


def columns(target: Target, y: np.ndarray) -> dict[str, np.ndarray]:
    """:meth:`Target.columns` of points (..., dimension), arrays (...)."""
    rows = y.reshape(-1, y.shape[-1])
    found = in_lanes(_columns_lanes if len(rows) > FEW else _columns_once, target, rows)
    return {name: column.reshape(y.shape[:-1]) for name, column in found.items()}

"""What the samplers see: prior and likelihood over the coordinates y, compiled once."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

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

CPU_LANES, FEW_LANES = 32, 8
"""Points evaluated side by side on a CPU: more would fall out of its cache. Few where there are no
more, as of chains: a program of its own, in a third of the time."""
GPU_LANES = 8192
THREADS = 2


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
        term = next((t for t in self.likelihood.term_list if isinstance(t, RelicDensity)), None)
        if term is None or not term.varying_error:
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
        # Apart, so that what nothing reads is not computed: most likelihoods read no error.
        relic = (one_result(lambda y, i=i: self._relic(y)[i], y) for i in range(2))
        _, evaluation = self._evaluation(y, Relic(*relic))
        log_likelihood = sum(evaluation.terms.values(), jnp.zeros(()))
        return log_likelihood, jnp.stack(list(evaluation.pulls.values()))

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


@top_level_jit
def _upper_lanes(target: Target, y: jax.Array):
    return jax.vmap(target.to_upper_branch)(y)


def to_upper_branch(target: Target, y: np.ndarray) -> np.ndarray:
    """:meth:`Target.to_upper_branch` (n,) of points (n, dimension)."""
    return in_lanes(_upper_lanes, target, y)


def evaluate(target: Target, y: np.ndarray) -> Evaluated:
    """Evaluate points (n, dimension), two compilations whatever n is."""
    return Evaluated(np.asarray(y), *in_lanes(_evaluate_lanes, target, y))


def columns(target: Target, y: np.ndarray) -> dict[str, np.ndarray]:
    """:meth:`Target.columns` of points (..., dimension), arrays (...)."""
    found = in_lanes(_columns_lanes, target, y.reshape(-1, y.shape[-1]))
    return {name: column.reshape(y.shape[:-1]) for name, column in found.items()}


def in_lanes(function: Callable, target: Any, *rows: np.ndarray) -> Any:
    """``function(target, *rows)`` over arrays (n, ...) in calls of one shape, or that for few."""
    n = len(rows[0])
    lanes = CPU_LANES if n > FEW_LANES else FEW_LANES
    lanes = lanes if jax.default_backend() == "cpu" else GPU_LANES

    def work(start: int):
        pieces = [array[start : start + lanes] for array in rows]
        count = len(pieces[0])
        padded = [np.concatenate([p, np.repeat(p[-1:], lanes - count, axis=0)]) for p in pieces]
        out = function(target, *map(jnp.asarray, padded))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], out)

    starts = range(0, n, lanes)
    # JAX releases the interpreter lock; one call leaves a second core a third idle.
    with ThreadPoolExecutor(THREADS) as pool:
        parts = [work(starts[0]), *pool.map(work, starts[1:])]
    return jax.tree.map(lambda *a: np.concatenate(a), *parts)

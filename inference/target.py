"""What the samplers see: prior and likelihood over the coordinates y, compiled once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.likelihoods.total import Evaluation, Likelihood
from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.numerics.fence import fence
from lmltdm_jax.prediction import observable_columns

from .coordinates import OMEGA_H2, Coordinates

CPU_LANES = 32
"""Points evaluated side by side on a CPU: more would fall out of its cache."""
GPU_LANES = 8192
THREADS = 2


class Evaluated(NamedTuple):
    """Points with what a sampler needs (n points along the first axis)."""

    y: np.ndarray
    """(n, dimension)"""
    log_prior: np.ndarray
    log_likelihood: np.ndarray
    shell_excess: np.ndarray
    """ln(Omega h2/0.12), from which the shell is learned"""

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

    def evaluate(self, y: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(ln prior density in y, nuisances included; ln likelihood; shell excess)."""
        log_prior, evaluation = self._evaluation(y)
        log_likelihood = sum(evaluation.terms.values(), jnp.zeros(()))
        return log_prior, log_likelihood, jnp.log(evaluation.observables.omega_h2 / OMEGA_H2)

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
        """(ln likelihood, pulls of all terms): what a minimiser reads."""
        _, evaluation = self._evaluation(y)
        log_likelihood = sum(evaluation.terms.values(), jnp.zeros(()))
        return log_likelihood, jnp.stack(list(evaluation.pulls.values()))

    def _evaluation(self, y: jax.Array) -> tuple[jax.Array, Evaluation]:
        # The fence keeps XLA from fusing the coordinates into every reader of a parameter.
        params, nuisances, log_prior = fence(self.coordinates.physical(y))
        return log_prior, self.likelihood.evaluate(params, nuisances)

    @property
    def shell_axis(self) -> int | None:
        """Axis along which the relic density fixes a thin shell, None if there is none."""
        return self.coordinates.shell_axis

    def to_upper_branch(self, y: jax.Array) -> jax.Array:
        """Distance along the shell axis to the second coupling with the same relic density."""
        return self.coordinates.to_upper_branch(y)

    def potential(self, y: jax.Array) -> jax.Array:
        """-ln(prior x likelihood), what Hamiltonian samplers call the potential energy."""
        log_prior, log_likelihood, _ = self.evaluate(y)
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
    return _in_lanes(_upper_lanes, target, y)


def evaluate(target: Target, y: np.ndarray) -> Evaluated:
    """Evaluate points (n, dimension), one compilation whatever n is."""
    return Evaluated(np.asarray(y), *_in_lanes(_evaluate_lanes, target, y))


def columns(target: Target, y: np.ndarray) -> dict[str, np.ndarray]:
    """:meth:`Target.columns` of points (..., dimension), arrays (...)."""
    found = _in_lanes(_columns_lanes, target, y.reshape(-1, y.shape[-1]))
    return {name: column.reshape(y.shape[:-1]) for name, column in found.items()}


def _in_lanes(function: Callable, target: Target, y: np.ndarray) -> Any:
    lanes = CPU_LANES if jax.default_backend() == "cpu" else GPU_LANES

    def work(piece: np.ndarray):
        padded = np.concatenate([piece, np.repeat(piece[-1:], lanes - len(piece), axis=0)])
        out = function(target, jnp.asarray(padded))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(piece)], out)

    pieces = [y[start : start + lanes] for start in range(0, len(y), lanes)]
    # JAX releases the interpreter lock; one call leaves a second core a third idle.
    with ThreadPoolExecutor(THREADS) as pool:
        parts = [work(pieces[0]), *pool.map(work, pieces[1:])]
    return jax.tree.map(lambda *a: np.concatenate(a), *parts)

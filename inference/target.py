"""What the samplers see: prior and likelihood over the coordinates y, compiled once."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.likelihoods.total import Likelihood
from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.numerics.fence import fence
from lmltdm_jax.prediction import observable_columns

from .coordinates import OMEGA_H2, Coordinates

CPU_LANES = 32
"""Points evaluated side by side on a CPU: more would fall out of its cache."""
GPU_LANES = 8192


class Evaluated(NamedTuple):
    """Points with everything a sampler or a result file needs (n points along the first axis)."""

    y: np.ndarray
    """(n, dimension)"""
    log_prior: np.ndarray
    log_likelihood: np.ndarray
    columns: dict[str, np.ndarray]
    """Observables by name, ``loglike_<term>`` and ``pull_<term>``"""

    def __getitem__(self, index) -> Evaluated:  # pyright: ignore[reportIncompatibleMethodOverride]
        columns = {name: column[index] for name, column in self.columns.items()}
        return Evaluated(self.y[index], self.log_prior[index], self.log_likelihood[index], columns)

    def updated(self, accepted: np.ndarray, other: Evaluated) -> Evaluated:
        """Rows of ``other`` where ``accepted`` (n,)."""

        def choose(new, old):
            return np.where(accepted.reshape(-1, *[1] * (old.ndim - 1)), new, old)

        return Evaluated(
            choose(other.y, self.y),
            choose(other.log_prior, self.log_prior),
            choose(other.log_likelihood, self.log_likelihood),
            {n: choose(other.columns[n], column) for n, column in self.columns.items()},
        )


class Target(eqx.Module):
    """Posterior density over y. All methods take one point and are jit, vmap and grad safe."""

    coordinates: Coordinates
    likelihood: Likelihood

    @property
    def dimension(self) -> int:
        return self.coordinates.prior.dimension

    def evaluate(self, y: jax.Array) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """(ln prior density in y, ln likelihood, columns). Nuisance priors are in the prior."""
        # The fence keeps XLA from fusing the coordinates into every reader of a parameter.
        params, nuisances, log_prior = fence(self.coordinates.physical(y))
        evaluation = self.likelihood.evaluate(params, nuisances)
        names = observable_columns(self.coordinates.prior.model)
        columns = {name: getattr(evaluation.observables, name) for name in names}
        columns |= {f"loglike_{name}": value for name, value in evaluation.terms.items()}
        columns |= {f"pull_{name}": value for name, value in evaluation.pulls.items()}
        log_likelihood = sum(evaluation.terms.values(), jnp.zeros(()))
        return log_prior, log_likelihood, columns

    @property
    def shell_axis(self) -> int | None:
        """Axis along which the relic density fixes a thin shell, None if there is none."""
        return self.coordinates.shell_axis

    def shell_excess(self, points: Evaluated) -> np.ndarray:
        """ln(Omega h2/0.12) (n,) of points."""
        return np.log(points.columns["omega_h2"] / OMEGA_H2)

    def potential(self, y: jax.Array) -> jax.Array:
        """-ln(prior x likelihood), what Hamiltonian samplers call the potential energy."""
        log_prior, log_likelihood, _ = self.evaluate(y)
        return -(log_prior + log_likelihood)


@top_level_jit
def _evaluate_lanes(target: Target, y: jax.Array):
    return jax.vmap(target.evaluate)(y)


def evaluate(target: Target, y: np.ndarray) -> Evaluated:
    """Evaluate points (n, dimension), one compilation whatever n is."""
    lanes = CPU_LANES if jax.default_backend() == "cpu" else GPU_LANES

    def work(piece: np.ndarray):
        padded = np.concatenate([piece, np.repeat(piece[-1:], lanes - len(piece), axis=0)])
        out = _evaluate_lanes(target, jnp.asarray(padded))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(piece)], out)

    pieces = [y[start : start + lanes] for start in range(0, len(y), lanes)]
    parts = [work(piece) for piece in pieces]
    log_prior, log_likelihood, columns = jax.tree.map(lambda *a: np.concatenate(a), *parts)
    return Evaluated(np.asarray(y), log_prior, log_likelihood, columns)

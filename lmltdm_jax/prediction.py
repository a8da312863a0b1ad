"""``predict``: every observable and likelihood term of one point or of a batch, as arrays."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax._precision import require_x64
from lmltdm_jax.errors import InputError
from lmltdm_jax.likelihoods.total import Likelihood
from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.observables.freeze_out import CHANNELS
from lmltdm_jax.observables.relic_coupling import lambda_for_relic
from lmltdm_jax.parameters import Parameters, ParameterSet

OBSERVABLE_COLUMNS = (
    "delta_a_mu",
    "kinetic_mixing",
    "n_eff",
    "delta_n_eff",
    "br_bplus_kplus_np",
    "br_bplus_kplus_nunu_sm",
    "br_bplus_kplus_inv",
    "br_h2_inv",
    "gamma_h1",
    "gamma_zp",
    "br_h1_inv",
    "omega_h2",
    "sigmav_cmb_cm3_s",
    "p_ann_cm3_s_gev",
    "br_bplus_kplus_np_zero_width",
    "br_b0_kstar0_np",
    "br_kplus_piplus_h1",
    "br_kl_pi0_h1",
    "kappa_sb",
    "trident_ratio_ccfr",
    "trident_ratio_charm2",
    "borexino_be7_ratio",
    "na64mu_yield",
    "sigma_si_cm2",
    "t_nu_over_t_gamma",
    "eta_nu",
    "h0_preferred",
    *(f"omega_fraction_{channel}" for channel in CHANNELS),
    "x_freezeout",
    "sigmav_fo_cm3_s",
    "sigmav_today_cm3_s",
)
"""Output columns of ``predict``, in order; ``loglike`` and ``loglike_<term>`` follow."""

RELIC_COUPLING_COLUMNS = ("lambda_relic_low", "lambda_relic_high")
"""The two couplings that leave Omega h2 = 0.12, nan where there is none. About 200 relic densities
a point, so only on request; they follow all other columns."""

OF_H1 = ("gamma_h1", "br_h1_inv")
"""Properties of H1 itself: they mean nothing in a model without it."""

CPU_CHUNK = 256
CPU_LANES = 32
GPU_CHUNK = 65536


def predict(
    params: ParameterSet, preset: str | Likelihood = "talk2024", relic_coupling: bool = False
) -> dict[str, np.ndarray]:
    """Observables, ``loglike`` and ``loglike_<term>`` of a point or a batch, of any model.

    Args:
        params: scalars, or arrays of one common shape; validated before any compute.
        preset: a preset's name or a :class:`Likelihood` of your own.
        relic_coupling: add :data:`RELIC_COUPLING_COLUMNS` (slow; nan where there is no root).

    Returns:
        ``{column: array}`` with the shape of the parameters, float64, columns in output order.

    Raises:
        InputError: unphysical parameter or unknown preset.
    """
    params.validate()
    likelihood = Likelihood.from_preset(preset) if isinstance(preset, str) else preset
    vectors = np.asarray(params.to_vector())
    shape = vectors.shape[:-1]
    vectors = vectors.reshape(-1, vectors.shape[-1])
    model = type(params)
    chunks = list(predict_chunks(vectors, likelihood, model, relic_coupling))
    return {
        name: np.concatenate([chunk[name] for chunk in chunks]).reshape(shape)
        for name in output_columns(likelihood, model, relic_coupling)
    }


def observable_columns(model: type[ParameterSet] = Parameters) -> tuple[str, ...]:
    """:data:`OBSERVABLE_COLUMNS` that a model has: without a dark Higgs none of its decays."""
    absent = () if model.has_dark_higgs else OF_H1
    return tuple(name for name in OBSERVABLE_COLUMNS if name not in absent)


def output_columns(
    likelihood: Likelihood, model: type[ParameterSet] = Parameters, relic_coupling: bool = False
) -> list[str]:
    """Names of everything :func:`predict` returns, in order.

    Raises:
        InputError: ``relic_coupling`` in a model without lambda_phix.
    """
    if relic_coupling and not model.has_dark_higgs:
        raise InputError(f"model '{model.model}' has no lambda_phix to solve for")
    terms = [f"loglike_{term.name}" for term in likelihood.term_list]
    last = RELIC_COUPLING_COLUMNS if relic_coupling else ()
    return [*observable_columns(model), "loglike", *terms, *last]


def chunk_size() -> int:
    """Points per compiled call: cache-sized lanes on a CPU, one wide batch on a GPU."""
    return CPU_CHUNK if jax.default_backend() == "cpu" else GPU_CHUNK


def lanes() -> int:
    """Points side by side inside a compiled call: few on a CPU, whose caches they must fit."""
    return CPU_LANES if jax.default_backend() == "cpu" else GPU_CHUNK


def predict_chunks(
    vectors: np.ndarray,
    likelihood: Likelihood,
    model: type[ParameterSet] = Parameters,
    relic_coupling: bool = False,
) -> Iterator[dict[str, np.ndarray]]:
    """Predictions of parameter vectors (n, parameters) of ``model`` chunk by chunk.

    One compilation whatever n is.
    """
    require_x64()
    size = chunk_size()
    for start in range(0, len(vectors), size):
        chunk = vectors[start : start + size]
        # Pad with the last point so that every call has the compiled shape.
        padded = np.concatenate([chunk, np.repeat(chunk[-1:], size - len(chunk), axis=0)])
        columns = _predict_padded(likelihood, model, jnp.asarray(padded))
        if relic_coupling:
            columns |= relic_couplings(likelihood, jnp.asarray(padded))
        yield {name: np.asarray(column)[: len(chunk)] for name, column in columns.items()}


@top_level_jit
def _predict_padded(
    likelihood: Likelihood, model: type[ParameterSet], vectors: jax.Array
) -> dict[str, jax.Array]:
    one = functools.partial(_predict_one, likelihood, model)
    return jax.lax.map(one, vectors, batch_size=lanes())


def _predict_one(
    likelihood: Likelihood, model: type[ParameterSet], vector: jax.Array
) -> dict[str, jax.Array]:
    evaluation = likelihood.evaluate(model.from_vector(vector))
    columns = {name: getattr(evaluation.observables, name) for name in observable_columns(model)}
    columns["loglike"] = evaluation.loglike
    return columns | {f"loglike_{name}": value for name, value in evaluation.terms.items()}


@top_level_jit
def relic_couplings(likelihood: Likelihood, vectors: jax.Array) -> dict[str, jax.Array]:
    """:data:`RELIC_COUPLING_COLUMNS` of one point (8,) or of several (n, 8)."""

    def one(vector: jax.Array) -> dict[str, jax.Array]:
        found = lambda_for_relic(Parameters.from_vector(vector), likelihood.sm)
        return dict(zip(RELIC_COUPLING_COLUMNS, (found.low, found.high), strict=True))

    return one(vectors) if vectors.ndim == 1 else jax.lax.map(one, vectors, batch_size=lanes())

"""Standard Model inputs and theory errors that may float: each a unit normal z of its own.

* Any input with an error in its file: log-normal, value (1 + error/value)^z.
* ``kappa_sb`` moves kappa_sd by the same factor. Its error is that of the top loop (the scheme of
  m_t; both are proportional to m_t^2) and of V_ts, which both contain; m_b and m_s drop out of the
  rates. V_td is independent and floats with ``v_ts_v_td_re`` and ``v_ts_v_td_im``, whose errors
  contain the 1.8 % of V_ts again.
* ``ff_bk_1`` to ``ff_bk_5``: B -> K form factors f_0 and f_+ of arXiv:2207.12468, whitened: the
  coefficients are central + L z with L L^T their covariance (f_T enters no observable here).
* ``a0_bkstar``: the B -> K* form factor A_0, log-normal with the error of its file.
* ``h1_running``: the line shape of a broad H1, which lacks the real part of the self-energy: every
  spectrum is multiplied by :func:`lmltdm_jax.observables.self_energy.theory_error_factor`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from lmltdm_jax.errors import InputError
from lmltdm_jax.inputs import StandardModel, input_table
from lmltdm_jax.observables.form_factors import WHITENED_BK, a_zero_relative_error

FORM_FACTORS = tuple(f"ff_bk_{i + 1}" for i in range(WHITENED_BK))
A_ZERO = "a0_bkstar"
H1_RUNNING = "h1_running"
LARGEST = 37.0
"""Validity range of every z: a unit normal has 5e-298 there. Powers of factors overflow further
out."""


def known_nuisances(inputs: str) -> tuple[str, ...]:
    """Names that may float with an input set."""
    table = input_table(inputs)
    return (
        *(name for name in table if table[name]["error"] > 0.0),
        *FORM_FACTORS,
        A_ZERO,
        H1_RUNNING,
    )


def check_nuisances(names: tuple[str, ...], inputs: str, of_terms: tuple[str, ...] = ()) -> None:
    """Raises InputError for the first name that cannot float; ``of_terms``: names of terms."""
    known = known_nuisances(inputs) + of_terms
    for name in names:
        if name not in known:
            raise InputError(f"unknown nuisance '{name}' for inputs '{inputs}'; known: {known}")


def in_range(z: Mapping[str, jax.Array]) -> jax.Array:
    """Whether every nuisance is within ``LARGEST``; scalar bool."""
    inside = jnp.ones((), bool)
    for value in z.values():
        inside &= jnp.abs(jnp.asarray(value)) <= LARGEST
    return inside


def shifted(sm: StandardModel, inputs: str, z: Mapping[str, jax.Array]) -> StandardModel:
    """``sm`` with every nuisance of ``z`` moved by that many standard deviations."""
    table = input_table(inputs)
    changes = {}
    for name in z.keys() - {*FORM_FACTORS, A_ZERO, H1_RUNNING}:
        error = table[name]["error"] / table[name]["value"]
        changes[name] = getattr(sm, name) * log_normal_factor(z[name], error)
    if "kappa_sb" in z:
        changes["kappa_sd_factor"] = changes["kappa_sb"] / sm.kappa_sb
    if any(name in z for name in FORM_FACTORS):
        changes["bk_whitened"] = jnp.stack(
            [jnp.asarray(z.get(n, 0.0), float) for n in FORM_FACTORS]
        )
    if A_ZERO in z:
        changes["a_zero_factor"] = log_normal_factor(z[A_ZERO], a_zero_relative_error())
    if H1_RUNNING in z:
        changes["h1_running"] = z[H1_RUNNING]
    return sm.replace(**changes)


def log_normal_factor(z: jax.Array, relative_error: float) -> jax.Array:
    """exp(z ln(1 + relative_error)): a positive input shifted by z standard deviations."""
    return jnp.exp(z * math.log1p(relative_error))

"""Form factors: B -> K of lattice QCD (HPQCD 2022), A_0 of B -> K*, K -> pi."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np


@functools.cache
def _table(name: str) -> dict:
    path = resources.files("lmltdm_jax.data") / "form_factors" / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def hpqcd22() -> dict:
    """Table ``data/form_factors/hpqcd22.toml``: constants, 8 coefficients, covariance, citation."""
    return _table("hpqcd22")


def central_coefficients() -> np.ndarray:
    """The 8 coefficients (a0 of f0 and f+, a1, a2 of f0, a1, a2 of f+, a0, a1, a2 of fT)."""
    return np.array(hpqcd22()["central"])


def coefficient_covariance() -> np.ndarray:
    """Covariance of :func:`central_coefficients`, shape (8, 8)."""
    return np.array(hpqcd22()["covariance"])


WHITENED_BK = 5
"""Coefficients of f_0 and f_+, which come first and share their first one."""


def shifted_coefficients(whitened: jax.Array | None) -> jax.Array:
    """Central coefficients plus L z for z (5,) with L L^T the covariance of those of f_0 and f_+.

    f_T keeps its central coefficients: no observable reads it.
    """
    central = jnp.asarray(central_coefficients())
    if whitened is None:
        return central
    factor = np.linalg.cholesky(coefficient_covariance()[:WHITENED_BK, :WHITENED_BK])
    return central.at[:WHITENED_BK].add(factor @ whitened)


def a_zero_relative_error() -> float:
    """Relative error of :func:`a_zero`, the same at every q2."""
    return _table("bsz_a0")["relative_error"]


def _z(q2: jax.Array) -> jax.Array:
    table = hpqcd22()
    t_plus = (table["m_b_meson"] + table["m_kaon"]) ** 2
    root, root_0 = jnp.sqrt(t_plus - q2), np.sqrt(t_plus)
    return (root - root_0) / (root + root_0)


def _vector_series(q2: jax.Array, a0: jax.Array, a1: jax.Array, a2: jax.Array) -> jax.Array:
    z = _z(q2)
    series = a0 + a1 * (z - z**3 / 3.0) + a2 * (z**2 + 2.0 * z**3 / 3.0)
    table = hpqcd22()
    return table["chiral_log"] * series / (1.0 - q2 / table["m_pole_1"] ** 2)


def f_zero(q2: jax.Array, coefficients: jax.Array | None = None) -> jax.Array:
    """Scalar form factor f_0(q2), arXiv:2207.12468 at the physical point.

    ``q2`` in GeV^2, 0 to (m_B - m_K)^2, any shape; ``coefficients`` (8,) replaces the central
    values. The isospin-averaged masses of the paper stay inside z whatever the kinematics.
    """
    a = central_coefficients() if coefficients is None else coefficients
    z = _z(q2)
    series = a[0] + z * (a[1] + z * a[2])
    table = hpqcd22()
    return table["chiral_log"] * series / (1.0 - q2 / table["m_pole_0"] ** 2)


def f_plus(q2: jax.Array, coefficients: jax.Array | None = None) -> jax.Array:
    """Vector form factor f_+(q2), as :func:`f_zero`; f_+(0) = f_0(0)."""
    a = central_coefficients() if coefficients is None else coefficients
    return _vector_series(q2, a[0], a[3], a[4])


def f_tensor(q2: jax.Array, coefficients: jax.Array | None = None) -> jax.Array:
    """Tensor form factor f_T(q2) at mu = 4.8 GeV, as :func:`f_zero`."""
    a = central_coefficients() if coefficients is None else coefficients
    return _vector_series(q2, a[5], a[6], a[7])


def a_zero(q2: jax.Array) -> jax.Array:
    """B -> K* form factor A_0(q2), arXiv:1503.05534: sum a_n (z(q2) - z(0))^n/(1 - q2/m_pole^2).

    ``q2`` in GeV^2, 0 to (m_B - m_K*)^2, any shape. Central values of ``bsz_a0.toml``, which are
    10 % above another published set: no better than that.
    """
    table = _table("bsz_a0")
    t_plus = (table["m_b_meson"] + table["m_kstar"]) ** 2
    t_minus = (table["m_b_meson"] - table["m_kstar"]) ** 2
    # sqrt(t_+ - t_0) with t_0 = t_+ (1 - sqrt(1 - t_-/t_+))
    root_0 = np.sqrt(t_plus * np.sqrt(1.0 - t_minus / t_plus))

    def z(root):
        return (root - root_0) / (root + root_0)

    dz = z(jnp.sqrt(t_plus - q2)) - z(np.sqrt(t_plus))
    a0, a1, a2 = table["coefficients"]
    return (a0 + dz * (a1 + dz * a2)) / (1.0 - q2 / table["m_pole"] ** 2)


def kaon_pion_f_zero(q2: jax.Array) -> jax.Array:
    """K -> pi scalar form factor f_+(0)/(1 - q2/m_pole^2), q2 in GeV^2, ``kaon_pion.toml``."""
    table = _table("kaon_pion")
    return table["f_plus_0"] / (1.0 - q2 / table["m_pole"] ** 2)

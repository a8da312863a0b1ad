"""Neutrino trident production nu_mu N -> nu_mu mu+ mu- N relative to the SM."""

from __future__ import annotations

import functools
import math
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

from lmltdm_jax.model import Point

_REFINEMENT = 4


@functools.cache
def _kernel(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """K2 nodes [GeV^2], trapezoid weights dK2 and the kernels h_V, h_A [GeV^-4] on them."""
    path = resources.files("lmltdm_jax.data") / "trident" / f"{name}.csv"
    with path.open(encoding="utf-8") as stream:
        table = np.loadtxt(stream, delimiter=",")
    k2, h_v, h_a = table[table[:, 1] > 0.0].T
    log_k2 = np.log(k2)
    fine = np.linspace(log_k2[0], log_k2[-1], _REFINEMENT * (len(k2) - 1) + 1)
    spacing = np.full_like(fine, fine[1] - fine[0])
    spacing[[0, -1]] *= 0.5
    nodes = np.exp(fine)
    values = (np.exp(CubicSpline(log_k2, np.log(h))(fine)) for h in (h_v, h_a))
    return nodes, spacing * nodes, *values


def _ratio(point: Point, kernel: str) -> jax.Array:
    """sigma(SM + Z')/sigma(SM) with the Z' exchanged at momentum transfer -K^2.

    L_SM = -(G_F/sqrt2)[nu g(1-g5) nu][mu g(g_V - g_A g5) mu], g_V = 1/2 + 2 sin^2, g_A = 1/2;
    the Z' adds v^2 g_x^2/(m_zp^2 + K^2), v^2 = 1/(sqrt2 G_F), to g_V (arXiv:1406.2332), so
    R = 1 + [2 g_V v^2 g^2 d_1 + v^4 g^4 d_2]/(g_V^2 H_V + g_A^2 H_A),
    d_n = int dK^2 h_V(K^2)/(m_zp^2 + K^2)^n, H = int dK^2 h. The V-A interference vanishes after
    the dimuon phase space. Heavy limit: [(g_V + v^2 g^2/m^2)^2 + g_A^2]/[g_V^2 + g_A^2] for
    H_V = H_A. Equivalent photons, one beam energy. Below the first node h is proportional to K^2
    (h_V) and its contribution (K^2 < 1e-7 GeV^2) is below 1e-5.
    """
    k2, weights, h_v, h_a = (jnp.asarray(a) for a in _kernel(kernel))
    sm = point.sm
    v_squared = 1.0 / (math.sqrt(2.0) * sm.g_f)
    g_v, g_a = 0.5 + 2.0 * sm.sin2_theta_w, 0.5
    exchange = v_squared * point.params.g_x**2 / (point.params.m_zp**2 + k2)
    standard_model = jnp.sum(weights * (g_v**2 * h_v + g_a**2 * h_a))
    new = jnp.sum(weights * h_v * exchange * (2.0 * g_v + exchange))
    return 1.0 + new / standard_model


def trident_ratio_ccfr(point: Point) -> jax.Array:
    """CCFR, iron, 160 GeV: limits on g_x 5 to 16 % weaker than published ones for a light Z'."""
    return _ratio(point, "ccfr_fe_160")


def trident_ratio_ccfr_100gev(point: Point) -> jax.Array:
    """CCFR, iron, 100 GeV: within 4.5 % in g_x of the published curve; the range of the error."""
    return _ratio(point, "ccfr_fe_100")


def trident_ratio_charm2(point: Point) -> jax.Array:
    """CHARM-II, glass (Z = 10, A = 20), 24 GeV; no published curve to compare with."""
    return _ratio(point, "charm2_glass_24")

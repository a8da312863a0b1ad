"""Rate of nu e scattering of 7Be solar neutrinos in Borexino relative to the Standard Model."""

from __future__ import annotations

import functools
import math
import tomllib
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.kinetic_mixing import kinetic_mixing
from lmltdm_jax.model import Point
from lmltdm_jax.numerics.quadrature import gauss_legendre

_CHARGES = (0.0, 1.0, -1.0)
"""of nu_e, nu_mu, nu_tau under L_mu - L_tau"""
_NODES = 16


@functools.cache
def _source() -> tuple[float, np.ndarray]:
    """Energy [GeV] and shares of nu_e, nu_mu, nu_tau of the 7Be line at the Earth."""
    path = resources.files("lmltdm_jax.data") / "borexino" / "be7.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return table["energy"]["value"], np.array(table["flavours"]["value"])


def borexino_be7_ratio(point: Point) -> jax.Array:
    """int dT dsigma/dT of SM + Z' over that of the SM, recoil energies T from 0 to 2E^2/(m_e + 2E).

    dsigma/dT = (2 G_F^2 m_e/pi)[g_L^2 + g_R^2 (1 - T/E)^2 - g_L g_R m_e T/E^2], g_R = sin^2,
    g_L = sin^2 +- 1/2 (nu_e; others); the Z' adds Q g_x g_e/(2 sqrt2 G_F (m_zp^2 + 2 m_e T)) to
    both (arXiv:1803.05466). g_e = e eps(0) < 0: screening by the muon loop makes it
    opposite to the muon's charge, so nu_mu interferes destructively and nu_tau constructively. The
    running of eps up to q^2 = -2 m_e T is 2e-5. No threshold and no detector response: the rate is
    published from a fit over a window of T with the shape of the SM; a light Z' has another shape.

    Nodes are uniform in ln(m_zp^2 + 2 m_e T), exact for a light Z' and linear in T for a heavy one.
    """
    energy, shares = _source()
    sm, p = point.sm, point.params
    t_max = 2.0 * energy**2 / (sm.m_e + 2.0 * energy)
    mass_squared = jnp.asarray(p.m_zp) ** 2
    nodes, weights = gauss_legendre(_NODES)
    span = jnp.log1p(2.0 * sm.m_e * t_max / mass_squared)
    growth = jnp.exp(nodes * span)
    t = mass_squared * jnp.expm1(nodes * span) / (2.0 * sm.m_e)
    measure = weights * span * growth * mass_squared / (2.0 * sm.m_e)

    g_e = sm.electric_charge * jnp.real(kinetic_mixing(jnp.zeros(()), p.g_x, sm))
    unit = g_e * p.g_x / (2.0 * math.sqrt(2.0) * sm.g_f * mass_squared * growth)
    backward, mixed = (1.0 - t / energy) ** 2, sm.m_e * t / energy**2
    g_r = sm.sin2_theta_w
    new, standard = jnp.zeros(()), 0.0
    for share, charge, g_l in zip(shares, _CHARGES, (g_r + 0.5, g_r - 0.5, g_r - 0.5), strict=True):
        # Linear and square in the Z' apart: what is small is not a difference.
        linear = 2.0 * g_l + 2.0 * g_r * backward - (g_l + g_r) * mixed
        extra = charge * unit
        new = new + share * jnp.sum(measure * extra * (linear + extra * (1.0 + backward - mixed)))
        top = t_max / energy
        standard = standard + share * (
            g_l**2 * t_max
            + g_r**2 * energy * (1.0 - (1.0 - top) ** 3) / 3.0
            - 0.5 * g_l * g_r * sm.m_e * top**2
        )
    return 1.0 + new / standard

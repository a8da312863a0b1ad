"""Parameters -> couplings after symmetry breaking: one :class:`Point` that all physics reads.

All models come here in the parameters of the dark-Higgs model, in which the others embed; what
differs beyond that is the class of the dark matter.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.dark_matter import DarkMatter
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.kinetic_mixing import kinetic_mixing
from lmltdm_jax.parameters import Parameters, ParameterSet


class Point(eqx.Module):
    """Parameters, SM inputs and every derived coupling (GeV units, all scalars).

    Potential: lambda_h (|H|^2 - v_h^2/2)^2 + lambda_phi (|Phi|^2 - v_phi^2/2)^2
    + lambda_phih (|H|^2 - v_h^2/2)(|Phi|^2 - v_phi^2/2)
    + lambda_phix |X|^2 (|Phi|^2 - v_phi^2/2).
    Mixing: h = c H2 - s H1, phi = c H1 + s H2 (arXiv:2401.10112; the talk, mixing slide).
    """

    params: Parameters
    """of the dark-Higgs model; ``m_x`` and ``q_x`` are those of the dark matter in any model"""
    sm: StandardModel
    dark_matter: type[DarkMatter] = eqx.field(static=True)
    v_phi: jax.Array
    """vev of Phi, m_zp / (g_x |q_phi|) [GeV]"""
    sin_theta: jax.Array
    cos_theta: jax.Array
    lambda_h: jax.Array
    lambda_phi: jax.Array
    lambda_phih: jax.Array
    c111: jax.Array
    """H1^3 coupling, third derivative of L [GeV]"""
    c112: jax.Array
    """H1^2 H2 coupling, third derivative of L [GeV]"""
    c122: jax.Array
    c222: jax.Array
    g_h1_xx: jax.Array
    """H1 X X* entry of L, -lambda_phix v_phi cos(theta) [GeV]"""
    g_h2_xx: jax.Array
    """H2 X X* entry of L, -lambda_phix v_phi sin(theta) [GeV]"""
    kinetic_mixing: jax.Array
    """eps(q^2 = m_zp^2), complex: Z' couples to electric charge with strength e eps"""


def build_point(params: ParameterSet, sm: StandardModel) -> Point:
    """All couplings of one point.

    Quartics from the masses, which diagonalises the mass matrix exactly:
    lambda_h = (s^2 m1^2 + c^2 m2^2)/(2 v_h^2), lambda_phi = (c^2 m1^2 + s^2 m2^2)/(2 v_phi^2),
    lambda_phih = s c (m2^2 - m1^2)/(v_h v_phi); trilinears by expanding the potential of
    :class:`Point` (tests differentiate it and compare).
    """
    p = params.as_dark_higgs()
    s = jnp.asarray(p.sin_theta)
    # (1-s)(1+s) keeps cos(theta) accurate near |s| = 1; Parameters bound |s| < 1.
    c = jnp.sqrt((1.0 - s) * (1.0 + s))
    v_phi = p.m_zp / (p.g_x * jnp.abs(p.q_phi))
    v_h, m2_sq = sm.v_h, sm.m_h2**2
    m1_sq = jnp.asarray(p.m_h1) ** 2
    return Point(
        params=p,
        sm=sm,
        dark_matter=params.dark_matter,
        v_phi=v_phi,
        sin_theta=s,
        cos_theta=c,
        lambda_h=(s**2 * m1_sq + c**2 * m2_sq) / (2.0 * v_h**2),
        lambda_phi=(c**2 * m1_sq + s**2 * m2_sq) / (2.0 * v_phi**2),
        lambda_phih=s * c * (m2_sq - m1_sq) / (v_h * v_phi),
        c111=-3.0 * m1_sq * (c**3 / v_phi - s**3 / v_h),
        c112=-c * s * (2.0 * m1_sq + m2_sq) * (c / v_phi + s / v_h),
        c122=-c * s * (m1_sq + 2.0 * m2_sq) * (s / v_phi - c / v_h),
        c222=-3.0 * m2_sq * (c**3 / v_h + s**3 / v_phi),
        g_h1_xx=-p.lambda_phix * v_phi * c,
        g_h2_xx=-p.lambda_phix * v_phi * s,
        kinetic_mixing=kinetic_mixing(jnp.asarray(p.m_zp) ** 2, p.g_x, sm),
    )

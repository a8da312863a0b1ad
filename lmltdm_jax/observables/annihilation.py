"""Tree-level cross sections of X X* annihilation, in forms without numerical cancellation.

X is a complex scalar here; :mod:`.annihilation_zp_only` has the dark matter that only the Z' sees.

Every formula is derived here from the Lagrangian in :mod:`lmltdm_jax.model` (D = d + i g Q Z').
Channels are rows of an array, in families that share formulas:

* ``vector``: nu nubar (mu and tau flavours together), e, mu, tau pairs through the Z';
* ``scalar``: e, mu, tau pairs and hadrons (or free s, c, b pairs) through H1 and H2;
* ``zpzp``: Z'Z';  ``hh``: H1H1, H1H2, H2H2;  ``zph``: Z'H1, Z'H2.

Left out: quark pairs and W, Z, gamma through kinetic mixing (a fraction of order
(e eps/g_x)^2 = 2e-5 of the neutrino channel), top pairs, WW, ZZ and loop decays of H1 and H2
(open above m_x = 80 GeV, where sin^2(theta) suppresses them).
"""

from __future__ import annotations

import math
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.hadronic_widths import M_PION, hadronic_width_per_mixing
from lmltdm_jax.model import Point
from lmltdm_jax.numerics.safe import safe_sqrt
from lmltdm_jax.observables.annihilation_base import (
    HIGGS,
    ZP,
    Angular,
    Channel,
    Energy,
    Family,
    Terms,
    exchange_channel,
    s_channel,
    sigma_by_family,
)
from lmltdm_jax.widths import Widths

Hadrons = Literal["dispersive", "free_quarks"]
"""H* -> hadrons: the width of :mod:`lmltdm_jax.hadronic_widths`, or tree-level s, c, b pairs."""


class CrossSections(eqx.Module):
    """sigma(s) of one X X* pair [GeV^-2]; every field has the shape of s after its row axis."""

    nunu: jax.Array
    """nu_mu and nu_tau together"""
    vector_leptons: jax.Array
    """(3, ...): e, mu, tau through the Z'"""
    scalar_fermions: jax.Array
    """(4, ...): e, mu, tau, hadrons through H1 and H2; (6, ...) with free s, c, b"""
    zpzp: jax.Array
    higgs_pairs: jax.Array
    """(3, ...): H1H1, H1H2, H2H2"""
    zp_higgs: jax.Array
    """(2, ...): Z'H1, Z'H2"""

    @property
    def total(self) -> jax.Array:
        rows = (self.vector_leptons, self.scalar_fermions, self.higgs_pairs, self.zp_higgs)
        return self.nunu + self.zpzp + sum(jnp.sum(r, axis=0) for r in rows)


def vector_family(point: Point, widths: Widths) -> Family:
    """nu nubar, e e, mu mu, tau tau through the Z' (p-wave)."""
    sm, p = point.sm, point.params
    masses = jnp.stack([jnp.asarray(m, float) for m in (0.0, sm.m_e, sm.m_mu, sm.m_tau)])
    pole = jnp.stack([jnp.asarray(p.m_zp, float)])
    return Family(masses, masses, jnp.ones((4, 1)), pole, widths.zp.total[None])


def final_charges_squared(point: Point) -> jax.Array:
    """q_f^2 of :func:`vector_family`, (rows, 1): effective charges in units of g_x.

    Two left-handed neutrinos count 1 together; electrons have q_f = e eps(m_zp^2)/g_x, taken on
    shell at all s (an error below 2e-5 of the neutrino channel).
    """
    eps = point.kinetic_mixing
    e2 = 4.0 * math.pi * point.sm.alpha
    q_e2 = e2 * (jnp.real(eps) ** 2 + jnp.imag(eps) ** 2) / point.params.g_x**2
    one = jnp.ones(())
    return jnp.stack([one, q_e2, one, one])[:, None]


def vector_terms(point: Point, energy: Energy, masses: jax.Array) -> Terms:
    """sigma(f f) = g^4 q_x^2 q_f^2 s beta_x beta_f (1 + 2 m_f^2/s) |D_Z'|^2/(12 pi)."""
    p = point.params
    s, above_xx, above = energy
    charge2 = final_charges_squared(point)
    m = masses[:, None]
    momentum = 0.5 * safe_sqrt(above_xx)
    phase = safe_sqrt(above / s) * (1.0 + 2.0 * m**2 / s)
    couplings = p.g_x**4 * p.q_x**2 * charge2 * 2.0 / (3.0 * math.pi)
    return Terms(0.0, 0.0, couplings * momentum**3 * s * phase)


def scalar_family(point: Point, widths: Widths, hadrons: Hadrons) -> Family:
    """Pairs through H1 and H2: A = g_1 sin(theta) D_1 - g_2 cos(theta) D_2."""
    sm = point.sm
    names = [sm.m_e, sm.m_mu, sm.m_tau]
    names += [M_PION] if hadrons == "dispersive" else [sm.m_s, sm.m_c, sm.m_b]
    masses = jnp.stack([jnp.asarray(m, float) for m in names])
    alpha = jnp.stack([point.g_h1_xx * point.sin_theta, -point.g_h2_xx * point.cos_theta])
    alpha = jnp.broadcast_to(alpha, (len(names), 2))
    return Family(masses, masses, alpha, *_higgs_poles(point, widths))


def _higgs_poles(point: Point, widths: Widths) -> tuple[jax.Array, jax.Array]:
    h2 = widths.h2
    masses = (point.params.m_h1, point.sm.m_h2)
    totals = (widths.h1.total, h2.sm + h2.h1h1 + h2.zpzp + h2.xx)
    return tuple(jnp.stack([jnp.asarray(v, float) for v in pair]) for pair in (masses, totals))


def scalar_terms(point: Point, energy: Energy, masses: jax.Array, hadrons: Hadrons) -> Terms:
    """sigma(f f) = N_c beta_f^3/(8 pi beta_x) (m_f/v_h)^2 |A|^2 (s-wave).

    ``hadrons="dispersive"``: N_c m_f^2 beta_f^3/(8 pi v_h^2) -> Gamma_had(sqrt(s))/sqrt(s), the
    width per sin^2(theta).
    """
    s, _, above = energy
    sm = point.sm
    colours = [1.0, 1.0, 1.0] + ([0.0] if hadrons == "dispersive" else [3.0] * 3)
    beta3 = safe_sqrt(above / s) ** 3
    strength = jnp.asarray(colours)[:, None] * (masses[:, None] / sm.v_h) ** 2 * beta3
    if hadrons == "dispersive":
        strength = strength.at[3].set(hadron_strength(s[3]))
    return Terms(0.0, 0.0, scalar_quadratic(energy, strength))


def hadron_strength(s: jax.Array) -> jax.Array:
    """8 pi Gamma_had(sqrt(s))/sqrt(s), in the place of N_c (m_f/v_h)^2 beta_f^3."""
    root_s = jnp.sqrt(s)
    return 8.0 * math.pi * hadronic_width_per_mixing(root_s) / root_s


def scalar_quadratic(energy: Energy, strength: jax.Array) -> jax.Array:
    """Coefficient of |A|^2 in the rate of pairs through H1 and H2."""
    return 0.5 * safe_sqrt(energy.above_xx) * energy.s * strength / (4.0 * math.pi)


def zpzp_family(point: Point, widths: Widths) -> Family:
    """Z'Z': A = 2 lambda_phix m_zp^2 (cos^2 D_1 + sin^2 D_2)."""
    p = point.params
    m = jnp.asarray(p.m_zp, float)[None]
    scale = 2.0 * p.lambda_phix * jnp.asarray(p.m_zp) ** 2
    alpha = scale * jnp.stack([point.cos_theta**2, point.sin_theta**2])[None]
    return Family(m, m, alpha, *_higgs_poles(point, widths))


def zpzp_terms(point: Point, energy: Energy, q: Angular) -> Terms:
    """Helicity amplitudes with a = g^2 q_x^2, W = P^2 (1 - x^2), A_{t,u} = A0 -+ 2 P k x:

    M_perp = -(2a + A), M_par = -(2a + A) + 4 a W (1/A_t + 1/A_u),
    M_LL = 2 a m^2 (A0 - 4 P^2 x^2)/(A_t A_u) + A A0/m^2 (growing terms cancelled analytically),
    |M_TL|^2 = |M_LT|^2 = 64 a^2 W E^2 m^2 P^2 x^2/(A_t A_u)^2; identical particles 1/2.
    For E >> m_zp: A A0/m^2 -> lambda_phix s D_1, the Goldstone limit.
    """
    p = point.params
    m = jnp.asarray(p.m_zp)
    a = (p.g_x * p.q_x) ** 2
    v = 4.0 * q.p2 / q.a0
    ratio = q.a0 / m**2
    g = 1.0 - q.w * q.f1
    g2 = 0.5 * (q.j1 + 2.0 * q.f1 - 3.0 * q.f2)
    long1 = q.j1 - v * q.f1
    long2 = 0.5 * ((1.0 - v) ** 2 * q.inverse_w + q.j1 + 2.0 * v * q.f1 - 3.0 * v**2 * q.f2)
    mixed = 0.5 * (3.0 * q.f2 - q.f1)
    gauge = 1.0 + (1.0 - 2.0 * v * g + v**2 * g2) + long2 / ratio**2
    gauge = gauge + 0.5 * energy.s * m**2 * v**2 * mixed / q.a0**2
    linear = 4.0 * a * (2.0 - v * g + long1)
    common = q.pk / (8.0 * math.pi * jnp.sqrt(energy.s))
    return Terms(common * 4.0 * a**2 * gauge, common * linear, common * (2.0 + ratio**2))


def hh_family(point: Point, widths: Widths) -> Family:
    """H1H1, H1H2, H2H2: A = -(g_1 c_1ij D_1 + g_2 c_2ij D_2)."""
    m1, m2 = jnp.asarray(point.params.m_h1, float), jnp.asarray(point.sm.m_h2, float)
    with_h1 = -point.g_h1_xx * jnp.stack([point.c111, point.c112, point.c122])
    with_h2 = -point.g_h2_xx * jnp.stack([point.c112, point.c122, point.c222])
    alpha = jnp.stack([with_h1, with_h2], axis=1)
    return Family(
        jnp.stack([m1, m1, m2]), jnp.stack([m1, m2, m2]), alpha, *_higgs_poles(point, widths)
    )


def hh_terms(point: Point, energy: Energy, q: Angular) -> Terms:
    """M = -lambda_phix n_i n_j + A + g_i g_j (1/A_t + 1/A_u), n = (cos, sin); 1/2 if identical."""
    c, s = point.cos_theta, point.sin_theta
    contact = -point.params.lambda_phix * jnp.stack([c * c, c * s, s * s])[:, None]
    g1, g2 = point.g_h1_xx, point.g_h2_xx
    exchange = 2.0 * jnp.stack([g1 * g1, g1 * g2, g2 * g2])[:, None] / q.a0
    squared = contact**2 + 2.0 * contact * exchange * q.j1
    squared = squared + 0.5 * exchange**2 * (q.inverse_w + q.j1)
    symmetry = jnp.asarray([0.5, 1.0, 0.5])[:, None]
    common = symmetry * q.pk / (4.0 * math.pi * jnp.sqrt(energy.s))
    return Terms(common * squared, common * 2.0 * (contact + exchange * q.j1), common)


def zph_family(point: Point, widths: Widths) -> Family:
    """Z'H1, Z'H2 with the Z' exchange A = D_Z' (its pole is always below threshold)."""
    m = jnp.asarray(point.params.m_zp, float)
    scalars = jnp.stack([jnp.asarray(v, float) for v in (point.params.m_h1, point.sm.m_h2)])
    return Family(jnp.stack([m, m]), scalars, jnp.ones((2, 1)), m[None], widths.zp.total[None])


def zph_terms(point: Point, energy: Energy, q: Angular) -> Terms:
    """With y = 2 P k x, G = 2 g q_x g_i, Z = g q_x z_i, z_i = 2 m_zp^2 n_i/v_phi:

    sum |M|^2 = 4 P^2 {G^2 [1/(A_t A_u) - 4 m_x^2 k^2 x^2/(A_t A_u)^2] + 2 G Z A0 Re D/(A_t A_u)
    + Z^2 |D|^2} + 4 (g q_x m_zp y)^2 |g_i/(A_t A_u) - n_i D/v_phi|^2,
    where k.M/m_zp has been simplified with (s - m_zp^2) D = 1. Proportional to P^2: no s-wave.
    """
    p = point.params
    n = jnp.stack([point.cos_theta, point.sin_theta])[:, None] / point.v_phi
    g = jnp.stack([point.g_h1_xx, point.g_h2_xx])[:, None]
    gauge2, m2 = (p.g_x * p.q_x) ** 2, jnp.asarray(p.m_zp) ** 2
    x2 = 0.5 * (q.inverse_w - q.f1) / q.a0**4
    constant = g**2 * (q.j1 / q.a0**2 + (m2 - 4.0 * p.m_x**2) * q.k2 * x2)
    linear = 2.0 * g * n * m2 * (q.j1 / q.a0 - q.k2 * q.f1 / q.a0**2)
    quadratic = n**2 * m2 * (m2 + q.k2 / 3.0)
    common = 4.0 * gauge2 * q.p2 * q.pk / (math.pi * jnp.sqrt(energy.s))
    return Terms(common * constant, common * linear, common * quadratic)


def portal_channels(
    point: Point, widths: Widths, hadrons: Hadrons = "dispersive"
) -> dict[str, Channel]:
    """All families of X with a Higgs portal, keyed by name."""

    def to_fermions(point: Point, energy: Energy, masses: jax.Array) -> Terms:
        return scalar_terms(point, energy, masses, hadrons)

    return {
        "vector": s_channel(point, vector_family(point, widths), ZP, vector_terms),
        "scalar": s_channel(point, scalar_family(point, widths, hadrons), HIGGS, to_fermions),
        "zpzp": exchange_channel(point, zpzp_family(point, widths), HIGGS, zpzp_terms),
        "hh": exchange_channel(point, hh_family(point, widths), HIGGS, hh_terms),
        "zph": exchange_channel(point, zph_family(point, widths), ZP, zph_terms),
    }


def cross_sections(
    point: Point, widths: Widths, s: jax.Array, hadrons: Hadrons = "dispersive"
) -> CrossSections:
    """sigma(s) of every channel for one X X* pair [GeV^-2]; 0 below its threshold.

    ``s`` (n,) in GeV^2, above 4 m_x^2. Identical-particle factors 1/2 are included.
    """
    out = sigma_by_family(portal_channels(point, widths, hadrons), point.params.m_x, s)
    return CrossSections(
        nunu=out["vector"][0],
        vector_leptons=out["vector"][1:],
        scalar_fermions=out["scalar"],
        zpzp=out["zpzp"][0],
        higgs_pairs=out["hh"],
        zp_higgs=out["zph"],
    )

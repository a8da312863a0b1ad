"""Tree-level cross sections of X X* annihilation, in forms without numerical cancellation.

Every formula is derived here from the Lagrangian in :mod:`lmltdm_jax.model` (D = d + i g Q Z').
A channel is an affine form in its s-channel exchange A = sum_p alpha_p/(s - m_p^2 + i m_p Gamma_p)
(fixed width): the squared amplitude, averaged over the scattering angle and summed over final
spins, is ``constant + linear Re A + quadratic |A|^2`` with coefficients that are smooth above
threshold; the thermal average uses that to integrate over narrow poles.

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
from collections.abc import Callable
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.hadronic_widths import M_PION, hadronic_width_per_mixing
from lmltdm_jax.model import Point
from lmltdm_jax.numerics.safe import safe_sqrt
from lmltdm_jax.widths import Widths

Hadrons = Literal["dispersive", "free_quarks"]
"""H* -> hadrons: the width of :mod:`lmltdm_jax.hadronic_widths`, or tree-level s, c, b pairs."""

_SERIES_RADIUS = 0.2
_SERIES_TERMS = 18


class Energy(NamedTuple):
    """Squared energy and its distances from the two thresholds [GeV^2], each without subtraction.

    Shapes broadcast as (rows, n).
    """

    s: jax.Array
    above_xx: jax.Array
    """s - 4 m_x^2 = 4 P^2"""
    above_final: jax.Array
    """s - (m_a + m_b)^2"""


class Terms(NamedTuple):
    """Rate R = constant + linear Re A + quadratic |A|^2; sigma = R / (4 P^2 sqrt(s)).

    In terms of the squared amplitude, R = k P <sum |M|^2> / (4 pi sqrt(s)), times 1/2 for
    identical particles; no 1/P appears.
    """

    constant: jax.Array
    linear: jax.Array
    quadratic: jax.Array


class Family(NamedTuple):
    """Channels that share formulas: final masses (rows,), couplings alpha (rows, poles)."""

    mass_a: jax.Array
    mass_b: jax.Array
    alpha: jax.Array
    pole_mass: jax.Array
    pole_width: jax.Array


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


class Angular(NamedTuple):
    """Averages over x = cos(theta) with A_t A_u = A0^2 (1 - rho^2 x^2), A_{t,u} = m_x^2 - {t, u}.

    j1 = <1/(1 - rho^2 x^2)>, f1 = <x^2/(1 - rho^2 x^2)>, f2 = <x^4/(1 - rho^2 x^2)>,
    inverse_w = 1/(1 - rho^2). Averages of the squared denominator follow without cancellation:
    <1/()^2> = (1/w + j1)/2, <x^2/()^2> = (1/w - f1)/2, <x^4/()^2> = (1/w - 3 f2)/2.
    """

    a0: jax.Array
    p2: jax.Array
    k2: jax.Array
    pk: jax.Array
    w: jax.Array
    inverse_w: jax.Array
    j1: jax.Array
    f1: jax.Array
    f2: jax.Array


def angular_averages(energy: Energy, m_a: jax.Array, m_b: jax.Array, m_x: jax.Array) -> Angular:
    """A0 = (s - m_a^2 - m_b^2)/2 and 1 - rho^2 = (m_a^2 m_b^2 + 4 m_x^2 k^2)/A0^2, exactly."""
    s, above_xx, above = energy
    above_xx, above = jnp.maximum(above_xx, 0.0), jnp.maximum(above, 0.0)
    p2 = 0.25 * above_xx
    k2 = above * (above + 4.0 * m_a * m_b) / (4.0 * s)
    a0 = 0.5 * above + m_a * m_b
    w = ((m_a * m_b) ** 2 + 4.0 * m_x**2 * k2) / a0**2
    rho2 = 4.0 * p2 * k2 / a0**2
    small = jnp.abs(rho2) < _SERIES_RADIUS
    r = jnp.where(small, rho2, 0.0)
    series = jnp.zeros_like(r)
    for n in reversed(range(_SERIES_TERMS)):
        series = series * r + 1.0 / (2 * n + 5)
    r = jnp.where(small, 0.5, rho2)
    rho = jnp.sqrt(r)
    # (1 + rho)/sqrt(w) with the exact w keeps the logarithm accurate for rho -> 1.
    j1 = jnp.log((1.0 + rho) / jnp.sqrt(jnp.where(small, 0.5, w))) / rho
    f2 = jnp.where(small, series, (j1 - 1.0 - r / 3.0) / r**2)
    f1 = 1.0 / 3.0 + rho2 * f2
    pk = safe_sqrt(p2 * k2)
    return Angular(a0, p2, k2, pk, w, 1.0 / w, 1.0 + rho2 * f1, f1, f2)


def vector_family(point: Point, widths: Widths) -> Family:
    """nu nubar, e e, mu mu, tau tau through the Z' (p-wave)."""
    sm, p = point.sm, point.params
    masses = jnp.stack([jnp.asarray(m, float) for m in (0.0, sm.m_e, sm.m_mu, sm.m_tau)])
    pole = jnp.stack([jnp.asarray(p.m_zp, float)])
    return Family(masses, masses, jnp.ones((4, 1)), pole, widths.zp.total[None])


def vector_terms(point: Point, energy: Energy, masses: jax.Array) -> Terms:
    """sigma(f f) = g^4 q_x^2 q_f^2 s beta_x beta_f (1 + 2 m_f^2/s) |D_Z'|^2/(12 pi).

    Two left-handed neutrinos count q_f^2 = 1 together; electrons have q_f = e eps(m_zp^2)/g_x,
    taken on shell at all s (an error below 2e-5 of the neutrino channel).
    """
    p, sm = point.params, point.sm
    s, above_xx, above = energy
    eps = point.kinetic_mixing
    q_e2 = 4.0 * math.pi * sm.alpha * (jnp.real(eps) ** 2 + jnp.imag(eps) ** 2) / p.g_x**2
    one = jnp.ones(())
    charge2 = jnp.stack([one, q_e2, one, one])[:, None]
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


class Channel(NamedTuple):
    """A family with its coefficient function ``terms(energy, angular)``.

    ``angular``: :func:`angular_averages` at these energies, where a caller has them already.
    """

    family: Family
    terms: Callable[..., Terms]


def channels(point: Point, widths: Widths, hadrons: Hadrons = "dispersive") -> dict[str, Channel]:
    """All families of one point, keyed by name."""
    vector, scalar = vector_family(point, widths), scalar_family(point, widths, hadrons)
    zpzp, hh, zph = (f(point, widths) for f in (zpzp_family, hh_family, zph_family))

    def with_averages(family: Family, terms: Callable[[Point, Energy, Angular], Terms]) -> Channel:
        masses = family.mass_a[:, None], family.mass_b[:, None]

        def of(energy: Energy, angular: Angular | None = None) -> Terms:
            if angular is None:
                angular = angular_averages(energy, *masses, point.params.m_x)
            return terms(point, energy, angular)

        return Channel(family, of)

    return {
        "vector": Channel(vector, lambda e, _=None: vector_terms(point, e, vector.mass_a)),
        "scalar": Channel(scalar, lambda e, _=None: scalar_terms(point, e, scalar.mass_a, hadrons)),
        "zpzp": with_averages(zpzp, zpzp_terms),
        "hh": with_averages(hh, hh_terms),
        "zph": with_averages(zph, zph_terms),
    }


def rates(terms: Terms, alpha: jax.Array, offset: jax.Array, width: jax.Array) -> jax.Array:
    """R (rows, n) of a family with couplings ``alpha`` (rows, poles).

    ``offset`` = s - m_p^2 and ``width`` = m_p Gamma_p, broadcast to (rows, poles, n) [GeV^2]; the
    caller supplies them without cancellation.
    """
    norm = offset**2 + width**2
    norm = jnp.where(norm > 0.0, norm, 1.0)
    real = jnp.sum(alpha[:, :, None] * offset / norm, axis=1)
    imaginary = jnp.sum(alpha[:, :, None] * width / norm, axis=1)
    squared = real**2 + imaginary**2
    return terms.constant + terms.linear * real + terms.quadratic * squared


def cross_sections(
    point: Point, widths: Widths, s: jax.Array, hadrons: Hadrons = "dispersive"
) -> CrossSections:
    """sigma(s) of every channel for one X X* pair [GeV^-2]; 0 below its threshold.

    ``s`` (n,) in GeV^2, above 4 m_x^2. Identical-particle factors 1/2 are included.
    """
    s = jnp.asarray(s, float)[None]
    above_xx = s - 4.0 * point.params.m_x**2
    flux = jnp.sqrt(s) * above_xx
    out = {}
    for name, channel in channels(point, widths, hadrons).items():
        f = channel.family
        threshold = (f.mass_a + f.mass_b)[:, None] ** 2
        energy = Energy(s, above_xx, jnp.maximum(s - threshold, 0.0))
        offset = (s - f.pole_mass[:, None] ** 2)[None]
        width = (f.pole_mass * f.pole_width)[None, :, None]
        sigma = rates(channel.terms(energy), f.alpha, offset, width) / flux
        out[name] = jnp.where(s > threshold, sigma, 0.0)
    return CrossSections(
        nunu=out["vector"][0],
        vector_leptons=out["vector"][1:],
        scalar_fermions=out["scalar"],
        zpzp=out["zpzp"][0],
        higgs_pairs=out["hh"],
        zp_higgs=out["zph"],
    )

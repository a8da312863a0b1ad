"""Decay widths of Z', H1 (also at virtuality q^2) and H2. GeV throughout."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.dark_matter import vector_to_dirac
from lmltdm_jax.hadronic_widths import hadronic_width_per_mixing
from lmltdm_jax.model import Point
from lmltdm_jax.numerics.kinematics import beta


class ZpWidths(eqx.Module):
    """Partial widths of the Z' [GeV]."""

    nunu: jax.Array
    ee: jax.Array
    mumu: jax.Array
    tautau: jax.Array
    xx: jax.Array
    """dark matter: X X*, or chi chibar"""

    @property
    def total(self) -> jax.Array:
        return self.nunu + self.ee + self.mumu + self.tautau + self.xx

    @property
    def br_invisible(self) -> jax.Array:
        """nu nubar and dark matter."""
        return (self.nunu + self.xx) / self.total


class ScalarWidths(eqx.Module):
    """Partial widths of H1 at virtuality q^2 [GeV]."""

    xx: jax.Array
    zpzp: jax.Array
    ee: jax.Array
    mumu: jax.Array
    tautau: jax.Array
    hadrons: jax.Array

    @property
    def visible(self) -> jax.Array:
        """Charged leptons and hadrons."""
        return self.ee + self.mumu + self.tautau + self.hadrons

    @property
    def total(self) -> jax.Array:
        return self.xx + self.zpzp + self.visible


class H2Widths(eqx.Module):
    """Partial widths of the SM-like Higgs [GeV]; ``sm`` is its SM total, ``zz_4nu`` part of it."""

    sm: jax.Array
    zz_4nu: jax.Array
    h1h1: jax.Array
    zpzp: jax.Array
    xx: jax.Array


class Widths(eqx.Module):
    """All on-shell widths of a point."""

    zp: ZpWidths
    h1: ScalarWidths
    h2: H2Widths


def zp_widths(point: Point) -> ZpWidths:
    """Z' widths, arXiv:2401.10112: nu_mu + nu_tau g^2 m/(12 pi), charged leptons, dark
    matter by its :meth:`DarkMatter.zp_width`, and e+e- through the kinetic mixing e |eps(m_zp^2)|.

    Not included: hadrons through the mixing (a branching fraction of order 1e-5 R, m_zp > 2 m_pi)
    and the mixing's interference in mu mu and tau tau (relative e eps/g_x = 4e-3 at most).
    """
    p, sm = point.params, point.sm
    m, g = jnp.asarray(p.m_zp), p.g_x
    eps = point.kinetic_mixing
    mixing_squared = jnp.real(eps) ** 2 + jnp.imag(eps) ** 2
    e_coupling_squared = 4.0 * math.pi * sm.alpha * mixing_squared
    return ZpWidths(
        nunu=g**2 * m / (12.0 * math.pi),
        ee=e_coupling_squared * vector_to_dirac(1.0, m, sm.m_e),
        mumu=vector_to_dirac(g, m, sm.m_mu),
        tautau=vector_to_dirac(g, m, sm.m_tau),
        xx=point.dark_matter.zp_width(g * p.q_x, m, p.m_x),
    )


def scalar_to_xx(coupling: jax.Array, m: jax.Array, m_x: jax.Array) -> jax.Array:
    """S -> X X* (complex X): coupling^2 beta/(16 pi m), coupling in GeV."""
    return coupling**2 * beta((m_x / m) ** 2, 1.0) / (16.0 * math.pi * m)


def scalar_to_zpzp(projection: jax.Array, m: jax.Array, point: Point) -> jax.Array:
    """S -> Z'Z': projection^2 m^3/(32 pi v_phi^2) sqrt(1-4r)(1-4r+12r^2), r = m_zp^2/m^2.

    ``projection`` is the phi content of S (cos theta for H1, sin theta for H2).
    """
    r = (point.params.m_zp / m) ** 2
    kinematic = beta(r, 1.0) * (1.0 - 4.0 * r + 12.0 * r**2)
    return projection**2 * m**3 * kinematic / (32.0 * math.pi * point.v_phi**2)


def scalar_to_leptons(m: jax.Array, m_lepton: jax.Array, point: Point) -> jax.Array:
    """H1 -> l+ l-: sin^2(theta) m_l^2 m beta^3/(8 pi v_h^2)."""
    b = beta((m_lepton / m) ** 2, 1.0)
    return point.sin_theta**2 * m_lepton**2 * m * b**3 / (8.0 * math.pi * point.sm.v_h**2)


def h1_widths_at(point: Point, q2: jax.Array) -> ScalarWidths:
    """H1 partial widths with the mass replaced by Q = sqrt(q2) (q2 in GeV^2, > 0).

    At q2 = m_h1^2 these are the on-shell widths; elsewhere Q Gamma(q2) is the absorptive part of
    the H1 self-energy. ``hadrons``: see :mod:`lmltdm_jax.hadronic_widths`.
    """
    q = jnp.sqrt(q2)
    p, sm = point.params, point.sm
    masses = jnp.stack([jnp.asarray(m, float) for m in (sm.m_e, sm.m_mu, sm.m_tau)])
    ee, mumu, tautau = scalar_to_leptons(q, jnp.expand_dims(masses, range(1, 1 + q.ndim)), point)
    return ScalarWidths(
        xx=scalar_to_xx(point.g_h1_xx, q, p.m_x),
        zpzp=scalar_to_zpzp(point.cos_theta, q, point),
        ee=ee,
        mumu=mumu,
        tautau=tautau,
        hadrons=point.sin_theta**2 * hadronic_width_per_mixing(q),
    )


def h2_widths(point: Point) -> H2Widths:
    """H2 widths: c112^2 beta/(32 pi m2) to H1H1, the dark channels with sin(theta), SM ZZ*->4nu."""
    p, sm = point.params, point.sm
    m2 = jnp.asarray(sm.m_h2, float)
    return H2Widths(
        sm=jnp.asarray(sm.gamma_h2_sm, float),
        zz_4nu=jnp.asarray(sm.gamma_h2_sm * sm.br_h_zz_4nu, float),
        h1h1=point.c112**2 * beta((p.m_h1 / m2) ** 2, 1.0) / (32.0 * math.pi * m2),
        zpzp=scalar_to_zpzp(point.sin_theta, m2, point),
        xx=scalar_to_xx(point.g_h2_xx, m2, p.m_x),
    )


def build_widths(point: Point) -> Widths:
    """All on-shell widths of a point [GeV]."""
    m1_squared = jnp.asarray(point.params.m_h1) ** 2
    return Widths(zp_widths(point), h1_widths_at(point, m1_squared), h2_widths(point))

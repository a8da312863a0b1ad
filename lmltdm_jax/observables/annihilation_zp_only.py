"""Annihilation of dark matter that couples to the Z' only: complex scalar or Dirac fermion.

The scalar has the formulas of :mod:`.annihilation` without H1 and H2. Those of the fermion follow
from L = chibar (i d-slash - m) chi + g q_chi Z'_mu chibar gamma^mu chi and are checked against a
numerical sum over Dirac spinors in the tests. Both go to Z'Z' and, through the Z', to nu nubar and
charged leptons; what :mod:`.annihilation` leaves out is left out here, too.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from lmltdm_jax.model import Point
from lmltdm_jax.numerics.safe import safe_sqrt
from lmltdm_jax.observables.annihilation import (
    Hadrons,
    final_charges_squared,
    vector_family,
    vector_terms,
    zpzp_terms,
)
from lmltdm_jax.observables.annihilation_base import (
    ZP,
    Angular,
    Channel,
    Energy,
    Family,
    Terms,
    exchange_channel,
    s_channel,
)
from lmltdm_jax.widths import Widths


def zp_pair_family(point: Point, widths: Widths) -> Family:
    """Z'Z' by t- and u-channel exchange and contact terms: no s-channel (A = 0)."""
    m = jnp.asarray(point.params.m_zp, float)[None]
    return Family(m, m, jnp.zeros((1, 1)), m, widths.zp.total[None])


def fermion_vector_terms(point: Point, energy: Energy, masses: jax.Array) -> Terms:
    """sigma(f f) = g^4 q_chi^2 q_f^2 (s + 2 m^2)(1 + 2 m_f^2/s)(k/P) |D_Z'|^2/(12 pi).

    s-wave, unlike the scalar's; q_f of :func:`.annihilation.final_charges_squared`.
    """
    p = point.params
    s, above_xx, above = energy
    m_f = masses[:, None]
    phase = safe_sqrt(above / s) * (1.0 + 2.0 * m_f**2 / s)
    coupling = p.g_x**4 * p.q_x**2 * final_charges_squared(point)
    # R = 4 P^2 sqrt(s) sigma, with P = sqrt(above_xx)/2 and k = sqrt(above)/2.
    rate = safe_sqrt(above_xx) * (s + 2.0 * p.m_x**2) * s * phase / (12.0 * math.pi)
    return Terms(0.0, 0.0, coupling * rate)


def fermion_zpzp_terms(point: Point, energy: Energy, q: Angular) -> Terms:
    """sigma(Z'Z') = g^4 q_chi^4 k/(8 pi s P) [N + rho^2 B], identical particles 1/2 included:

    N = [4 m^2 k^2 + 4 P^2 (3 m^2 + M^2 + P^2)]/A0^2,
    B = 2 f1 [A0^2 + 2 A0 (m^2 + M^2) + 2 (M^4 - m^4)]/A0^2 - (M^2 + 2 m^2)^2/(A0^2 w),
    with A0 = s/2 - M^2, rho = 2 P k/A0, w = 1 - rho^2 and f1 = [atanh(rho)/rho - 1]/rho^2 of
    :class:`Angular`. At rest sigma v = g^4 q_chi^4 (1 - r)^{3/2}/[16 pi m^2 (1 - r/2)^2],
    r = M^2/m^2: s-wave.
    """
    p = point.params
    m2, m_zp2 = jnp.asarray(p.m_x) ** 2, jnp.asarray(p.m_zp) ** 2
    a2 = q.a0**2
    direct = (4.0 * m2 * q.k2 + 4.0 * q.p2 * (3.0 * m2 + m_zp2 + q.p2)) / a2
    bracket = a2 + 2.0 * q.a0 * (m2 + m_zp2) + 2.0 * (m_zp2 - m2) * (m_zp2 + m2)
    mixed = (2.0 * q.f1 * bracket - (m_zp2 + 2.0 * m2) ** 2 * q.inverse_w) / a2
    rho2 = 4.0 * q.p2 * q.k2 / a2
    common = (p.g_x * p.q_x) ** 4 * q.pk / (2.0 * math.pi * jnp.sqrt(energy.s))
    rate = common * (direct + rho2 * mixed)
    return Terms(rate, jnp.zeros_like(rate), jnp.zeros_like(rate))


def scalar_channels(point: Point, widths: Widths, hadrons: Hadrons) -> dict[str, Channel]:
    """Families of a complex scalar; ``hadrons`` is not read, H1 and H2 being absent."""
    return {
        "vector": s_channel(point, vector_family(point, widths), ZP, vector_terms),
        "zpzp": exchange_channel(point, zp_pair_family(point, widths), ZP, zpzp_terms),
    }


def fermion_channels(point: Point, widths: Widths, hadrons: Hadrons) -> dict[str, Channel]:
    """Families of a Dirac fermion; ``hadrons`` is not read."""
    return {
        "vector": s_channel(point, vector_family(point, widths), ZP, fermion_vector_terms),
        "zpzp": exchange_channel(point, zp_pair_family(point, widths), ZP, fermion_zpzp_terms),
    }

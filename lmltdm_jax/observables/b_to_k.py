"""B+ -> K+ and invisible through H1 (and its interference with H2): two-body, zero-width, unified.

Vertex: L = -kappa_sb h sbar P_R b + h.c., h = cos(theta) H2 - sin(theta) H1.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from lmltdm_jax.constants import HBAR_GEV_S
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import Point
from lmltdm_jax.numerics.safe import safe_sqrt
from lmltdm_jax.observables import line_shape
from lmltdm_jax.observables.form_factors import f_zero, shifted_coefficients
from lmltdm_jax.observables.line_quadrature import (
    END,
    XX,
    Break,
    Graded,
    Spectrum,
    panel_nodes,
    spectrum_of,
)
from lmltdm_jax.observables.line_shape import Transition, gamma_to_h1, unit_mixing_rate
from lmltdm_jax.widths import Widths


def bplus_to_kplus(sm: StandardModel) -> Transition:
    """kappa_sb (m_B^2 - m_K^2)/(m_b - m_s) f_0(q2), arXiv:2401.10112."""
    scalar = sm.kappa_sb * (sm.m_bplus**2 - sm.m_kplus**2) / (sm.m_b - sm.m_s)
    coefficients = shifted_coefficients(sm.bk_whitened)
    return Transition(sm.m_bplus, sm.m_kplus, lambda q2, root: scalar * f_zero(q2, coefficients))


def gamma_b_to_k_h1(point: Point) -> jax.Array:
    """Gamma(B+ -> K+ H1) [GeV], 0 for m_h1 >= m_B - m_K.

    kappa_sb^2 sin^2(theta) [(m_B^2 - m_K^2)/(m_b - m_s)]^2 f_0(m_h1^2)^2 sqrt(K)/(64 pi m_B^3),
    arXiv:2401.10112 and the talk (whose printed sin(theta) << 1 is a remark, not a factor).
    ``kappa_sb`` and m_b must be in the same scheme: only m_b/(m_b - m_s) then matters.
    """
    return gamma_to_h1(point, bplus_to_kplus(point.sm))


def gamma_b_to_k_xx_zero_width(point: Point) -> jax.Array:
    """Gamma(B+ -> K+ X X*) [GeV] without any width: :func:`spectrum_xx_zero_width` integrated."""
    return jnp.sum(spectrum_xx_zero_width(point).br) * (HBAR_GEV_S / point.sm.tau_bplus)


def spectrum_xx_zero_width(point: Point) -> Spectrum:
    """Spectrum of B+ -> K+ X X* without any width (the talk's three-body formula).

    dGamma/dq2 = lambda^2 v_phi^2 kappa^2 s^2 [..]^2 (m1^2-m2^2)^2 beta_X sqrt(K) f_0^2
    / {1024 pi^3 m_B^3 (q2-m1^2)^2 (q2-m2^2)^2}. It has meaning for m_h1 > m_B - m_K only, where the
    pole is outside phase space; for smaller m_h1 the integral diverges or misses the on-shell H1
    and 0 is returned (use :func:`gamma_b_to_k_h1`). cos(theta) = 1. The width matters for large
    lambda_phix: :func:`spectrum_bplus_kplus_np` includes it.
    """
    p, sm = point.params, point.sm
    decay = bplus_to_kplus(sm)
    end = decay.q2_max
    start = 4.0 * jnp.asarray(p.m_x, float) ** 2
    valid = (jnp.asarray(p.m_h1) ** 2 > end) & (start < end)
    point = _with_mass(point, jnp.where(valid, p.m_h1, 1.1 * jnp.sqrt(end)))
    pole = point.params.m_h1**2
    d, weight = panel_nodes(
        point,
        decay,
        Break(jnp.minimum(start, end), XX),
        Break(end, END),
        Graded(squared=True, scale=jnp.minimum(start, pole - jnp.minimum(start, end))),
        Graded(squared=True, scale=pole - end),
    )
    beta_x = safe_sqrt(d.xx / d.q2)
    coupling = (p.lambda_phix * point.v_phi) ** 2 / (16.0 * math.pi**2)
    mixing = point.sin_theta**2 * (pole - sm.m_h2**2) ** 2
    propagators = 1.0 / (d.pole * (d.q2 - sm.m_h2**2)) ** 2
    gamma = weight * coupling * mixing * propagators * beta_x * unit_mixing_rate(decay, d)
    return Spectrum(d.q2, jnp.where(valid, gamma, 0.0) * (sm.tau_bplus / HBAR_GEV_S))


def _with_mass(point: Point, m_h1: jax.Array) -> Point:
    return Point(**{**vars(point), "params": point.params.replace(m_h1=m_h1)})


def dgamma_dq2(point: Point, q2: jax.Array, zp_unseen: jax.Array | float = 1.0) -> jax.Array:
    """dGamma/dq2(B+ -> K+ invisible) [GeV^-1], see :func:`line_shape.dgamma_dq2`."""
    return line_shape.dgamma_dq2(point, bplus_to_kplus(point.sm), q2, zp_unseen)


def spectrum_bplus_kplus_np(point: Point, widths: Widths) -> Spectrum:
    """Spectrum of B+ -> K+ invisible from H1 and H2 on the nodes of :func:`br_bplus_kplus_np`."""
    return spectrum_of(point, widths, bplus_to_kplus(point.sm), point.sm.tau_bplus)


def br_bplus_kplus_np(point: Point, widths: Widths) -> jax.Array:
    """BR(B+ -> K+ invisible) from H1 and H2, integrated over q2 with finite widths; scalar.

    tau_B/hbar times the integral of :func:`dgamma_dq2` over all of phase space; X X* and Z'Z' final
    states, on shell and off. Z' pairs count unless a Z' decays to mu mu or tau tau; Z' -> e+ e- by
    kinetic mixing (BR about 2e-5) counts as invisible, an error below 4e-5 of the Z'Z' part.
    H1 that decay visibly or outside the detector are not counted here.

    Quadrature: break points at 4 m_x^2, 4 m_zp^2, m_h1^2 and q2_max; each panel in two halves of
    fixed shape, graded so that poles (Gamma/m from 1e-14 to above 1) and square roots at thresholds
    are resolved. Relative error below 1e-5, of gradients 1e-4, over the default prior (tests
    compare with finer nodes); a pole within 1e-9 of a threshold can be off by 2 % with gradients
    of the right order only.
    """
    return jnp.sum(spectrum_bplus_kplus_np(point, widths).br)

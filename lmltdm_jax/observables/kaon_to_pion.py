"""K+ -> pi+ H1 and K_L -> pi0 H1: H1 on its mass shell, and the spectrum with finite widths.

Vertex: L = -kappa_sd h sbar P_R d + h.c. as for B mesons. Only the top loop is in kappa_sd:
four-quark operators and charm, of the order of 10 % of the amplitude, are left out.
"""

from __future__ import annotations

import math

import jax
import numpy as np

from lmltdm_jax.constants import HBAR_GEV_S
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import Point
from lmltdm_jax.observables.form_factors import kaon_pion_f_zero
from lmltdm_jax.observables.line_quadrature import Spectrum, spectrum_of
from lmltdm_jax.observables.line_shape import Transition, gamma_to_h1
from lmltdm_jax.widths import Widths


def kappa_sd(sm: StandardModel, ckm: jax.Array | float) -> jax.Array | float:
    """3 sqrt2 G_F m_t^2 |V_td V_ts*| m_s/(16 pi^2 v_h); ``ckm``: the product of CKM elements.

    The top loop and V_ts are those of kappa_sb: where that floats, ``kappa_sd_factor`` follows.
    """
    loop = 3.0 * math.sqrt(2.0) * sm.g_f * sm.m_t**2 / (16.0 * math.pi**2 * sm.v_h)
    return sm.kappa_sd_factor * loop * ckm * sm.m_s


def _transition(
    sm: StandardModel, kaon: jax.Array | float, pion: jax.Array | float, ckm: jax.Array | float
) -> Transition:
    # kappa_sd is proportional to m_s: only m_s/(m_s - m_d) matters, scheme and scale drop out.
    scalar = kappa_sd(sm, ckm) * (kaon**2 - pion**2) / (sm.m_s - sm.m_d)
    return Transition(kaon, pion, lambda q2, root: scalar * kaon_pion_f_zero(q2))


def kplus_to_piplus(sm: StandardModel) -> Transition:
    """kappa_sd (m_K^2 - m_pi^2)/(m_s - m_d) f_0(q2) with |V_td V_ts*|."""
    ckm = (sm.v_ts_v_td_re**2 + sm.v_ts_v_td_im**2) ** 0.5
    return _transition(sm, sm.m_kplus, sm.m_piplus, ckm)


def kl_to_pi0(sm: StandardModel) -> Transition:
    """As :func:`kplus_to_piplus` with |Re V_td V_ts*|: the rest cancels between K0 and its bar."""
    return _transition(sm, sm.m_k0, sm.m_pi0, abs(sm.v_ts_v_td_re))


def br_kplus_piplus_h1(point: Point) -> jax.Array:
    """BR(K+ -> pi+ H1), H1 on shell; 0 for m_h1 >= m_K - m_pi."""
    rate = gamma_to_h1(point, kplus_to_piplus(point.sm))
    return rate * (point.sm.tau_kplus / HBAR_GEV_S)


def br_kl_pi0_h1(point: Point) -> jax.Array:
    """BR(K_L -> pi0 H1), H1 on shell; 0 for m_h1 >= m_K - m_pi."""
    return gamma_to_h1(point, kl_to_pi0(point.sm)) * (point.sm.tau_kl / HBAR_GEV_S)


def spectrum_kplus_piplus_np(point: Point, widths: Widths) -> Spectrum:
    """Spectrum of K+ -> pi+ invisible from H1 and H2, on shell and off."""
    return spectrum_of(point, widths, kplus_to_piplus(point.sm), point.sm.tau_kplus)


def spectrum_kl_pi0_np(point: Point, widths: Widths) -> Spectrum:
    """Spectrum of K_L -> pi0 invisible from H1 and H2, on shell and off."""
    return spectrum_of(point, widths, kl_to_pi0(point.sm), point.sm.tau_kl)


_M_KSTAR = 0.892
"""Pole of the K -> pi vector form factor [GeV]; K*(892)+, rounded"""


def nunu_spectrum(sm: StandardModel, n: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """q2 [GeV^2] and shape of K+ -> pi+ nu nubar in the Standard Model, ``n`` midpoints.

    dGamma/dq2 ~ p_pi^3 f_+(q2)^2 with f_+ ~ 1/(1 - q2/m_K*^2); normalisation arbitrary.
    """
    kaon, pion = float(sm.m_kplus), float(sm.m_piplus)
    q2 = (kaon - pion) ** 2 * (np.arange(n) + 0.5) / n
    kallen = (q2 - (kaon - pion) ** 2) * (q2 - (kaon + pion) ** 2)
    return q2, kallen**1.5 / (1.0 - q2 / _M_KSTAR**2) ** 2

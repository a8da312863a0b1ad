"""B0 -> K*0 and invisible through H1 and H2: two-body rate and the spectrum with finite widths."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import Point
from lmltdm_jax.observables.form_factors import a_zero
from lmltdm_jax.observables.line_quadrature import Spectrum, spectrum_of
from lmltdm_jax.observables.line_shape import Transition, gamma_to_h1
from lmltdm_jax.widths import Widths


def b0_to_kstar0(sm: StandardModel) -> Transition:
    """kappa_sb sqrt(K) A_0(q2)/(m_b + m_s): a longitudinal K* in a P wave (arXiv:1911.03490).

    Gamma = kappa^2 A_0^2 K^{3/2}/(64 pi m_B^3 (m_b + m_s)^2) with K the Kallen function of the
    squared masses. A_0 is known to 10 %, the K* taken as narrow.
    """
    coupling = sm.a_zero_factor * sm.kappa_sb / (sm.m_b + sm.m_s)
    return Transition(sm.m_b0, sm.m_kstar0, lambda q2, root: coupling * root * a_zero(q2))


def gamma_b0_to_kstar0_h1(point: Point) -> jax.Array:
    """Gamma(B0 -> K*0 H1) [GeV], 0 for m_h1 >= m_B - m_K*."""
    return gamma_to_h1(point, b0_to_kstar0(point.sm))


def spectrum_b0_kstar0_np(point: Point, widths: Widths) -> Spectrum:
    """Spectrum of B0 -> K*0 invisible from H1 and H2."""
    return spectrum_of(point, widths, b0_to_kstar0(point.sm), point.sm.tau_b0)


def br_b0_kstar0_np(point: Point, widths: Widths) -> jax.Array:
    """BR(B0 -> K*0 invisible) from H1 and H2; scalar, as ``br_bplus_kplus_np`` of ``b_to_k``."""
    return jnp.sum(spectrum_b0_kstar0_np(point, widths).br)

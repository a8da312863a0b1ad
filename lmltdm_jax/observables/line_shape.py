"""A light hadron and an off-shell H1 or H2: the line shape that all such decays share.

A heavy meson M decays to a lighter one m and a scalar h = cos(theta) H2 - sin(theta) H1, which goes
to X X*, Z'Z' or visible particles. What depends on the mesons is one :class:`Transition`; all else
(propagators with widths that depend on q2, thresholds) is here, the integration over q2 in
:mod:`lmltdm_jax.observables.line_quadrature`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmltdm_jax.model import Point
from lmltdm_jax.numerics.safe import safe_sqrt
from lmltdm_jax.widths import Widths, h1_widths_at


class Transition(NamedTuple):
    """M -> m h: masses [GeV], and the amplitude at unit mixing."""

    parent: jax.Array | float
    daughter: jax.Array | float
    amplitude: Callable[[jax.Array, jax.Array], jax.Array]
    """(q2, root of the Kallen function) -> a [GeV], Gamma = a^2 root/(64 pi M^3)"""

    @property
    def q2_max(self) -> jax.Array:
        """(M - m)^2 [GeV^2]"""
        return jnp.asarray((self.parent - self.daughter) ** 2, float)


class Distances(NamedTuple):
    """q2 and its distances [GeV^2] to the four special values, each free of cancellation there."""

    q2: jax.Array
    xx: jax.Array
    zpzp: jax.Array
    pole: jax.Array
    end: jax.Array


def distances(point: Point, transition: Transition, q2: jax.Array) -> Distances:
    """Distances of q2 from its special values."""
    p = point.params
    return Distances(
        q2=q2,
        xx=q2 - 4.0 * p.m_x**2,
        zpzp=q2 - 4.0 * p.m_zp**2,
        pole=q2 - p.m_h1**2,
        end=q2 - transition.q2_max,
    )


def unit_mixing_rate(transition: Transition, d: Distances) -> jax.Array:
    """Gamma(M -> m h) [GeV] for a scalar of mass sqrt(q2) and sin(theta) = 1; 0 beyond q2_max."""
    heavy, light = transition.parent, transition.daughter
    # Kallen function as (q2 - (M - m)^2)(q2 - (M + m)^2): exact at the end point.
    root = safe_sqrt(d.end * (d.q2 - (heavy + light) ** 2))
    amplitude = transition.amplitude(jnp.minimum(d.q2, transition.q2_max), root)
    rate = amplitude**2 * root / (64.0 * math.pi * heavy**3)
    return jnp.where(d.end < 0.0, rate, 0.0)


def gamma_to_h1(point: Point, transition: Transition) -> jax.Array:
    """Gamma(M -> m H1) [GeV] of an H1 on its mass shell; 0 for m_h1 >= M - m."""
    m1_squared = jnp.asarray(point.params.m_h1, float) ** 2
    d = distances(point, transition, m1_squared)
    return point.sin_theta**2 * unit_mixing_rate(transition, d)


def dark_widths(point: Point, d: Distances) -> tuple[jax.Array, jax.Array]:
    """Q Gamma [GeV^2] of a pure phi (cos theta = 1) into X X* and Z'Z' at q2."""
    r = jnp.asarray(point.params.m_zp, float) ** 2 / d.q2
    beta_x, beta_zp = safe_sqrt(d.xx / d.q2), safe_sqrt(d.zpzp / d.q2)
    xx = (point.params.lambda_phix * point.v_phi) ** 2 * beta_x / (16.0 * math.pi)
    polarisations = 1.0 - 4.0 * r + 12.0 * r**2
    zpzp = d.q2**2 * beta_zp * polarisations / (32.0 * math.pi * point.v_phi**2)
    return xx, zpzp


def absorptive_part(point: Point, d: Distances, xx: jax.Array, zpzp: jax.Array) -> jax.Array:
    """Q Gamma_1(q2) [GeV^2]: dark channels (:func:`dark_widths`), leptons and hadrons."""
    visible = jnp.sqrt(d.q2) * h1_widths_at(point, d.q2).visible
    return point.cos_theta**2 * (xx + zpzp) + visible


def zp_unseen_squared(widths: Widths) -> jax.Array:
    """Probability that a Z' pair leaves no mu or tau."""
    zp = widths.zp
    return ((zp.nunu + zp.xx + zp.ee) / zp.total) ** 2


def dgamma(point: Point, transition: Transition, d: Distances, zp_unseen: jax.Array) -> jax.Array:
    """:func:`dgamma_dq2` at given distances; ``zp_unseen``: share of Z' pairs counted."""
    sm = point.sm
    h2 = d.q2 - sm.m_h2**2, sm.m_h2 * sm.gamma_h2_sm
    xx, zpzp = dark_widths(point, d)
    absorptive = absorptive_part(point, d, xx, zpzp)
    # |1/D1 - 1/D2|^2 = |D2 - D1|^2/|D1 D2|^2: no cancellation between the propagators.
    difference = (point.params.m_h1**2 - sm.m_h2**2) ** 2 + (h2[1] - absorptive) ** 2
    # Three factors, not one product: the squares alone may under- or overflow.
    propagators = difference / (h2[0] ** 2 + h2[1] ** 2) / (d.pole**2 + absorptive**2)
    mixing = (point.sin_theta * point.cos_theta) ** 2
    dark = xx + zpzp * zp_unseen
    return mixing * propagators * dark * unit_mixing_rate(transition, d) / math.pi


def dgamma_dq2(
    point: Point,
    transition: Transition,
    q2: jax.Array,
    zp_unseen: jax.Array | float = 1.0,
) -> jax.Array:
    """dGamma/dq2(M -> m invisible) [GeV^-1] through H1 and H2, finite widths, any shape of q2.

    (1/pi) Gamma_2(q2) s^2 c^2 |1/(q2 - m1^2 + i Q Gamma_1(q2)) - 1/(q2 - m2^2 + i m2 Gamma_2)|^2
    Q [Gamma_XX(q2) + Gamma_Z'Z'(q2)], with Gamma_2(q2) the two-body rate at unit mixing, Gamma_1
    the total H1 width at virtuality q2 (:func:`lmltdm_jax.widths.h1_widths_at`) and the widths in
    the bracket those of a pure phi. Follows from the talk's three-body formula by resumming the H1
    self-energy's absorptive part; for Gamma_1 -> 0 it integrates to Gamma(M -> m H1) BR(H1 -> inv).

    Args:
        q2: squared mass of the invisible system [GeV^2], > 0.
        zp_unseen: share of Z' pairs counted as invisible.
    """
    q2 = jnp.asarray(q2, float)
    return dgamma(point, transition, distances(point, transition, q2), jnp.asarray(zp_unseen))

"""BR(H2 -> invisible) of the 125 GeV Higgs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lmltdm_jax.constants import HBARC_GEV_M
from lmltdm_jax.model import Point
from lmltdm_jax.numerics.safe import safe_divide, safe_sqrt
from lmltdm_jax.widths import Widths

DETECTOR_RADIUS_M = 10.0
"""Named approximation: an H1 that decays visibly beyond this distance is invisible (ATLAS, CMS)."""


def br_h2_invisible_talk(widths: Widths) -> jax.Array:
    """The talk's formula: (ZZ*->4nu + H1H1 + Z'Z' + XX)/(SM + H1H1 + Z'Z' + XX), scalar.

    Every H1 pair and Z' pair counts as invisible and the SM widths carry no cos^2(theta).
    """
    h2 = widths.h2
    dark = h2.h1h1 + h2.zpzp + h2.xx
    return (h2.zz_4nu + dark) / (h2.sm + dark)


def h1_unseen_fraction(point: Point, widths: Widths) -> jax.Array:
    """Probability that an H1 from H2 -> H1 H1 at rest is not seen.

    Decays to X X* or to Z'Z' with both Z' invisible, or any other decay farther than
    ``DETECTOR_RADIUS_M``: 1 - f_vis [1 - exp(-L m_h1 Gamma/(p hbar c))], p the momentum in the H2
    rest frame (the Higgs' own boost is left out).
    """
    m1 = jnp.asarray(point.params.m_h1, float)
    h1 = widths.h1
    invisible = h1.xx + h1.zpzp * widths.zp.br_invisible**2
    seen = safe_divide(h1.total - invisible, h1.total)
    momentum = safe_sqrt(0.25 * point.sm.m_h2**2 - m1**2)
    moving = momentum > 0.0
    lifetimes = DETECTOR_RADIUS_M / HBARC_GEV_M * m1 * h1.total / jnp.where(moving, momentum, 1.0)
    return 1.0 + jnp.where(moving, seen * jnp.expm1(-lifetimes), -seen)


def br_h2_invisible(point: Point, widths: Widths) -> jax.Array:
    """BR(H2 -> invisible) with cos^2(theta) on the SM widths and visible decays taken out; scalar.

    (c^2 ZZ*->4nu + H1H1 f^2 + Z'Z' b^2 + XX)/(c^2 SM + H1H1 + Z'Z' + XX), f from
    :func:`h1_unseen_fraction`, b = BR(Z' -> nu nubar, X X*).
    """
    h2 = widths.h2
    cos2 = point.cos_theta**2
    invisible = (
        cos2 * h2.zz_4nu
        + h2.h1h1 * h1_unseen_fraction(point, widths) ** 2
        + h2.zpzp * widths.zp.br_invisible**2
        + h2.xx
    )
    return invisible / (cos2 * h2.sm + h2.h1h1 + h2.zpzp + h2.xx)

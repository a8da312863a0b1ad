"""H1 that an experiment does not see: decays to nothing visible, or behind the detector."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from lmltdm_jax.constants import HBARC_GEV_M
from lmltdm_jax.model import Point
from lmltdm_jax.numerics.safe import safe_divide
from lmltdm_jax.observables.line_shape import Transition
from lmltdm_jax.widths import Widths


def br_h1_invisible(widths: Widths) -> jax.Array:
    """BR(H1 -> X X*, or Z'Z' with both Z' invisible)."""
    invisible = widths.h1.xx + widths.h1.zpzp * widths.zp.br_invisible**2
    return safe_divide(invisible, widths.h1.total)


def h1_momentum(point: Point, transition: Transition, parent_momentum: float) -> jax.Array:
    """Momentum [GeV] of H1 from a parent of ``parent_momentum`` [GeV] in the laboratory.

    That of the mean energy E = E_parent (M^2 + m_h1^2 - m^2)/(2 M^2); at rest the exact one. Above
    the kinematic limit, where no H1 is made, the momentum at the limit.
    """
    heavy, light = transition.parent, transition.daughter
    m1 = jnp.minimum(jnp.asarray(point.params.m_h1, float), 0.999 * (heavy - light))
    boost_energy = jnp.hypot(jnp.asarray(parent_momentum, float), heavy)
    energy = boost_energy * (heavy**2 + m1**2 - light**2) / (2.0 * heavy**2)
    return jnp.sqrt((energy - m1) * (energy + m1))


def unseen_fraction(
    point: Point,
    widths: Widths,
    transition: Transition,
    parent_momentum: float,
    flight_length: float,
) -> jax.Array:
    """Share of H1 that are invisible or leave the detector before they decay; 0 to 1.

    BR_inv + (1 - BR_inv) exp(-L m_h1 Gamma/(p hbar c)) with one momentum and one length L [m] for
    all, where an experiment has distributions of both.
    """
    momentum = h1_momentum(point, transition, parent_momentum)
    decay_rate = point.params.m_h1 * widths.h1.total / (momentum * HBARC_GEV_M)
    lives = jnp.exp(-flight_length * decay_rate)
    invisible = br_h1_invisible(widths)
    return invisible + (1.0 - invisible) * lives


def line_share(width: jax.Array, window: float) -> jax.Array:
    """Share of a Breit-Wigner line of full width ``width`` within +- ``window`` [GeV]; 0 to 1.

    (2/pi) arctan(2 window/width): 1 for a narrow state. A search for a peak sees no more of it.
    """
    return jnp.arctan2(jnp.asarray(2.0 * window, float), width) * (2.0 / math.pi)

"""Integration of the line shape over q2: panels whose nodes resolve poles and thresholds."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmltdm_jax.constants import HBAR_GEV_S
from lmltdm_jax.model import Point
from lmltdm_jax.numerics.quadrature import gauss_legendre
from lmltdm_jax.numerics.safe import safe_sqrt
from lmltdm_jax.observables.line_shape import (
    Distances,
    Transition,
    absorptive_part,
    dark_widths,
    dgamma,
    distances,
    zp_unseen_squared,
)
from lmltdm_jax.observables.self_energy import theory_error_factor
from lmltdm_jax.widths import Widths

# The lower end of a panel is a threshold or a pole, the upper one mostly harmless.
_NODES_LOW, _NODES_HIGH = 48, 40
# Relative change of the H1 width over its own length below which a threshold beside it is ignored.
_NEGLIGIBLE_OPENING = 1e-3


class Graded(NamedTuple):
    """Node grading at an end of a panel.

    distance = scale sinh(t) (a pole at complex distance ``scale``), or scale sinh(t)^2 if
    ``squared`` (a square root at the end, and structure at distance ``scale`` beside it).
    """

    squared: jax.Array | bool
    scale: jax.Array


def _graded_distances(length: jax.Array, grading: Graded, n: int) -> tuple[jax.Array, jax.Array]:
    """``n`` nodes in (0, length) and weights, fine near 0."""
    u, weight = gauss_legendre(n)
    # The integral does not depend on where the nodes are: their grading carries no gradient.
    scale = jax.lax.stop_gradient(grading.scale)
    root = safe_sqrt(length / scale)
    span = jnp.where(grading.squared, jnp.arcsinh(root), jnp.arcsinh(length / scale))
    t = span * u
    sinh, cosh = jnp.sinh(t), jnp.cosh(t)
    factor = jnp.where(grading.squared, sinh, 1.0)
    jacobian = jnp.where(grading.squared, 2.0, 1.0) * factor * cosh
    return scale * factor * sinh, weight * span * scale * jacobian


class Break(NamedTuple):
    """A panel end: its q2 and which special value it is (field of :class:`Distances` less one)."""

    q2: jax.Array
    identity: jax.Array


XX, ZPZP, POLE, END = range(4)


def _gaps(point: Point, transition: Transition, end: Break) -> list[jax.Array]:
    """q2 and its distances to the special values at a panel end.

    Where the end is the special value itself the distance is a constant 0: differentiating the
    difference of two equal numbers would subtract huge cotangents at a narrow pole.
    """
    special = distances(point, transition, jnp.zeros(()))[1:]
    gaps = [end.q2 + offset for offset in special]
    same = [(end.identity == k) & (gap == 0.0) for k, gap in enumerate(gaps)]
    return [end.q2, *(jnp.where(s, 0.0, g) for s, g in zip(same, gaps, strict=True))]


def panel_nodes(
    point: Point, transition: Transition, low: Break, high: Break, at_low: Graded, at_high: Graded
) -> tuple[Distances, jax.Array]:
    """Nodes and weights between two breaks, half of them graded towards each end.

    Distances are formed as (end of panel - special value) + (distance from the end): the first
    difference is exactly zero where they coincide, so thresholds and poles keep full precision.

    Under differentiation the nodes of a half move rigidly with their end. The moving boundary is a
    node in the middle of weight 0 whose tangent is the change of length: stretching the halves
    instead would multiply the quadrature error by 1/length in a panel that is about to close.
    """
    length = high.q2 - low.q2
    frozen = jax.lax.stop_gradient(length)
    half = 0.5 * frozen
    up, weight_low = _graded_distances(half, at_low, _NODES_LOW)
    down, weight_high = _graded_distances(half, at_high, _NODES_HIGH)
    gaps = zip(_gaps(point, transition, low), _gaps(point, transition, high), strict=True)
    nodes = ((a + up, b - down, jnp.reshape(0.5 * (a + b), (1,))) for a, b in gaps)
    d = Distances(*(jnp.concatenate(parts) for parts in nodes))
    boundary = jnp.reshape(length - frozen, (1,))
    return d, jnp.concatenate([weight_low, weight_high, boundary])


def _threshold_slopes(point: Point, thresholds: jax.Array) -> tuple[jax.Array, jax.Array]:
    """a in Q Gamma = a sqrt(q2 - threshold), for X X* at thresholds[0] and Z'Z' at thresholds[1].

    The Z'Z' value leaves the polarisation factor 3/4 out: it sets scales only.
    """
    cos2 = point.cos_theta**2
    xx = cos2 * (point.params.lambda_phix * point.v_phi) ** 2 / (16.0 * math.pi)
    zpzp = cos2 * thresholds[1] ** 2 / (32.0 * math.pi * point.v_phi**2)
    return xx / jnp.sqrt(thresholds[0]), zpzp / jnp.sqrt(thresholds[1])


def _break_points(
    point: Point, transition: Transition, widths: Widths
) -> tuple[Break, jax.Array, jax.Array]:
    """Four breaks in ascending order in [lowest threshold, q2_max], which are thresholds, q2_max.

    A pole closer than its width to a threshold below it, or to q2_max above it, is not resolved
    from it: the grading of that end takes care of both. A threshold whose channel hardly changes
    the width there is ignored, because nodes that follow the pole give better gradients.
    """
    p = point.params
    end = transition.q2_max
    thresholds = 4.0 * jnp.stack([jnp.asarray(p.m_x, float), jnp.asarray(p.m_zp, float)]) ** 2
    thresholds = jnp.minimum(thresholds, end)
    pole = jnp.asarray(p.m_h1, float) ** 2
    width = p.m_h1 * widths.h1.total
    for edge, slope in zip(thresholds, _threshold_slopes(point, thresholds), strict=True):
        matters = slope * jnp.sqrt(width) > _NEGLIGIBLE_OPENING * width
        pole = jnp.where(matters & (pole > edge) & (pole - edge < width), edge, pole)
    pole = jnp.where(pole > end - width, end, pole)
    pole = jnp.clip(pole, jnp.min(thresholds), end)
    values = jnp.stack([thresholds[0], thresholds[1], pole, end])
    order = jnp.argsort(values)
    values = values[order]
    is_threshold = (values == thresholds[0]) | (values == thresholds[1])
    return Break(values, order), is_threshold, end


def _scales(point: Point, transition: Transition, breaks: jax.Array) -> tuple[jax.Array, jax.Array]:
    """|q2 - m1^2 + i Q Gamma_1| at the break points, and the smallest scale right of a threshold.

    Right of a threshold Q Gamma_1 = Q Gamma_1(threshold) + a y with y the root of the distance, so
    the inverse propagator has zeros at |y| = |D|/a and sqrt|D|.
    """
    special = distances(point, transition, jnp.zeros(()))
    at = Distances(*(breaks + offset for offset in special))
    absorptive = absorptive_part(point, at, *dark_widths(point, at))
    modulus = jnp.sqrt(at.pole**2 + absorptive**2)
    modulus = jnp.maximum(modulus, 1e-18 * breaks)
    slope_x, slope_zp = _threshold_slopes(point, jnp.stack([breaks, breaks]))
    slope = jnp.where(at.xx >= 0.0, slope_x, 0.0) + jnp.where(at.zpzp >= 0.0, slope_zp, 0.0)
    nearest_zero = modulus / (1.0 + slope**2 / modulus)
    return modulus, jnp.minimum(breaks, nearest_zero)


class Spectrum(NamedTuple):
    """A decay's q2 spectrum as a quadrature rule: int f(q2) dBR is sum(f(q2) br)."""

    q2: jax.Array
    """(nodes,) [GeV^2]"""
    br: jax.Array
    """(nodes,) branching fraction carried by each node; adds up to the total"""


def spectrum_of(
    point: Point, widths: Widths, transition: Transition, lifetime: jax.Array | float
) -> Spectrum:
    """Spectrum of M -> m invisible through H1 and H2; ``lifetime`` of M in seconds.

    X X* and Z'Z' final states, on shell and off (``dgamma_dq2`` of ``line_shape`` integrated).
    Break points at 4 m_x^2, 4 m_zp^2, m_h1^2 and q2_max; each panel in two halves of fixed shape,
    graded so that poles (Gamma/m from 1e-14 to above 1) and square roots at thresholds are
    resolved: a narrow H1 and a broad one are the same formula. Structure of f finer than some 0.5
    GeV^2 is seen by a broad spectrum on average only. Nodes of weight 0 carry the derivative of
    moving boundaries.
    """
    (q2, identity), is_threshold, end = _break_points(point, transition, widths)
    modulus, above_threshold = _scales(point, transition, q2)
    start = jnp.where(is_threshold, above_threshold, modulus)[:3]
    panels = jax.vmap(functools.partial(panel_nodes, point, transition))(
        Break(q2[:3], identity[:3]),
        Break(q2[1:], identity[1:]),
        Graded(is_threshold[:3], start),
        Graded(q2[1:] >= end, modulus[1:]),
    )
    d, weight = jax.tree.map(jnp.ravel, panels)
    rate = weight * dgamma(point, transition, d, zp_unseen_squared(widths))
    if point.sm.h1_running is not None:
        rate = rate * theory_error_factor(point, widths, d, point.sm.h1_running)
    br = jnp.where(q2[0] < end, lifetime / HBAR_GEV_S * rate, 0.0)
    return Spectrum(d.q2, br)

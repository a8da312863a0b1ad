"""B+ -> K+ and invisible through H1 (and its interference with H2): two-body, zero-width, unified.

Vertex: L = -kappa_sb h sbar P_R b + h.c., h = cos(theta) H2 - sin(theta) H1.
"""

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
from lmltdm_jax.observables.form_factors import f_zero
from lmltdm_jax.widths import Widths, h1_widths_at

# The lower end of a panel is a threshold or a pole, the upper one mostly harmless.
_NODES_LOW, _NODES_HIGH = 48, 40
# Relative change of the H1 width over its own length below which a threshold beside it is ignored.
_NEGLIGIBLE_OPENING = 1e-3


class _Distances(NamedTuple):
    """q2 and its distances [GeV^2] to the four special values, each free of cancellation there."""

    q2: jax.Array
    xx: jax.Array
    zpzp: jax.Array
    pole: jax.Array
    end: jax.Array


def _q2_max(point: Point) -> jax.Array:
    return jnp.asarray((point.sm.m_bplus - point.sm.m_kplus) ** 2, float)


def _distances(point: Point, q2: jax.Array) -> _Distances:
    p = point.params
    return _Distances(
        q2=q2,
        xx=q2 - 4.0 * p.m_x**2,
        zpzp=q2 - 4.0 * p.m_zp**2,
        pole=q2 - p.m_h1**2,
        end=q2 - _q2_max(point),
    )


def _unit_mixing_rate(point: Point, d: _Distances) -> jax.Array:
    """Gamma(B+ -> K+ h) [GeV] for a scalar of mass sqrt(q2) and sin(theta) = 1; 0 beyond q2_max."""
    sm = point.sm
    # Kallen function as (q2 - (m_B - m_K)^2)(q2 - (m_B + m_K)^2): exact at the end point.
    root = safe_sqrt(d.end * (d.q2 - (sm.m_bplus + sm.m_kplus) ** 2))
    q2 = jnp.minimum(d.q2, _q2_max(point))
    scalar_matrix_element = (sm.m_bplus**2 - sm.m_kplus**2) / (sm.m_b - sm.m_s) * f_zero(q2)
    rate = (sm.kappa_sb * scalar_matrix_element) ** 2 * root / (64.0 * math.pi * sm.m_bplus**3)
    return jnp.where(d.end < 0.0, rate, 0.0)


def gamma_b_to_k_h1(point: Point) -> jax.Array:
    """Gamma(B+ -> K+ H1) [GeV], 0 for m_h1 >= m_B - m_K.

    kappa_sb^2 sin^2(theta) [(m_B^2 - m_K^2)/(m_b - m_s)]^2 f_0(m_h1^2)^2 sqrt(K)/(64 pi m_B^3),
    arXiv:2401.10112 and the talk (whose printed sin(theta) << 1 is a remark, not a factor).
    ``kappa_sb`` and m_b must be in the same scheme: only m_b/(m_b - m_s) then matters.
    """
    m1_squared = jnp.asarray(point.params.m_h1, float) ** 2
    return point.sin_theta**2 * _unit_mixing_rate(point, _distances(point, m1_squared))


def gamma_b_to_k_xx_zero_width(point: Point) -> jax.Array:
    """Gamma(B+ -> K+ X X*) [GeV] without any width (the talk's three-body formula).

    int dq2 lambda^2 v_phi^2 kappa^2 s^2 [..]^2 (m1^2-m2^2)^2 beta_X sqrt(K) f_0^2
    / {1024 pi^3 m_B^3 (q2-m1^2)^2 (q2-m2^2)^2}. It has meaning for m_h1 > m_B - m_K only, where the
    pole is outside phase space; for smaller m_h1 the integral diverges or misses the on-shell H1
    and 0 is returned (use :func:`gamma_b_to_k_h1`). cos(theta) = 1. The width matters for large
    lambda_phix: :func:`br_bplus_kplus_np` includes it.
    """
    p, sm = point.params, point.sm
    end = _q2_max(point)
    start = 4.0 * jnp.asarray(p.m_x, float) ** 2
    valid = (jnp.asarray(p.m_h1) ** 2 > end) & (start < end)
    point = _with_mass(point, jnp.where(valid, p.m_h1, 1.1 * jnp.sqrt(end)))
    pole = point.params.m_h1**2
    d, weight = _panel_nodes(
        point,
        _Break(jnp.minimum(start, end), _XX),
        _Break(end, _END),
        _Graded(squared=True, scale=jnp.minimum(start, pole - jnp.minimum(start, end))),
        _Graded(squared=True, scale=pole - end),
    )
    beta_x = safe_sqrt(d.xx / d.q2)
    coupling = (p.lambda_phix * point.v_phi) ** 2 / (16.0 * math.pi**2)
    mixing = point.sin_theta**2 * (pole - sm.m_h2**2) ** 2
    propagators = 1.0 / (d.pole * (d.q2 - sm.m_h2**2)) ** 2
    integrand = coupling * mixing * propagators * beta_x * _unit_mixing_rate(point, d)
    return jnp.where(valid, jnp.sum(weight * integrand), 0.0)


def _with_mass(point: Point, m_h1: jax.Array) -> Point:
    return Point(**{**vars(point), "params": point.params.replace(m_h1=m_h1)})


def _dark_widths(point: Point, d: _Distances) -> tuple[jax.Array, jax.Array]:
    """Q Gamma [GeV^2] of a pure phi (cos theta = 1) into X X* and Z'Z' at q2."""
    r = jnp.asarray(point.params.m_zp, float) ** 2 / d.q2
    beta_x, beta_zp = safe_sqrt(d.xx / d.q2), safe_sqrt(d.zpzp / d.q2)
    xx = (point.params.lambda_phix * point.v_phi) ** 2 * beta_x / (16.0 * math.pi)
    polarisations = 1.0 - 4.0 * r + 12.0 * r**2
    zpzp = d.q2**2 * beta_zp * polarisations / (32.0 * math.pi * point.v_phi**2)
    return xx, zpzp


def _absorptive_part(point: Point, d: _Distances, xx: jax.Array, zpzp: jax.Array) -> jax.Array:
    """Q Gamma_1(q2) [GeV^2]: dark channels (:func:`_dark_widths`), leptons and hadrons."""
    visible = jnp.sqrt(d.q2) * h1_widths_at(point, d.q2).visible
    return point.cos_theta**2 * (xx + zpzp) + visible


def _zp_unseen_squared(widths: Widths) -> jax.Array:
    """Probability that a Z' pair leaves no mu or tau."""
    zp = widths.zp
    return ((zp.nunu + zp.xx + zp.ee) / zp.total) ** 2


def _dgamma(point: Point, d: _Distances, zp_unseen_squared: jax.Array) -> jax.Array:
    sm = point.sm
    h2 = d.q2 - sm.m_h2**2, sm.m_h2 * sm.gamma_h2_sm
    xx, zpzp = _dark_widths(point, d)
    absorptive = _absorptive_part(point, d, xx, zpzp)
    # |1/D1 - 1/D2|^2 = |D2 - D1|^2/|D1 D2|^2: no cancellation between the propagators.
    difference = (point.params.m_h1**2 - sm.m_h2**2) ** 2 + (h2[1] - absorptive) ** 2
    # Three factors, not one product: the squares alone may under- or overflow.
    propagators = difference / (h2[0] ** 2 + h2[1] ** 2) / (d.pole**2 + absorptive**2)
    mixing = (point.sin_theta * point.cos_theta) ** 2
    dark = xx + zpzp * zp_unseen_squared
    return mixing * propagators * dark * _unit_mixing_rate(point, d) / math.pi


def dgamma_dq2(point: Point, q2: jax.Array, zp_unseen_squared: jax.Array | float = 1.0):
    """dGamma/dq2(B+ -> K+ invisible) [GeV^-1] through H1 and H2, finite widths, any shape of q2.

    (1/pi) Gamma_2(q2) s^2 c^2 |1/(q2 - m1^2 + i Q Gamma_1(q2)) - 1/(q2 - m2^2 + i m2 Gamma_2)|^2
    Q [Gamma_XX(q2) + Gamma_Z'Z'(q2)], with Gamma_2(q2) the two-body rate at unit mixing, Gamma_1
    the total H1 width at virtuality q2 (:func:`lmltdm_jax.widths.h1_widths_at`) and the widths in
    the bracket those of a pure phi. Follows from the talk's three-body formula by resumming the H1
    self-energy's absorptive part; for Gamma_1 -> 0 it integrates to Gamma(B -> K H1) BR(H1 -> inv).

    Args:
        q2: squared mass of the invisible system [GeV^2], > 0.
        zp_unseen_squared: share of Z' pairs counted as invisible.
    """
    q2 = jnp.asarray(q2, float)
    return _dgamma(point, _distances(point, q2), jnp.asarray(zp_unseen_squared))


class _Graded(NamedTuple):
    """Node grading at an end of a panel.

    distance = scale sinh(t) (a pole at complex distance ``scale``), or scale sinh(t)^2 if
    ``squared`` (a square root at the end, and structure at distance ``scale`` beside it).
    """

    squared: jax.Array | bool
    scale: jax.Array


def _graded_distances(length: jax.Array, grading: _Graded, n: int) -> tuple[jax.Array, jax.Array]:
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


class _Break(NamedTuple):
    """A panel end: its q2 and which special value it is (field of :class:`_Distances` less one)."""

    q2: jax.Array
    identity: jax.Array


_XX, _ZPZP, _POLE, _END = range(4)


def _gaps(point: Point, end: _Break) -> list[jax.Array]:
    """q2 and its distances to the special values at a panel end.

    Where the end is the special value itself the distance is a constant 0: differentiating the
    difference of two equal numbers would subtract huge cotangents at a narrow pole.
    """
    special = _distances(point, jnp.zeros(()))[1:]
    gaps = [end.q2 + offset for offset in special]
    same = [(end.identity == k) & (gap == 0.0) for k, gap in enumerate(gaps)]
    return [end.q2, *(jnp.where(s, 0.0, g) for s, g in zip(same, gaps, strict=True))]


def _panel_nodes(
    point: Point, low: _Break, high: _Break, at_low: _Graded, at_high: _Graded
) -> tuple[_Distances, jax.Array]:
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
    gaps = zip(_gaps(point, low), _gaps(point, high), strict=True)
    nodes = ((a + up, b - down, jnp.reshape(0.5 * (a + b), (1,))) for a, b in gaps)
    d = _Distances(*(jnp.concatenate(parts) for parts in nodes))
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


def _break_points(point: Point, widths: Widths) -> tuple[_Break, jax.Array, jax.Array]:
    """Four breaks in ascending order in [lowest threshold, q2_max], which are thresholds, q2_max.

    A pole closer than its width to a threshold below it, or to q2_max above it, is not resolved
    from it: the grading of that end takes care of both. A threshold whose channel hardly changes
    the width there is ignored, because nodes that follow the pole give better gradients.
    """
    p = point.params
    end = _q2_max(point)
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
    return _Break(values, order), is_threshold, end


def _scales(point: Point, breaks: jax.Array) -> tuple[jax.Array, jax.Array]:
    """|q2 - m1^2 + i Q Gamma_1| at the break points, and the smallest scale right of a threshold.

    Right of a threshold Q Gamma_1 = Q Gamma_1(threshold) + a y with y the root of the distance, so
    the inverse propagator has zeros at |y| = |D|/a and sqrt|D|.
    """
    special = _distances(point, jnp.zeros(()))
    at = _Distances(*(breaks + offset for offset in special))
    absorptive = _absorptive_part(point, at, *_dark_widths(point, at))
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


def spectrum_bplus_kplus_np(point: Point, widths: Widths) -> Spectrum:
    """Spectrum of B+ -> K+ invisible from H1 and H2 on the nodes of :func:`br_bplus_kplus_np`.

    Poles and thresholds are resolved by the nodes, so that a narrow H1 and a broad one are the
    same formula. Structure of f finer than some 0.5 GeV^2 is seen by a broad spectrum on average
    only. Nodes of weight 0 carry the derivative of moving boundaries.
    """
    (q2, identity), is_threshold, end = _break_points(point, widths)
    modulus, above_threshold = _scales(point, q2)
    start = jnp.where(is_threshold, above_threshold, modulus)[:3]
    panels = jax.vmap(functools.partial(_panel_nodes, point))(
        _Break(q2[:3], identity[:3]),
        _Break(q2[1:], identity[1:]),
        _Graded(is_threshold[:3], start),
        _Graded(q2[1:] >= end, modulus[1:]),
    )
    d, weight = jax.tree.map(jnp.ravel, panels)
    rate = weight * _dgamma(point, d, _zp_unseen_squared(widths))
    br = jnp.where(q2[0] < end, point.sm.tau_bplus / HBAR_GEV_S * rate, 0.0)
    return Spectrum(d.q2, br)


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

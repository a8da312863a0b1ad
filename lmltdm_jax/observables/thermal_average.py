"""Thermally averaged annihilation cross section <sigma v>(x) of one X X* pair, x = m_x/T.

Gondolo and Gelmini (Nucl. Phys. B360 (1991) 145, eq. 3.8), with sqrt(s) = m_x u:

    <sigma v> = x/(4 m_x^3 K_2(x)^2) int du u R(s) K_1(x u),   R = 4 P^2 sqrt(s) sigma(s).

Every channel is integrated from its own threshold u_c over t = ln(u - u_c) by the trapezoidal rule,
whose nodes are the same for all points: exp[-x (u - u_c)] is then a constant matrix, and
K_1 costs one short series in 1/(x u). The rule converges like exp(-2 pi d/h) with d the distance
of the nearest singularity from the real t axis (thresholds and t-channel singularities lie at
Im t = pi; exp(-x e^t) bounds d by pi/2). The only nearer singularities are the Breit-Wigner poles
of H1, H2 and Z' above threshold, at t_p = ln(u_p - u_c), u_p^2 = (m^2 + i m Gamma)/m_x^2; their
effect on the trapezoidal sum is known in closed form (residue theorem; Trefethen and Weideman,
SIAM Review 56 (2014) 385, sect. 5):

    integral = h sum_j F(t_j) - 2 Re[2 pi i Res_F(t_p) q/(1 - q)],   q = exp[2 pi i (t_p - t_0)/h].

Any width is exact in this way. For Gamma/m below ``WIDTH_FLOOR`` times the distance from threshold
the sum and the correction would cancel in many digits, so there the width w = m Gamma is widened to
w_e = sqrt(w^2 + floor^2) and the lost area, pi (1/w - 1/w_e) times the residue, is added as a delta
function: 1/(y^2 + w^2) = 1/(y^2 + w_e^2) + pi (1/w - 1/w_e) delta(y) + O(floor).
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from lmltdm_jax.model import Point
from lmltdm_jax.observables.annihilation import Channel, Energy, Hadrons, channels, rates
from lmltdm_jax.widths import Widths

WIDTH_FLOOR = 1e-4
"""Smallest resolved m Gamma/(m^2 - s_threshold); see the module text."""

LN_SIGMA_V_FLOOR = math.log(1e-100)
"""ln <sigma v> [GeV^-2] where nothing annihilates (all couplings zero)."""

_STEP = 0.5
_T_FIRST, _N_NODES = -20.75, 49
_X_CENTRE, _X_SCALE = 20.0, 1.5
_LN_X_END = math.log(1e6)
_N_SERIES = 6


def x_of(xi: np.ndarray) -> np.ndarray:
    """x on the mapped axis xi in [0, 1]: 1 at 0, 1e6 at 1, densest (in ln x) around x = 20."""
    centre = math.log(_X_CENTRE)
    low, high = math.asinh(-centre / _X_SCALE), math.asinh((_LN_X_END - centre) / _X_SCALE)
    return np.exp(centre + _X_SCALE * np.sinh(low + (high - low) * xi))


class _Tables(NamedTuple):
    x: np.ndarray
    delta: np.ndarray
    boltzmann: np.ndarray
    """(n_x, n_nodes): h exp(-x_i delta_j)"""
    powers: np.ndarray
    """(n_x, n_series): c_k x_i^(-k - 1/2)"""
    prefactor: np.ndarray
    """(n_x,): x/(4 [exp(x) K_2(x)]^2)"""


@functools.cache
def _tables(n_x: int) -> _Tables:
    x = x_of(np.linspace(0.0, 1.0, n_x))
    delta = np.exp(_T_FIRST + _STEP * np.arange(_N_NODES))
    # sqrt(z) exp(z) K_1(z) = sum_k c_k z^-k for z >= 2: Chebyshev fit, error 4e-7.
    fit = np.polynomial.Chebyshev.interpolate(
        lambda r: special.k1e(1.0 / r) / np.sqrt(r), _N_SERIES - 1, domain=[1e-9, 0.5]
    )
    c = fit.convert(kind=np.polynomial.Polynomial).coef
    return _Tables(
        x,
        delta,
        _STEP * np.exp(-np.outer(x, delta)),
        c * x[:, None] ** (-np.arange(_N_SERIES) - 0.5),
        x / (4.0 * special.kve(2, x) ** 2),
    )


class _Integrand(NamedTuple):
    """One family: trapezoidal integrand and pole terms (all in units of m_x)."""

    u_c: jax.Array
    """(rows,)"""
    u: jax.Array
    """(rows, n_nodes)"""
    values: jax.Array
    """(rows, n_nodes): delta u R"""
    u_p: jax.Array
    """(pairs,), complex"""
    weight: jax.Array
    """(pairs,), complex: contributes Re[weight K(u_p)]"""


def _integrand(channel: Channel, m_x: jax.Array, delta: np.ndarray) -> _Integrand:
    f = channel.family
    m_x2 = m_x**2
    u_final = (f.mass_a + f.mass_b) / m_x
    u_c = jnp.maximum(u_final, 2.0)
    u = u_c[:, None] + delta
    above = m_x2 * delta * (u + u_c[:, None])
    energy = Energy(
        m_x2 * u**2,
        above + m_x2 * ((u_c - 2.0) * (u_c + 2.0))[:, None],
        above + m_x2 * ((u_c - u_final) * (u_c + u_final))[:, None],
    )
    # Distance of the poles above this channel's threshold, (rows, poles).
    root_s_c = (u_c * m_x)[:, None]
    distance = (f.pole_mass - root_s_c) * (f.pole_mass + root_s_c)
    is_above = (distance > 0.0) & channel.resonant
    distance_above = jnp.where(is_above, distance, 0.0)
    width = f.pole_mass * f.pole_width
    wide = jnp.sqrt(width**2 + (WIDTH_FLOOR * distance_above) ** 2 + 1e-200)
    offset = above[:, None, :] - distance[:, :, None]
    values = delta * u * rates(channel, energy, offset, wide[:, :, None])
    u_p, weight = _pole_terms(channel, m_x, u_c, is_above, distance, width, wide)
    return _Integrand(u_c, u, values, u_p, weight)


def _pole_terms(
    channel: Channel,
    m_x: jax.Array,
    u_c: jax.Array,
    is_above: jax.Array,
    distance: jax.Array,
    width: jax.Array,
    wide: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Energies (units of m_x) and weights of the pole corrections, flattened over (rows, poles)."""
    f = channel.family
    if not channel.resonant:
        return jnp.zeros((0,), complex), jnp.zeros((0,), complex)
    m_x2 = m_x**2
    # Poles below threshold get a harmless place and no weight.
    y = jnp.where(is_above, distance, m_x2)
    w = jnp.where(is_above, wide, m_x2)
    above = jax.lax.complex(y, w)
    s_c = (m_x2 * u_c**2)[:, None]
    s = s_c + above
    u_p = jnp.sqrt(s) / m_x
    mass = f.mass_a + f.mass_b
    energy = Energy(
        s,
        above + m_x2 * ((u_c - 2.0) * (u_c + 2.0))[:, None],
        above + jnp.maximum(s_c - mass[:, None] ** 2, 0.0),
    )
    terms = channel.terms(energy)
    linear, quadratic = _pole_numerator(f, w, s)
    numerator = terms.linear * linear + terms.quadratic * quadratic
    delta = above / (m_x2 * (u_p + u_c[:, None]))
    q = jnp.exp(2j * math.pi / _STEP * (jnp.log(delta) - _T_FIRST))
    correction = -2.0 * q / (1.0 - q)
    narrow = jnp.where(width > 0.0, width, wide)
    lost = jnp.where(is_above, 1.0 / narrow - 1.0 / wide, 0.0)
    scale = math.pi / (2.0 * m_x2)
    weight = scale * (correction / w * numerator + lost * terms.quadratic * f.alpha**2)
    weight = jnp.where(is_above, weight, 0.0)
    return u_p.ravel(), weight.ravel()


def _pole_numerator(family: object, w: jax.Array, s: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(y^2 + w^2) times Re A and |A|^2 at y = s - m_p^2 = i w, for every pole p."""
    alpha, mass2 = family.alpha, family.pole_mass**2
    linear = 1j * alpha * w
    # Re(D_p D_q*) (y^2 + w^2) -> i w/(y_q + i w_q) at the pole.
    other = jnp.flip(alpha, axis=1) if alpha.shape[1] == 2 else jnp.zeros_like(alpha)
    y_other = s - jnp.flip(mass2) if alpha.shape[1] == 2 else s
    w_other = jnp.flip(w, axis=1) if alpha.shape[1] == 2 else w
    denominator = y_other + 1j * w_other
    quadratic = alpha**2 + 2.0 * alpha * other * 1j * w / denominator
    return linear, quadratic


def ln_sigma_v(
    point: Point, widths: Widths, n_x: int = 97, hadrons: Hadrons = "dispersive"
) -> jax.Array:
    """ln of <sigma v> [GeV^-2] of one X X* pair at x_of(linspace(0, 1, n_x)); shape (n_x,).

    All channels of :mod:`annihilation`. Relative accuracy 1e-5 for x > 3 (the K_1 series is fitted
    for x u >= 2), apart from the hadron row, whose tabulated resonances are sampled, not resolved.
    """
    return jnp.log(sigma_v(point, widths, n_x, hadrons))


def sigma_v(
    point: Point, widths: Widths, n_x: int = 97, hadrons: Hadrons = "dispersive"
) -> jax.Array:
    """<sigma v> [GeV^-2], shape (n_x,); see :func:`ln_sigma_v`."""
    table = _tables(n_x)
    m_x = jnp.asarray(point.params.m_x, float)
    parts = [_integrand(c, m_x, table.delta) for c in channels(point, widths, hadrons).values()]
    u_c, u, values, u_p, weight = (jnp.concatenate(v) for v in zip(*parts, strict=True))
    x, powers = jnp.asarray(table.x), jnp.asarray(table.powers)

    orders = jnp.arange(_N_SERIES)
    moments = values[:, :, None] * u[:, :, None] ** (-orders - 0.5)
    sums = jnp.einsum("ij,cjk->cik", jnp.asarray(table.boltzmann), moments)
    smooth = jnp.einsum("cik,ik->ci", sums, powers) * jnp.exp(-x * (u_c[:, None] - 2.0))

    u_p = u_p[:, None]
    series = jnp.zeros((u_p.shape[0], x.shape[0]), complex)
    for k in reversed(range(_N_SERIES)):
        series = series / u_p + powers[:, k]
    kernel = jnp.exp(-x * (u_p - 2.0)) * series / jnp.sqrt(u_p)
    poles = jnp.real(weight[:, None] * kernel)

    total = jnp.sum(smooth, axis=0) + jnp.sum(poles, axis=0)
    average = jnp.asarray(table.prefactor) * total / m_x**3
    floor = math.exp(LN_SIGMA_V_FLOOR)
    return jnp.where(average > floor, average, floor)

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

Any width is exact in this way. Where w = m Gamma is below ``WIDTH_FLOOR`` times d = m^2 minus the
squared threshold of the channel, the sum and the correction would cancel in many digits, so there
w is widened to w_e = sqrt(w^2 + (floor d)^2) and the lost area, pi (1/w - 1/w_e) times the residue,
is added as a delta function: 1/(y^2 + w^2) = 1/(y^2 + w_e^2) + pi (1/w - 1/w_e) delta(y) plus
O(floor). That needs a rate that is smooth over w_e, so d is counted from the channel's own
threshold: a pole on it, d < w, is not widened at all, however far it is above 4 m_x^2.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from lmltdm_jax.model import Point
from lmltdm_jax.numerics.fence import fence
from lmltdm_jax.observables.annihilation import Hadrons
from lmltdm_jax.observables.annihilation_base import Energy, Terms, rates
from lmltdm_jax.observables.annihilation_rows import Rows, annihilation_rows
from lmltdm_jax.widths import Widths

WIDTH_FLOOR = 1e-5
"""Smallest resolved m Gamma/(m^2 - threshold^2); see the module text."""

LN_SIGMA_V_FLOOR = math.log(1e-100)
"""ln <sigma v> [GeV^-2] where nothing annihilates (all couplings zero)."""

_STEP = 0.5
_T_FIRST, _N_NODES = -20.75, 49
_X_CENTRE, _X_SCALE = 25.0, 0.7
_LN_X_END = math.log(1e6)
_N_SERIES = 5
_N_TAYLOR = 3
_STENCIL, _STENCIL_STEP = np.arange(-3.0, 4.0), 0.1
_BELOW = np.exp(-_STEP * np.arange(1.0, 41.0))
"""Nodes below the first one, relative to it: down to u - u_c = 2e-18."""


def x_of(xi: np.ndarray) -> np.ndarray:
    """x on the mapped axis xi in [0, 1]: 1 at 0, 1e6 at 1, densest (in ln x) around x = 25."""
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
    derivatives: np.ndarray
    """(n_x, n_taylor * powers): of K, n-th one exp[-x_i (u - 2)] sum_k d_ink u^(-k - 1/2)"""
    prefactor: np.ndarray
    """(n_x,): x/(4 [exp(x) K_2(x)]^2)"""


@functools.cache
def _tables(n_x: int) -> _Tables:
    x = x_of(np.linspace(0.0, 1.0, n_x))
    delta = np.exp(_T_FIRST + _STEP * np.arange(_N_NODES))
    # sqrt(z) exp(z) K_1(z) = sum_k c_k z^-k: Chebyshev fit, error 2e-7 for z > 4, 3e-4 at 2.
    fit = np.polynomial.Chebyshev.interpolate(
        lambda r: special.k1e(1.0 / r) / np.sqrt(r), _N_SERIES - 1, domain=[1e-9, 0.25]
    )
    c = fit.convert(kind=np.polynomial.Polynomial).coef
    powers = c * x[:, None] ** (-np.arange(_N_SERIES) - 0.5)
    return _Tables(
        x,
        delta,
        _STEP * np.exp(-np.outer(x, delta)),
        powers,
        _derivatives(x, powers),
        x / (4.0 * special.kve(2, x) ** 2),
    )


def _derivatives(x: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """d/du of exp(-x u) u^(-k-1/2) is -x of itself and -(k + 1/2) of the next power."""
    found = [np.pad(powers, ((0, 0), (0, _N_TAYLOR - 1)))]
    k = np.arange(found[0].shape[1])
    for _ in range(_N_TAYLOR - 1):
        of_previous = np.roll((k + 0.5) * found[-1], 1, axis=1)
        found.append(-x[:, None] * found[-1] - of_previous)
    return np.concatenate(found, axis=1)


class _Poles(NamedTuple):
    """Breit-Wigner poles in the slots of the rows, (rows, 2).

    m [GeV], m Gamma true and widened [GeV^2]. The same particle is widened less in a row whose
    threshold is nearer, by at most ``WIDTH_FLOOR`` (m^2 - 4 m_x^2).
    """

    mass: jax.Array
    width: jax.Array
    wide: jax.Array
    u_real: jax.Array
    """u_p = sqrt(m^2 + i wide)/m_x"""
    u_imag: jax.Array


def _poles(mass: jax.Array, width: jax.Array, m_x: jax.Array, distance: jax.Array) -> _Poles:
    """``distance`` = m^2 - threshold^2 [GeV^2], ``width`` = Gamma [GeV]; any common shape."""
    width = mass * width
    # The last term keeps a particle without any decay (all couplings zero) finite.
    floor = WIDTH_FLOOR * jnp.maximum(distance, 0.0)
    wide = jnp.sqrt(width**2 + floor**2 + (1e-30 * m_x**2) ** 2)
    modulus = jnp.sqrt(mass**4 + wide**2)
    u_real = jnp.sqrt(0.5 * (modulus + mass**2)) / m_x
    return _Poles(mass, width, wide, u_real, 0.5 * wide / (m_x**2 * u_real))


def _energy(m_x: jax.Array, u_c: jax.Array, gaps: tuple[jax.Array, ...], delta: jax.Array):
    """Energies at u = u_c + delta (rows, n); ``gaps`` (rows, 1): above X X*, above the final state,
    both at u_c [GeV^2]."""
    above = m_x**2 * delta * (delta + 2.0 * u_c)
    return Energy(m_x**2 * (u_c + delta) ** 2, above + gaps[0], above + gaps[1])


class Annihilation(eqx.Module):
    """Everything the observables need of X X* annihilation."""

    sigma_v: jax.Array
    """(n_x,): <sigma v> [GeV^-2] of one pair at x_of(linspace(0, 1, n_x))"""
    at_rest: dict[str, jax.Array]
    """Family to (rows,): sigma v_rel [GeV^-2] at relative velocity ``velocity``, not averaged"""


def annihilation(
    point: Point,
    widths: Widths,
    n_x: int = 97,
    hadrons: Hadrons = "dispersive",
    velocity: float = 1e-8,
) -> Annihilation:
    """<sigma v>(x) and sigma v at rest, from one evaluation of all channels.

    All channels of :mod:`annihilation`. Relative accuracy 1e-5 for x > 10 (median 1e-7), 3e-4 down
    to x = 1, where broad poles and the K_1 series (fitted for x u >= 4) cost most. A narrow pole
    within 1e-12 of threshold costs 4e-5 (1e-3 at x = 1e6). The hadron row is sampled, not resolved:
    1.3 % of the total at worst, at m_x = 0.43 GeV and x = 18, where f_0(980) lies between nodes.
    """
    table = _tables(n_x)
    m_x, delta = jnp.asarray(point.params.m_x, float), table.delta
    rows = annihilation_rows(point, widths, hadrons)
    final = (rows.mass_a + rows.mass_b)[:, None]
    threshold = jnp.maximum(final, 2.0 * m_x)
    u_c = jnp.maximum(final / m_x, 2.0)
    pole_mass, pole_width = rows.in_slots((rows.pole_mass, rows.pole_width))
    distance = (pole_mass - threshold) * (pole_mass + threshold)
    # Fenced, so that the roots are not taken again at every node.
    distance, slots = fence((distance, _poles(pole_mass, pole_width, m_x, distance)))
    correction = _pole_correction(rows.alpha, slots, m_x, u_c, distance)

    # sqrt(s)/m_x - 2 at P^2 = (m_x velocity/2)^2: one more node, of rows open at threshold.
    at_rest = velocity**2 / (2.0 + math.sqrt(4.0 + velocity**2))
    fixed = jnp.broadcast_to(np.append(delta, at_rest), (u_c.shape[0], delta.size + 1))
    # Of the two distances at u_c one is a constant 0: as a difference of equal numbers it would
    # take the difference of cotangents of 1/velocity^2.
    gap = (final - 2.0 * m_x) * (final + 2.0 * m_x)
    gaps = jnp.maximum(gap, 0.0), jnp.maximum(-gap, 0.0)
    nodes = jnp.concatenate([fixed, correction.stencil], axis=1)
    terms = rows.terms(_energy(m_x, u_c, gaps, nodes))
    smooth = Terms(*(v[:, : delta.size + 1] for v in terms))
    at_poles = Terms(*(v[:, delta.size + 1 :] for v in terms))
    offset = (m_x**2 * fixed * (fixed + 2.0 * u_c))[:, None, :] - distance[:, :, None]
    is_rest = np.arange(delta.size + 1) == delta.size
    width = jnp.where(is_rest, slots.width[:, :, None], slots.wide[:, :, None])
    rate = rates(smooth, rows.alpha, offset, width)
    values, rest = rate[:, : delta.size] * delta * (u_c + delta), rate[:, delta.size]
    below = _below_grid(rows.alpha, slots.wide, m_x, u_c, distance, smooth, delta[0])
    values = values.at[:, 0].add(below)

    total = _smooth_part(table, u_c, values)
    total = total + _pole_part(table, rows, slots, m_x, *correction.weights(at_poles))
    average = jnp.asarray(table.prefactor) * total / m_x**3
    floor = math.exp(LN_SIGMA_V_FLOOR)
    y = (m_x * velocity) ** 2
    flux = 0.5 * m_x * velocity * (4.0 * m_x**2 + y)
    is_open = y + (2.0 * m_x - final[:, 0]) * (2.0 * m_x + final[:, 0]) > 0.0
    return Annihilation(
        jnp.where(average > floor, average, floor),
        rows.by_family(jnp.where(is_open, rest / flux, 0.0)),
    )


def sigma_v(
    point: Point, widths: Widths, n_x: int = 97, hadrons: Hadrons = "dispersive"
) -> jax.Array:
    """<sigma v> [GeV^-2] of one X X* pair, shape (n_x,); see :func:`annihilation`."""
    return annihilation(point, widths, n_x, hadrons).sigma_v


def _below_grid(
    alpha: jax.Array,
    wide: jax.Array,
    m_x: jax.Array,
    u_c: jax.Array,
    distance: jax.Array,
    terms: Terms,
    first: float,
) -> jax.Array:
    """Trapezoidal sum over the nodes below the first one, (rows,), which can carry it.

    It matters for a narrow pole within about 1e-6 of threshold only, whose area lies at
    u - u_c = 1e-9 and less. There the coefficients are a power of u - u_c and the Boltzmann factor
    is that of the first node (within x 1e-9).
    """
    q0, q1 = terms.quadratic[:, :1], terms.quadratic[:, 1:2]
    known = (q0 > 0.0) & (q1 > 0.0)
    power = jnp.log(jnp.where(known, q1, 1.0) / jnp.where(known, q0, 1.0)) / _STEP
    scale = _BELOW ** jax.lax.stop_gradient(power)
    low = Terms(*(v[:, :1] * scale for v in terms))
    delta = first * _BELOW
    offset = (m_x**2 * delta * (delta + 2.0 * u_c))[:, None, :] - distance[:, :, None]
    return jnp.sum(delta * u_c * rates(low, alpha, offset, wide[:, :, None]), axis=1)


class _Correction(NamedTuple):
    """Residue term of each pole: the coefficients are continued from a real stencil around it."""

    stencil: jax.Array
    """(rows, 2 * 7): u - u_c"""
    linear: jax.Array
    """(2, rows, 2, 7): real and imaginary factor of the coefficient ``linear`` at the stencil"""
    quadratic: jax.Array

    def weights(self, terms: Terms) -> jax.Array:
        """(2, rows, 2): real and imaginary part, of the terms at the stencil."""
        shape = self.linear.shape[1:]
        total = self.quadratic * terms.quadratic.reshape(shape)
        return jnp.sum(total + self.linear * terms.linear.reshape(shape), axis=-1)


def _pole_correction(
    alpha: jax.Array, poles: _Poles, m_x: jax.Array, u_c: jax.Array, distance: jax.Array
) -> _Correction:
    """Residues times -2 q/(1 - q), with the lost area of a widened pole.

    The residue needs R on the complex pole t_p. Its coefficients are smooth in t = ln(u - u_c):
    the sextic through seven real points around Re t_p continues them (exact for narrow poles;
    for broad ones q is small where the continuation is poor).
    """
    is_above = distance > 0.0
    # Poles below threshold get a harmless place and no weight.
    y = jnp.where(is_above, distance, m_x**2)
    w = poles.wide
    # u_p - u_c = (y + i w)/(m_x^2 (u_p + u_c)): modulus and phase.
    sum_real, sum_imag = poles.u_real + u_c, poles.u_imag
    t_real = 0.5 * jnp.log((y**2 + w**2) / (m_x**4 * (sum_real**2 + sum_imag**2)))
    t_imag = jnp.arctan2(w, y) - jnp.arctan2(sum_imag, sum_real)
    angle = 2.0 * math.pi / _STEP * (t_real - _T_FIRST)
    # Complex numbers as pairs of real ones: complex quotients are long to compile.
    modulus = jnp.exp(-2.0 * math.pi / _STEP * t_imag)
    q_real, q_imag = modulus * jnp.cos(angle), modulus * jnp.sin(angle)
    # -2 q/((1 - q) w), from q (1 - q*) = q - |q|^2
    factor = -2.0 / (((1.0 - q_real) ** 2 + q_imag**2) * w)
    correction = factor * (q_real * (1.0 - q_real) - q_imag**2), factor * q_imag
    narrow = jnp.where(poles.width > 0.0, poles.width, poles.wide)
    lost = 1.0 / narrow - 1.0 / poles.wide
    # (y^2 + w^2) times Re A and |A|^2 at y = i w; a second pole o enters through
    # Re(D_p D_o*) (y^2 + w^2) -> i w/(y_o + i w_o).
    mass, product = poles.mass[:, ::-1], 2.0 * alpha * alpha[:, ::-1]
    gap = (poles.mass - mass) * (poles.mass + mass)
    both = w + w[:, ::-1]
    other = product * w / (gap**2 + both**2)
    linear, quadratic = alpha * w, (alpha**2 + other * both, other * gap)
    scale = jnp.where(is_above, math.pi / (2.0 * m_x**2), 0.0)
    lagrange = _lagrange(t_imag / _STENCIL_STEP)
    stencil = jnp.exp(t_real[:, :, None] + _STENCIL_STEP * _STENCIL)
    real, imag = _product(correction, quadratic)
    return _Correction(
        stencil.reshape(stencil.shape[0], -1),
        _on_stencil((-scale * correction[1] * linear, scale * correction[0] * linear), lagrange),
        _on_stencil((scale * (real + lost * alpha**2), scale * imag), lagrange),
    )


_Pair = tuple[jax.Array, jax.Array]
"""Real and imaginary part."""


def _product(a: _Pair, b: _Pair) -> _Pair:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _on_stencil(weight: _Pair, lagrange: _Pair) -> jax.Array:
    return jnp.stack(_product((weight[0][:, :, None], weight[1][:, :, None]), lagrange))


@functools.cache
def _lagrange_coefficients() -> np.ndarray:
    """(points, powers): Lagrange polynomials of the stencil, lowest power first."""
    return np.linalg.inv(np.vander(_STENCIL, increasing=True)).T.copy()


def _lagrange(r: jax.Array) -> _Pair:
    """Lagrange polynomials of the stencil at i r; last axis runs over the points."""
    powers = [jnp.ones_like(r)]
    for _ in _STENCIL[1:]:
        powers.append(powers[-1] * r)
    # Even powers of i r are real, odd ones imaginary.
    c = _lagrange_coefficients() * 1j ** np.arange(_STENCIL.size)
    stacked = jnp.stack(powers, axis=-1)
    return stacked @ c.real.T, stacked @ c.imag.T


def _smooth_part(table: _Tables, u_c: jax.Array, values: jax.Array) -> jax.Array:
    """sum over rows of int dt values K_1, (n_x,)."""
    inverse = 1.0 / (u_c + table.delta)
    moments = [values * jnp.sqrt(inverse)]
    for _ in range(_N_SERIES - 1):
        moments.append(moments[-1] * inverse)
    sums = jnp.asarray(table.boltzmann) @ jnp.concatenate(moments).T
    sums = sums.reshape(-1, _N_SERIES, values.shape[0])
    threshold = jnp.exp(-table.x[:, None] * (u_c[:, 0] - 2.0))
    return jnp.sum(jnp.sum(sums * table.powers[:, :, None], axis=1) * threshold, axis=1)


def _pole_part(
    table: _Tables,
    rows: Rows,
    slots: _Poles,
    m_x: jax.Array,
    real: jax.Array,
    imag: jax.Array,
) -> jax.Array:
    """Sum over slots of Re[weight K(u_p)], K = exp[-x (u - 2)] sum_k c_k (x u)^(-k-1/2); (n_x,).

    ``real``, ``imag``: the weight (rows, 2). Each particle has K and its derivatives at its widest
    u_0 only: a Taylor series leads to u_p in each row, x |u_p - u_0| being below 1e-5 x (u - 2).
    """
    own = rows.pole_mass, rows.pole_width
    reference = _poles(*own, m_x, (own[0] - 2.0 * m_x) * (own[0] + 2.0 * m_x))
    wide, u_real, u_imag = rows.in_slots((reference.wide, reference.u_real, reference.u_imag))
    # u_p - u_0 = i (w - w_0)/(m_x^2 (u_p + u_0)), without the difference of nearly equal u.
    sum_real, sum_imag = slots.u_real + u_real, slots.u_imag + u_imag
    scale = (slots.wide - wide) / (m_x**2 * (sum_real**2 + sum_imag**2))
    shift = scale * sum_imag, scale * sum_real
    moments = [(real, imag)]
    for n in range(1, _N_TAYLOR):
        moments.append(_product(moments[-1], (shift[0] / n, shift[1] / n)))
    moments = [rows.of_poles(jnp.stack(part))[:, None] for part in zip(*moments, strict=True)]
    power = (np.arange(_N_SERIES + _N_TAYLOR - 1) + 0.5)[:, None]
    modulus = jnp.exp(-0.5 * power * jnp.log(reference.u_real**2 + reference.u_imag**2))
    phase = -power * jnp.arctan2(reference.u_imag, reference.u_real)
    series = _product(
        (moments[0], moments[1]), (modulus * jnp.cos(phase), modulus * jnp.sin(phase))
    )
    even, odd = (table.derivatives @ part.reshape(-1, part.shape[-1]) for part in series)
    x = table.x[:, None]
    angle = x * reference.u_imag
    damped = jnp.exp(-x * jnp.maximum(reference.u_real - 2.0, 0.0))
    return jnp.sum(damped * (even * jnp.cos(angle) + odd * jnp.sin(angle)), axis=1)

"""Thermally averaged annihilation cross section <sigma v>(x) of one X X* pair, x = m_x/T.

Gondolo and Gelmini (Nucl. Phys. B360 (1991) 145, eq. 3.8), with sqrt(s) = m_x u:

    <sigma v> = x/(4 m_x^3 K_2(x)^2) int du u R(s) K_1(x u),   R = 4 P^2 sqrt(s) sigma(s).

Every channel is integrated from its own threshold u_c over t = ln(u - u_c) by the trapezoidal rule,
whose nodes are the same for all points: exp[-x (u - u_c)] is then a constant matrix, and
K_1 costs one short series in 1/(x u). (The row of hadrons, whose tabulated width has resonances,
has nodes of its own: the same rule in another variable.) The rule converges like exp(-2 pi d/h)
with d the distance of the nearest singularity from the real t axis (thresholds and t-channel
singularities lie at Im t = pi; exp(-x e^t) bounds d by pi/2). The only nearer singularities are
the Breit-Wigner poles of H1, H2 and Z' above threshold, at t_p = ln(u_p - u_c), u_p^2 =
(m^2 + i m Gamma)/m_x^2; their effect on the trapezoidal sum is known in closed form (residue
theorem; Trefethen and Weideman, SIAM Review 56 (2014) 385, sect. 5):

    integral = h sum_j F(t_j) - 2 Re[2 pi i Res_F(t_p) q/(1 - q)],   q = exp[2 pi i (t_p - t_0)/h].

Any width is exact in this way. Where w = m Gamma is below ``WIDTH_FLOOR`` times d = m^2 minus the
squared threshold of the channel, the sum and the correction would cancel in many digits, so there
w is widened to w_e = sqrt(w^2 + (floor d)^2) and the lost area, pi (1/w - 1/w_e) times the residue,
is added as a delta function: 1/(y^2 + w^2) = 1/(y^2 + w_e^2) + pi (1/w - 1/w_e) delta(y) plus
O(floor). That needs a rate that is smooth over w_e, so d is counted from the channel's own
threshold: a pole on it, d < w, is not widened at all, however far it is above 4 m_x^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.model import Point
from lmltdm_jax.numerics.fence import fence
from lmltdm_jax.observables.annihilation import Hadrons, hadron_strength, scalar_quadratic
from lmltdm_jax.observables.annihilation_base import Energy, Terms, rates
from lmltdm_jax.observables.annihilation_rows import Rows, annihilation_rows
from lmltdm_jax.observables.thermal_poles import Poles, pole_correction, poles_at, product
from lmltdm_jax.observables.thermal_tables import (
    N_SERIES,
    N_TAYLOR,
    STEP,
    Nodes,
    Tables,
    tables,
)
from lmltdm_jax.widths import Widths

LN_SIGMA_V_FLOOR = math.log(1e-100)
"""ln <sigma v> [GeV^-2] where nothing annihilates (all couplings zero)."""

_BELOW = np.exp(-STEP * np.arange(1.0, 41.0))
"""Nodes below the first one, relative to it: down to u - u_c = 2e-18."""


def _energy(m_x: jax.Array, u_c: jax.Array, gaps: tuple[jax.Array, ...], delta: jax.Array):
    """Energies at u = u_c + delta (rows, n); ``gaps`` (rows, 1): above X X*, above the final state,
    both at u_c [GeV^2]."""
    above = m_x**2 * delta * (delta + 2.0 * u_c)
    return Energy(m_x**2 * (u_c + delta) ** 2, above + gaps[0], above + gaps[1])


class Annihilation(NamedTuple):
    """Everything the observables need of X X* annihilation."""

    sigma_v: jax.Array
    """(n_x,): <sigma v> [GeV^-2] of one pair at x_of(linspace(0, 1, n_x))"""
    at_velocity: tuple[dict[str, jax.Array], ...]
    """Family to (rows,): sigma v_rel [GeV^-2], not averaged, at each of ``velocities``"""
    weighted: Callable[[jax.Array], dict[str, jax.Array]]
    """Weights (n_x,) to sum_i weight_i <sigma v>(x_i) of every row, by family (rows,) [GeV^-2]"""


def annihilation(
    point: Point,
    widths: Widths,
    n_x: int = 97,
    hadrons: Hadrons = "dispersive",
    velocities: tuple[float, ...] = (1e-8,),
) -> Annihilation:
    """<sigma v>(x) and sigma v at given relative velocities, from one evaluation of all channels.

    All channels of :mod:`annihilation`. Relative accuracy 1e-5 for x > 10 (median 1e-7), 3e-4 down
    to x = 1, where broad poles and the K_1 series (fitted for x u >= 4) cost most. A narrow pole
    within 1e-12 of threshold costs 4e-5 (1e-3 at x = 1e6). The row of hadrons has nodes of its
    own, up to eight times denser, which resolve the f_0(980).
    """
    table = tables(n_x)
    m_x, delta = jnp.asarray(point.params.m_x, float), table.nodes.delta
    rows = annihilation_rows(point, widths, hadrons)
    final = (rows.mass_a + rows.mass_b)[:, None]
    threshold = jnp.maximum(final, 2.0 * m_x)
    u_c = jnp.maximum(final / m_x, 2.0)
    pole_mass, pole_width = rows.in_slots((rows.pole_mass, rows.pole_width))
    distance = (pole_mass - threshold) * (pole_mass + threshold)
    # Fenced, so that the roots are not taken again at every node.
    distance, slots = fence((distance, poles_at(pole_mass, pole_width, m_x, distance)))
    is_fine = np.array([[row == rows.hadron_row] for row in range(len(rows.slots))])
    correction = pole_correction(rows.alpha, slots, m_x, u_c, distance, is_fine)

    # sqrt(s)/m_x - 2 at P^2 = (m_x v/2)^2: one more node each, of rows open at threshold.
    v2 = np.array(velocities) ** 2
    fixed = np.append(delta, v2 / (2.0 + np.sqrt(4.0 + v2)))
    is_average = np.arange(fixed.size) < delta.size
    fixed = jnp.broadcast_to(fixed, (u_c.shape[0], fixed.size))
    # Of the two distances at u_c one is a constant 0: as a difference of equal numbers it would
    # take the difference of cotangents of 1/velocity^2.
    gap = (final - 2.0 * m_x) * (final + 2.0 * m_x)
    gaps = jnp.maximum(gap, 0.0), jnp.maximum(-gap, 0.0)
    nodes = jnp.concatenate([fixed, correction.stencil], axis=1)
    terms = rows.terms(_energy(m_x, u_c, gaps, nodes))
    smooth = Terms(*(v[:, : is_average.size] for v in terms))
    at_poles = Terms(*(v[:, is_average.size :] for v in terms))
    offset = (m_x**2 * fixed * (fixed + 2.0 * u_c))[:, None, :] - distance[:, :, None]
    width = jnp.where(is_average, slots.wide[:, :, None], slots.width[:, :, None])
    rate = rates(smooth, rows.alpha, offset, width)
    values, single = rate[:, : delta.size] * delta * (u_c + delta), rate[:, delta.size :]
    values = jnp.where(is_fine, 0.0, values)
    below = _below_grid(rows.alpha, slots.wide, m_x, u_c, distance, smooth, delta[0])
    values = values.at[:, 0].add(below)

    residues = correction.weights(at_poles)
    finer = []
    if rows.hadron_row is not None:
        row = slice(rows.hadron_row, rows.hadron_row + 1)
        at_row = u_c[row], (gaps[0][row], gaps[1][row]), distance[row]
        own = _finer(table.finer, rows.alpha[row], slots.wide[row], m_x, *at_row)
        finer = [(row, own)]

    def of_rows(scale: jax.Array) -> jax.Array:
        """<sigma v> with every row multiplied by its ``scale`` (rows,)."""
        total = _smooth_part(table, table.nodes, u_c, values * scale[:, None])
        for row, of_row in finer:
            fine = of_row * scale[row, None]
            total = total + _smooth_part(table, table.finer, u_c[row], fine)
        total = total + _pole_part(table, rows, slots, m_x, *(residues * scale[:, None]))
        return jnp.asarray(table.prefactor) * total / m_x**3

    every = jnp.ones(u_c.shape[0])

    def weighted(weights: jax.Array) -> dict[str, jax.Array]:
        # Linear in the scale: its transpose sums over x and leaves the rows apart.
        return rows.by_family(jax.vjp(of_rows, every)[1](weights)[0])

    average = of_rows(every)
    floor = math.exp(LN_SIGMA_V_FLOOR)
    y = m_x**2 * v2
    flux = 0.5 * jnp.sqrt(y) * (4.0 * m_x**2 + y)
    is_open = y + (2.0 * m_x - final) * (2.0 * m_x + final) > 0.0
    single = jnp.where(is_open, single / flux, 0.0)
    return Annihilation(
        jnp.where(average > floor, average, floor),
        tuple(rows.by_family(single[:, i]) for i in range(v2.size)),
        weighted,
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
    power = jnp.log(jnp.where(known, q1, 1.0) / jnp.where(known, q0, 1.0)) / STEP
    scale = _BELOW ** jax.lax.stop_gradient(power)
    low = Terms(*(v[:, :1] * scale for v in terms))
    delta = first * _BELOW
    offset = (m_x**2 * delta * (delta + 2.0 * u_c))[:, None, :] - distance[:, :, None]
    return jnp.sum(delta * u_c * rates(low, alpha, offset, wide[:, :, None]), axis=1)


def _finer(
    nodes: Nodes,
    alpha: jax.Array,
    wide: jax.Array,
    m_x: jax.Array,
    u_c: jax.Array,
    gaps: tuple[jax.Array, ...],
    distance: jax.Array,
) -> jax.Array:
    """Integrand of the row of hadrons at its own nodes, (1, n)."""
    delta = nodes.delta
    energy = _energy(m_x, u_c, gaps, delta)
    terms = Terms(0.0, 0.0, scalar_quadratic(energy, hadron_strength(energy.s)))
    offset = (m_x**2 * delta * (delta + 2.0 * u_c))[:, None, :] - distance[:, :, None]
    return rates(terms, alpha, offset, wide[:, :, None]) * delta * (u_c + delta)


def _smooth_part(table: Tables, nodes: Nodes, u_c: jax.Array, values: jax.Array) -> jax.Array:
    """sum over rows of int dt values K_1, (n_x,)."""
    inverse = 1.0 / (u_c + nodes.delta)
    moments = [values * jnp.sqrt(inverse)]
    for _ in range(N_SERIES - 1):
        moments.append(moments[-1] * inverse)
    sums = jnp.asarray(nodes.boltzmann) @ jnp.concatenate(moments).T
    sums = sums.reshape(-1, N_SERIES, values.shape[0])
    threshold = jnp.exp(-table.x[:, None] * (u_c[:, 0] - 2.0))
    return jnp.sum(jnp.sum(sums * table.powers[:, :, None], axis=1) * threshold, axis=1)


def _pole_part(
    table: Tables,
    rows: Rows,
    slots: Poles,
    m_x: jax.Array,
    real: jax.Array,
    imag: jax.Array,
) -> jax.Array:
    """Sum over slots of Re[weight K(u_p)], K = exp[-x (u - 2)] sum_k c_k (x u)^(-k-1/2); (n_x,).

    ``real``, ``imag``: the weight (rows, 2). Each particle has K and its derivatives at its widest
    u_0 only: a Taylor series leads to u_p in each row, x |u_p - u_0| being below 1e-5 x (u - 2).
    """
    own = rows.pole_mass, rows.pole_width
    reference = poles_at(*own, m_x, (own[0] - 2.0 * m_x) * (own[0] + 2.0 * m_x))
    wide, u_real, u_imag = rows.in_slots((reference.wide, reference.u_real, reference.u_imag))
    # u_p - u_0 = i (w - w_0)/(m_x^2 (u_p + u_0)), without the difference of nearly equal u.
    sum_real, sum_imag = slots.u_real + u_real, slots.u_imag + u_imag
    scale = (slots.wide - wide) / (m_x**2 * (sum_real**2 + sum_imag**2))
    shift = scale * sum_imag, scale * sum_real
    moments = [(real, imag)]
    for n in range(1, N_TAYLOR):
        moments.append(product(moments[-1], (shift[0] / n, shift[1] / n)))
    moments = [rows.of_poles(jnp.stack(part))[:, None] for part in zip(*moments, strict=True)]
    power = (np.arange(N_SERIES + N_TAYLOR - 1) + 0.5)[:, None]
    modulus = jnp.exp(-0.5 * power * jnp.log(reference.u_real**2 + reference.u_imag**2))
    phase = -power * jnp.arctan2(reference.u_imag, reference.u_real)
    series = product((moments[0], moments[1]), (modulus * jnp.cos(phase), modulus * jnp.sin(phase)))
    even, odd = (table.derivatives @ part.reshape(-1, part.shape[-1]) for part in series)
    x = table.x[:, None]
    angle = x * reference.u_imag
    damped = jnp.exp(-x * jnp.maximum(reference.u_real - 2.0, 0.0))
    return jnp.sum(damped * (even * jnp.cos(angle) + odd * jnp.sin(angle)), axis=1)

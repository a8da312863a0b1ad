"""Relative error of Omega h^2 from what the relic density leaves out: kinetic decoupling and Z'.

:func:`relic_density` gives X the temperature of the bath. Where X stops scattering before it stops
annihilating it is colder, and <sigma v> of the colder gas differs near a pole and near a threshold
(Binder, Bringmann, Gustafsson, Hryczuk, arXiv:1706.07433). Estimated here from the <sigma v>(x) of
the point, which knows every pole and threshold, and a momentum-exchange rate in closed form; the
envelope is fitted to solutions of the coupled equations (scripts/coupled_boltzmann.py).

The bath of :func:`relic_density` is that of the SM with one temperature. Z' raise H and the
entropy at freeze-out and heat the neutrinos later; below 2 MeV X and Z' follow the neutrinos.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from lmltdm_jax.constants import M_PLANCK
from lmltdm_jax.model import Point
from lmltdm_jax.observables.thermal_tables import x_of, xi_of

_STRIDE = 4
"""Every fourth node of the <sigma v> table."""
_X = np.array([20.0, 60.0, 400.0])
"""Where momentum exchange is evaluated; power laws between and before."""
_LATE_POWER = 4.0
"""gamma/H falls at least with this power of x after the last one: T^6 for a heavy mediator."""
_X_EARLIEST = 15.0
"""Annihilation itself keeps X at the temperature of the bath before."""
_WEAKEN, _PULL = 0.3, 2.0
"""Chosen on 450 solutions of the coupled equations: 95 % of deviations above 5 % are inside."""
_LN_MAX = 3.2
"""ln of the largest deviation allowed; the largest found is 3.1."""
_T_NEUTRINOS = 2.3e-3
"""GeV; neutrinos leave the photons here."""
_X_FREEZE_OUT = 20.0
_SQRT_G = math.sqrt(10.75)
_K_NODES, _Q_NODES = 3, 3


class _Nodes(NamedTuple):
    k: np.ndarray
    """k/T, (n,)"""
    weight: np.ndarray
    """times exp(k/T)"""
    r: np.ndarray
    """(m,) and its weight: ln(1 - t/M^2) from 0 to its largest value"""
    r_weight: np.ndarray


@functools.cache
def _nodes() -> _Nodes:
    # Light mediators weigh k^2 exp(-k), heavy ones k^4 to k^8.
    k, weight = special.roots_genlaguerre(_K_NODES, 3.0)
    r, r_weight = np.polynomial.legendre.leggauss(_Q_NODES)
    return _Nodes(k, weight * k**-3.0 * np.exp(k), 0.5 * (r + 1.0), 0.5 * r_weight)


def momentum_exchange(point: Point, x: np.ndarray) -> jax.Array:
    """gamma/H of X at T = m_x/x, (n,): nu, e, mu, Z' and H1 of the bath.

    gamma = 1/(3 m_x T) sum int d^3k/(2 pi)^3 f int d(-t) (-t) sum|M|^2/(64 pi k w m_x^2), X at
    rest, f = exp(-w/T). Fermions f and anti-f: Z' exchange 2 g^2 c^2 [(s - u)^2 + t (4 m_x^2 - t)]
    /(t - m_zp^2)^2, H1 exchange 2 (g_1 y_1)^2 (4 m^2 - t)/(t - m_h1^2)^2; longitudinal Z' through
    H1; X H1 with contact, H1 and X exchange. tau, quarks, quantum statistics and Compton
    scattering on Z' are left out. At x = 25 up to 2.4 times scripts/bath_scattering.py, and not
    below 0.7 of it, but for m_x of several GeV and small g_x, where charm and tau carry it: 0.1.
    """
    p, sm, nodes = point.params, point.sm, _nodes()
    m_x, m_zp, m_h1 = (jnp.asarray(v, float) for v in (p.m_x, p.m_zp, p.m_h1))
    zero, portal = jnp.zeros(()), p.lambda_phix * point.cos_theta**2
    mixing = jnp.real(point.kinetic_mixing) ** 2 + jnp.imag(point.kinetic_mixing) ** 2
    charges = p.g_x**2, 4.0 * math.pi * sm.alpha * mixing, p.g_x**2
    yukawas = [2.0 * (point.g_h1_xx * point.sin_theta * m / sm.v_h) ** 2 for m in (sm.m_e, sm.m_mu)]
    # Heavier bosons than X are gone, and X -> X Z' would be on shell in the u channel.
    has_zp, has_h1 = jnp.where(m_zp < m_x, 1.0, 0.0), jnp.where(m_h1 < m_x, 1.0, 0.0)
    zp = has_zp * portal**2
    m_zp_in, m_h1_in = jnp.minimum(m_zp, m_x), jnp.minimum(m_h1, m_x)
    light = jnp.minimum(m_zp, m_h1)
    # nu, e, mu, Z', H1: mass, scale of t, Z' exchange, and powers of t of H1 exchange.
    columns = [
        (zero, light, 4.0 * (p.g_x * p.q_x) ** 2 * charges[0], zero, zero, zero),
        *(
            (
                jnp.asarray(m, float),
                light,
                4.0 * (p.g_x * p.q_x) ** 2 * charge,
                8.0 * m**2 * y,
                -2.0 * y,
                zero,
            )
            for m, charge, y in zip((sm.m_e, sm.m_mu), charges[1:], yukawas, strict=True)
        ),
        (m_zp_in, m_h1, zero, 12.0 * zp * m_zp**4, -4.0 * zp * m_zp**2, zp),
        (m_h1_in, m_h1, zero, zero, zero, zero),
    ]
    columns = jnp.stack([jnp.stack([jnp.asarray(v, float) for v in c]) for c in columns])
    mass, scale, vector, c0, c1, c2 = columns.T[:, :, None, None]
    temperature = m_x / x[:, None, None, None]
    k = temperature * nodes.k[:, None]
    omega = jnp.sqrt(k**2 + mass**2)
    energy = 2.0 * m_x * omega  # s - m_x^2 - mass^2
    top = jnp.log1p(4.0 * (k * m_x / scale) ** 2 / (m_x**2 + mass**2 + energy))
    grown = jnp.exp(top * nodes.r)
    q2 = scale**2 * (grown - 1.0)
    # (s - u)^2 + t (4 m_x^2 - t), u - m_x^2 = -energy + mass^2 - t
    current = 4.0 * (energy**2 - q2 * (energy + m_x**2))
    propagator = 1.0 / (q2 + m_h1**2)
    squared = vector * current / (q2 + m_zp**2) ** 2
    squared = squared + propagator**2 * (c0 + q2 * (c2 * q2 - c1))
    others = 1.0 / (energy[:, 4] + mass[4] ** 2) - 1.0 / (energy[:, 4] - mass[4] ** 2 - q2[:, 4])
    exchange = point.g_h1_xx * others - point.c111 * propagator[:, 4]
    contact = has_h1 * (portal + point.g_h1_xx * exchange) ** 2
    squared = jnp.concatenate([squared[:, :4], contact[:, None]], axis=1)
    measure = top * nodes.r_weight * scale**2 * grown * q2
    # k^2 dk/(k w)
    boltzmann = jnp.exp(-omega / temperature) * nodes.weight[:, None] * temperature * k / omega
    total = jnp.sum(boltzmann * measure * squared, axis=(1, 2, 3))
    gamma = total * x / (384.0 * math.pi**3 * m_x**4)
    return gamma / (math.sqrt(8.0 * math.pi**3 / 90.0) * _SQRT_G * (m_x / x) ** 2 / M_PLANCK)


class _Decoupling(NamedTuple):
    net: jax.Array
    """ln of the estimated Omega h^2 over that of one temperature"""
    size: jax.Array
    """mean |change of ln <sigma v>|, in which changes of both signs do not cancel"""


@functools.cache
def _grid(n_x: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln x, its spacing and Y_eq h of the table nodes used."""
    x = x_of(np.linspace(0.0, 1.0, n_x))[::_STRIDE]
    yeq = 45.0 / (2.0 * math.pi**4) * x**2 * special.kve(2, np.minimum(x, 1e6)) * np.exp(-x)
    return np.log(x), np.gradient(np.log(x)), yeq


def _colder(ln_x: np.ndarray, ln_rate: jax.Array, boost: jax.Array) -> jax.Array:
    """ln(T/T_x), (n,): X lags behind by H/gamma, then cools like 1/x^2.

    ``boost`` = 1 + |dln <sigma v>/dln x|: annihilation of the fast (slow) pairs cools (heats) too.
    """
    at = np.log(_X)
    slopes = (ln_rate[1:] - ln_rate[:-1]) / np.diff(at)
    slopes = jnp.minimum(slopes, -0.1)
    last = jnp.minimum(slopes[1], -_LATE_POWER)
    middle = ln_rate[0] + slopes[0] * (at[1] - at[0])
    end = middle + slopes[1] * (at[2] - at[1])
    early = ln_rate[0] + slopes[0] * (ln_x - at[0])
    between = middle + slopes[1] * (ln_x - at[1])
    late = end + last * (ln_x - at[2])
    ln_gamma = jnp.where(ln_x < at[1], early, jnp.where(ln_x < at[2], between, late))
    # Where a weakened gamma/H is 1.
    weak = math.log(_WEAKEN)
    ends = [
        at[0] - (ln_rate[0] + weak) / slopes[0],
        at[1] - (middle + weak) / slopes[1],
        at[2] - (end + weak) / last,
    ]
    ln_end = jnp.where(middle + weak < 0.0, ends[0], jnp.where(end + weak < 0.0, ends[1], ends[2]))
    x_end = _X_EARLIEST + jnp.exp(jnp.minimum(ln_end, 60.0))
    lag = jnp.exp(jnp.clip(ln_gamma, -60.0, 60.0)) / boost + x_end * np.exp(-ln_x)
    return jnp.log1p(1.0 / lag)


def _at(values: jax.Array, xi: jax.Array) -> jax.Array:
    """Linear interpolation of ``values`` (n,) on a uniform grid of xi from 0 to 1, flat above."""
    intervals = values.shape[0] - 1
    position = jnp.minimum(xi, 1.0) * intervals
    index = jnp.minimum(position.astype(int), intervals - 1)
    low = values[index]
    return low + (position - index) * (values[index + 1] - low)


def _decoupling(point: Point, table: jax.Array) -> _Decoupling:
    n_x = table.shape[0]
    ln_x, spacing, yeq = _grid(n_x)
    ln_sv = jnp.log(table[::_STRIDE])
    m_x = jnp.asarray(point.params.m_x, float)
    ln_rate = jnp.log(momentum_exchange(point, _X) + 1e-26)
    slope = (ln_sv[2:] - ln_sv[:-2]) / (ln_x[2:] - ln_x[:-2])
    slope = jnp.concatenate([slope[:1], slope, slope[-1:]])
    ln_q = _colder(ln_x, ln_rate, 1.0 + _PULL * jnp.abs(slope))
    own = _at(ln_sv, xi_of(ln_x + ln_q))
    # int <sigma v> dx/x^2 after freeze-out, where annihilation is slower than H.
    rate = math.sqrt(math.pi / 45.0) * M_PLANCK * _SQRT_G * 0.5 * m_x * jnp.exp(ln_sv - ln_x)
    weight = spacing * rate / (1.0 + rate * yeq / 10.75)
    weight = weight / jnp.sum(weight)
    change = own - ln_sv
    # The derivative of |c| at 0 is that of sqrt(c^2 + 1e-12).
    size = jnp.sum(weight * jnp.sqrt(change**2 + 1e-12))
    return _Decoupling(-jnp.log(jnp.sum(weight * jnp.exp(jnp.clip(change, -50.0, 50.0)))), size)


def decoupling_error(point: Point, table: jax.Array) -> jax.Array:
    """Relative error of Omega h^2 from kinetic decoupling; ``table``: <sigma v> (n_x,) [GeV^-2].

    The estimate exp(+-E) - 1 for the change that the table predicts, up and down in the proportion
    that its sign is certain. Of 300 coupled solutions made later 97 % are inside, 92 % of those
    that deviate by more than 5 % (tests).
    """
    net, size = _decoupling(point, table)
    both = jnp.sqrt(net**2 + size**2)
    e = both / jnp.sqrt(1.0 + (both / _LN_MAX) ** 2)
    up = 0.5 * (1.0 + net / both)
    return up * jnp.expm1(e) - (1.0 - up) * jnp.expm1(-e)


def _boson(y: jax.Array) -> jax.Array:
    """Entropy of one bosonic degree of freedom, y = m/T, over a massless one; within 12 %."""
    return jnp.exp(-y) * (1.0 + 0.4615 * y) ** 2.5


def bath_shift(point: Point) -> jax.Array:
    """ln of Omega h^2 with Z' and H1 in the bath and T_nu below T_gamma over that without.

    H raises the yield like sqrt(g), more entropy at freeze-out lowers it like 1/h; the entropy of
    Z' left below neutrino decoupling goes to the neutrinos, not to the photons. Last term: X that
    freezes out with the colder neutrinos, fitted. Within 0.06 of scripts/two_temperatures.py.
    """
    p = point.params
    m_x, m_zp, m_h1 = (jnp.asarray(v, float) for v in (p.m_x, p.m_zp, p.m_h1))
    t = m_x / _X_FREEZE_OUT
    # QCD degrees of freedom above 150 to 200 MeV.
    g = 10.75 + 60.0 / (1.0 + (0.18 / t) ** 4)
    dark = 3.0 * _boson(m_zp / t) + _boson(m_h1 / t)
    late = 3.0 * _boson(m_zp / _T_NEUTRINOS) + _boson(m_h1 / _T_NEUTRINOS)
    colder = 0.064 * (5e-3 / m_x) ** 1.75
    return jnp.log1p(late / 10.75) - 0.5 * jnp.log1p(dark / g) - colder


def relic_theory_error(point: Point, table: jax.Array) -> jax.Array:
    """Relative theory error of Omega h^2 beyond one that is the same everywhere, scalar >= 0.

    Kinetic decoupling and the bath, in quadrature. Needs the <sigma v> table that
    :func:`relic_density` uses.
    """
    return jnp.sqrt(decoupling_error(point, table) ** 2 + bath_shift(point) ** 2)

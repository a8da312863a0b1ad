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

_STRIDE = 2
"""Every second node of the <sigma v> table."""
_X = np.array([20.0, 60.0, 400.0])
"""Where momentum exchange is evaluated; power laws between and before."""
_LATE_POWER = 4.0
"""gamma/H falls at least with this power of x after the last one: T^6 for a heavy mediator."""
_X_EARLIEST = 15.0
"""Annihilation itself keeps X at the temperature of the bath before."""
_WEAKEN, _PULL = 0.3, 2.0
"""Chosen on 450 solutions of the coupled equations: 96 % of deviations above 5 % are inside."""
_LN_MAX = 3.2
"""ln of the largest deviation allowed; the largest found is 3.1."""
_T_NEUTRINOS = 2.3e-3
"""GeV; neutrinos leave the photons here."""
_X_FREEZE_OUT = 20.0
_SQRT_G = math.sqrt(10.75)
_K_NODES, _Q_NODES = 5, 5


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


def _transfer(x: np.ndarray, m_x: jax.Array, mass: jax.Array, mediator: jax.Array, squared):
    """gamma [GeV], (x, species): 1/(3 m_x T) int d^3k f (1 -+ f) int dt (-t) |M|^2/(64 pi k w m^2).

    ``mass`` and ``mediator`` (species,); ``squared(s, t, u)`` with arrays (x, species, k, t). f (1
    -+ f) -> exp(-w/T). For X at rest.
    """
    nodes = _nodes()
    temperature = m_x / x[:, None, None]
    k = temperature * nodes.k
    omega = jnp.sqrt(k**2 + mass[:, None] ** 2)
    s = m_x**2 + 2.0 * m_x * omega + mass[:, None] ** 2
    scale = mediator[:, None] ** 2
    top = jnp.log1p(4.0 * k**2 * m_x**2 / (s * scale))[..., None]
    q2 = scale[..., None] * jnp.expm1(top * nodes.r)
    measure = top * nodes.r_weight * (q2 + scale[..., None]) * q2
    s = s[..., None]
    u = 2.0 * m_x**2 + 2.0 * mass[:, None, None] ** 2 - s + q2
    inner = jnp.sum(measure * squared(s, -q2, u), axis=-1) / (64.0 * math.pi * m_x**2)
    # k^2 dk/(k w)
    boltzmann = jnp.exp(-omega / temperature) * nodes.weight * temperature * k / omega
    return jnp.sum(boltzmann * inner, axis=-1) / (6.0 * math.pi**2 * m_x * temperature[..., 0])


def momentum_exchange(point: Point, x: np.ndarray) -> jax.Array:
    """gamma/H of X at T = m_x/x, (n,): nu, e, mu, Z' and H1 of the bath.

    Within a factor 2 of scripts/coupled_boltzmann.py for x = 20 to 60, which has tau, quarks,
    quantum statistics and Compton scattering on Z', too.
    """
    p, sm = point.params, point.sm
    m_x, m_zp, m_h1 = (jnp.asarray(v, float) for v in (p.m_x, p.m_zp, p.m_h1))
    charge = jnp.real(point.kinetic_mixing) ** 2 + jnp.imag(point.kinetic_mixing) ** 2
    charge = 4.0 * math.pi * sm.alpha * charge
    gauge = (p.g_x * p.q_x) ** 2 * jnp.stack([p.g_x**2, charge, p.g_x**2])[:, None, None]
    masses = jnp.stack([jnp.zeros(()), jnp.asarray(sm.m_e), jnp.asarray(sm.m_mu)])
    yukawa = point.g_h1_xx * point.sin_theta * masses[:, None, None] / sm.v_h

    def fermions(s, t, u):
        # Both chiralities of a Dirac fermion and its antiparticle; two flavours of neutrinos.
        current = 2.0 * ((s - u) ** 2 + t * (4.0 * m_x**2 - t))
        scalar = 2.0 * (4.0 * masses[:, None, None] ** 2 - t)
        vector = gauge * current / (t - m_zp**2) ** 2
        return 2.0 * (vector + scalar * (yukawa / (t - m_h1**2)) ** 2)

    def bosons(s, t, u):
        # Longitudinal Z' through H1; X H1 with contact, H1 and X exchange.
        propagator = 1.0 / (t - m_h1**2)
        zp = (2.0 * p.lambda_phix * point.cos_theta**2 * propagator) ** 2
        zp = zp * (2.0 * m_zp**4 + (m_zp**2 - 0.5 * t) ** 2)
        others = 1.0 / (s - m_x**2) + 1.0 / (u - m_x**2)
        amplitude = p.lambda_phix * point.cos_theta**2 + point.g_h1_xx * (
            point.c111 * propagator + point.g_h1_xx * others
        )
        return jnp.stack([zp[:, 0], amplitude[:, 1] ** 2], axis=1)

    light = jnp.minimum(m_zp, m_h1)
    total = jnp.sum(_transfer(x, m_x, masses, jnp.stack([light] * 3), fermions), axis=1)
    # Heavier bosons than X are gone, and X -> X Z' would be on shell in the u channel.
    pair = jnp.stack([m_zp, m_h1])
    found = _transfer(x, m_x, jnp.minimum(pair, m_x), jnp.stack([m_h1, m_h1]), bosons)
    total = total + jnp.sum(jnp.where(pair < m_x, found, 0.0), axis=1)
    hubble = math.sqrt(8.0 * math.pi**3 / 90.0) * _SQRT_G * (m_x / x) ** 2 / M_PLANCK
    return total / hubble


class _Decoupling(NamedTuple):
    net: jax.Array
    """ln of the estimated Omega h^2 over that of one temperature"""
    size: jax.Array
    """mean |change of ln <sigma v>|, in which changes of both signs do not cancel"""


@functools.cache
def _grid(n_x: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ln x, its spacing and Y_eq h of every second table node."""
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
    that its sign is certain. Of the coupled solutions 98 % are inside (tests).
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
    freezes out with the colder neutrinos, fitted. Within 0.03 of scripts/two_temperatures.py.
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

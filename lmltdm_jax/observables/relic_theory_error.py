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
from lmltdm_jax.observables.thermal_average import x_of

_STRIDE = 2
"""Every second node of the <sigma v> table."""
_X = (20.0, 60.0)
"""Where momentum exchange is evaluated; a power law between and beyond."""
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

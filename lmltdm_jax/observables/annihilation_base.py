"""What all annihilation channels share: kinematics, angular averages, rows of one family.

A channel is an affine form in its s-channel exchange A = sum_p alpha_p/(s - m_p^2 + i m_p Gamma_p)
(fixed width): the squared amplitude, averaged over the scattering angle, averaged over initial and
summed over final spins, is ``constant + linear Re A + quadratic |A|^2`` with coefficients that are
smooth above threshold; the thermal average uses that to integrate over narrow poles. X and X* are
the dark matter and its antiparticle, whatever their spin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmltdm_jax.model import Point
from lmltdm_jax.numerics.safe import safe_sqrt

_SERIES_RADIUS = 0.2
_SERIES_TERMS = 18


class Energy(NamedTuple):
    """Squared energy and its distances from the two thresholds [GeV^2], each without subtraction.

    Shapes broadcast as (rows, n).
    """

    s: jax.Array
    above_xx: jax.Array
    """s - 4 m_x^2 = 4 P^2"""
    above_final: jax.Array
    """s - (m_a + m_b)^2"""


class Terms(NamedTuple):
    """Rate R = constant + linear Re A + quadratic |A|^2; sigma = R / (4 P^2 sqrt(s)).

    In terms of the squared amplitude, R = k P <sum |M|^2> / (4 pi sqrt(s)), times 1/2 for
    identical particles; no 1/P appears.
    """

    constant: jax.Array
    linear: jax.Array
    quadratic: jax.Array


class Family(NamedTuple):
    """Channels that share formulas: final masses (rows,), couplings alpha (rows, poles)."""

    mass_a: jax.Array
    mass_b: jax.Array
    alpha: jax.Array
    pole_mass: jax.Array
    pole_width: jax.Array


class Angular(NamedTuple):
    """Averages over x = cos(theta) with A_t A_u = A0^2 (1 - rho^2 x^2), A_{t,u} = m_x^2 - {t, u}.

    j1 = <1/(1 - rho^2 x^2)>, f1 = <x^2/(1 - rho^2 x^2)>, f2 = <x^4/(1 - rho^2 x^2)>,
    inverse_w = 1/(1 - rho^2). Averages of the squared denominator follow without cancellation:
    <1/()^2> = (1/w + j1)/2, <x^2/()^2> = (1/w - f1)/2, <x^4/()^2> = (1/w - 3 f2)/2.
    """

    a0: jax.Array
    p2: jax.Array
    k2: jax.Array
    pk: jax.Array
    w: jax.Array
    inverse_w: jax.Array
    j1: jax.Array
    f1: jax.Array
    f2: jax.Array


def angular_averages(energy: Energy, m_a: jax.Array, m_b: jax.Array, m_x: jax.Array) -> Angular:
    """A0 = (s - m_a^2 - m_b^2)/2 and 1 - rho^2 = (m_a^2 m_b^2 + 4 m_x^2 k^2)/A0^2, exactly."""
    s, above_xx, above = energy
    above_xx, above = jnp.maximum(above_xx, 0.0), jnp.maximum(above, 0.0)
    p2 = 0.25 * above_xx
    k2 = above * (above + 4.0 * m_a * m_b) / (4.0 * s)
    a0 = 0.5 * above + m_a * m_b
    w = ((m_a * m_b) ** 2 + 4.0 * m_x**2 * k2) / a0**2
    rho2 = 4.0 * p2 * k2 / a0**2
    small = jnp.abs(rho2) < _SERIES_RADIUS
    r = jnp.where(small, rho2, 0.0)
    series = jnp.zeros_like(r)
    for n in reversed(range(_SERIES_TERMS)):
        series = series * r + 1.0 / (2 * n + 5)
    r = jnp.where(small, 0.5, rho2)
    rho = jnp.sqrt(r)
    # (1 + rho)/sqrt(w) with the exact w keeps the logarithm accurate for rho -> 1.
    j1 = jnp.log((1.0 + rho) / jnp.sqrt(jnp.where(small, 0.5, w))) / rho
    f2 = jnp.where(small, series, (j1 - 1.0 - r / 3.0) / r**2)
    f1 = 1.0 / 3.0 + rho2 * f2
    pk = safe_sqrt(p2 * k2)
    return Angular(a0, p2, k2, pk, w, 1.0 / w, 1.0 + rho2 * f1, f1, f2)


ZP, HIGGS = ("zp",), ("h1", "h2")
"""Names of the poles of a family, in the order of its ``pole_mass``."""


class Channel(NamedTuple):
    """A family with its coefficient function ``terms(energy, angular)``.

    ``angular``: :func:`angular_averages` at these energies, where a caller has them already.
    """

    family: Family
    terms: Callable[..., Terms]
    poles: tuple[str, ...]
    exchange: bool
    """whether there are t- and u-channels, so that ``terms`` reads ``angular``"""


def s_channel(
    point: Point,
    family: Family,
    poles: tuple[str, ...],
    terms: Callable[[Point, Energy, jax.Array], Terms],
) -> Channel:
    """A channel whose ``terms(point, energy, masses)`` needs no angular average."""
    return Channel(family, lambda e, _=None: terms(point, e, family.mass_a), poles, False)


def exchange_channel(
    point: Point,
    family: Family,
    poles: tuple[str, ...],
    terms: Callable[[Point, Energy, Angular], Terms],
) -> Channel:
    """A channel with ``terms(point, energy, angular)``."""
    masses = family.mass_a[:, None], family.mass_b[:, None]

    def of(energy: Energy, angular: Angular | None = None) -> Terms:
        if angular is None:
            angular = angular_averages(energy, *masses, point.params.m_x)
        return terms(point, energy, angular)

    return Channel(family, of, poles, True)


def rates(terms: Terms, alpha: jax.Array, offset: jax.Array, width: jax.Array) -> jax.Array:
    """R (rows, n) of a family with couplings ``alpha`` (rows, poles).

    ``offset`` = s - m_p^2 and ``width`` = m_p Gamma_p, broadcast to (rows, poles, n) [GeV^2]; the
    caller supplies them without cancellation.
    """
    norm = offset**2 + width**2
    norm = jnp.where(norm > 0.0, norm, 1.0)
    real = jnp.sum(alpha[:, :, None] * offset / norm, axis=1)
    imaginary = jnp.sum(alpha[:, :, None] * width / norm, axis=1)
    squared = real**2 + imaginary**2
    return terms.constant + terms.linear * real + terms.quadratic * squared


def sigma_by_family(found: dict[str, Channel], m_x: jax.Array, s: jax.Array) -> dict:
    """sigma(s) [GeV^-2] of each family, (rows, n); 0 below its threshold. ``s`` (n,) in GeV^2."""
    s = jnp.asarray(s, float)[None]
    above_xx = s - 4.0 * m_x**2
    flux = jnp.sqrt(s) * above_xx
    out = {}
    for name, channel in found.items():
        f = channel.family
        threshold = (f.mass_a + f.mass_b)[:, None] ** 2
        energy = Energy(s, above_xx, jnp.maximum(s - threshold, 0.0))
        offset = (s - f.pole_mass[:, None] ** 2)[None]
        width = (f.pole_mass * f.pole_width)[None, :, None]
        sigma = rates(channel.terms(energy), f.alpha, offset, width) / flux
        out[name] = jnp.where(s > threshold, sigma, 0.0)
    return out

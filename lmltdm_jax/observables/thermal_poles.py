"""Breit-Wigner poles in the thermal average: widened widths and residue corrections.

The module text of :mod:`.thermal_average` has the formulas.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.observables.annihilation import Terms
from lmltdm_jax.observables.thermal_tables import (
    FINER,
    FINER_FROM,
    STEP,
    T_FIRST,
)

WIDTH_FLOOR = 1e-5
"""Smallest resolved m Gamma/(m^2 - threshold^2); see :mod:`.thermal_average`."""

_STENCIL, _STENCIL_SPACING = np.arange(-3.0, 4.0), 0.2
"""Points, and their distance in t relative to the step of the trapezoidal rule."""


class Poles(NamedTuple):
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


def poles_at(mass: jax.Array, width: jax.Array, m_x: jax.Array, distance: jax.Array) -> Poles:
    """``distance`` = m^2 - threshold^2 [GeV^2], ``width`` = Gamma [GeV]; any common shape."""
    width = mass * width
    # The last term keeps a particle without any decay (all couplings zero) finite.
    floor = WIDTH_FLOOR * jnp.maximum(distance, 0.0)
    wide = jnp.sqrt(width**2 + floor**2 + (1e-30 * m_x**2) ** 2)
    modulus = jnp.sqrt(mass**4 + wide**2)
    u_real = jnp.sqrt(0.5 * (modulus + mass**2)) / m_x
    return Poles(mass, width, wide, u_real, 0.5 * wide / (m_x**2 * u_real))


class Correction(NamedTuple):
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


def pole_correction(
    alpha: jax.Array,
    poles: Poles,
    m_x: jax.Array,
    u_c: jax.Array,
    distance: jax.Array,
    is_fine: np.ndarray,
) -> Correction:
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
    # Complex numbers as pairs of real ones: complex quotients are long to compile.
    cycle_real, cycle_imag, per_unit = _cycles(t_real, t_imag, is_fine)
    angle, modulus = 2.0 * math.pi * cycle_real, jnp.exp(-2.0 * math.pi * cycle_imag)
    q_real, q_imag = modulus * jnp.cos(angle), modulus * jnp.sin(angle)
    # -2 q/((1 - q) w), from q (1 - q*) = q - |q|^2
    factor = -2.0 / (((1.0 - q_real) ** 2 + q_imag**2) * w)
    correction = factor * (q_real * (1.0 - q_real) - q_imag**2), factor * q_imag
    narrow = jnp.where(poles.width > 0.0, poles.width, poles.wide)
    lost = 1.0 / narrow - 1.0 / poles.wide
    # (y^2 + w^2) times Re A and |A|^2 at y = i w; a second pole o enters through
    # Re(D_p D_o*) (y^2 + w^2) -> i w/(y_o + i w_o).
    mass, both_couplings = poles.mass[:, ::-1], 2.0 * alpha * alpha[:, ::-1]
    gap = (poles.mass - mass) * (poles.mass + mass)
    both = w + w[:, ::-1]
    other = both_couplings * w / (gap**2 + both**2)
    linear, quadratic = alpha * w, (alpha**2 + other * both, other * gap)
    scale = jnp.where(is_above, math.pi / (2.0 * m_x**2), 0.0)
    spacing = _STENCIL_SPACING / per_unit
    lagrange = _lagrange(t_imag / spacing)
    stencil = jnp.exp(t_real[:, :, None] + spacing[:, :, None] * _STENCIL)
    real, imag = product(correction, quadratic)
    return Correction(
        stencil.reshape(stencil.shape[0], -1),
        _on_stencil((-scale * correction[1] * linear, scale * correction[0] * linear), lagrange),
        _on_stencil((scale * (real + lost * alpha**2), scale * imag), lagrange),
    )


def _cycles(
    t_real: jax.Array, t_imag: jax.Array, is_fine: np.ndarray
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Number of the node at complex t, real and imaginary part; nodes per unit of Re t.

    In the row of hadrons the number is (t - t_0)/h + FINER ln[1 + exp(t - FINER_FROM)].
    """
    growth = jnp.exp(t_real - FINER_FROM)
    real, imag = 1.0 + growth * jnp.cos(t_imag), growth * jnp.sin(t_imag)
    finer_real, finer_imag = 0.5 * jnp.log(real**2 + imag**2), jnp.arctan2(imag, real)
    finer = np.where(is_fine, FINER, 0.0)
    return (
        (t_real - T_FIRST) / STEP + finer * finer_real,
        t_imag / STEP + finer * finer_imag,
        1.0 / STEP + finer * growth / (1.0 + growth),
    )


Pair = tuple[jax.Array, jax.Array]
"""Real and imaginary part."""


def product(a: Pair, b: Pair) -> Pair:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _on_stencil(weight: Pair, lagrange: Pair) -> jax.Array:
    return jnp.stack(product((weight[0][:, :, None], weight[1][:, :, None]), lagrange))


@functools.cache
def _lagrange_coefficients() -> np.ndarray:
    """(points, powers): Lagrange polynomials of the stencil, lowest power first."""
    return np.linalg.inv(np.vander(_STENCIL, increasing=True)).T.copy()


def _lagrange(r: jax.Array) -> Pair:
    """Lagrange polynomials of the stencil at i r; last axis runs over the points."""
    powers = [jnp.ones_like(r)]
    for _ in _STENCIL[1:]:
        powers.append(powers[-1] * r)
    # Even powers of i r are real, odd ones imaginary.
    c = _lagrange_coefficients() * 1j ** np.arange(_STENCIL.size)
    stacked = jnp.stack(powers, axis=-1)
    return stacked @ c.real.T, stacked @ c.imag.T

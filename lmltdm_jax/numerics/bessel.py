"""Exponentially scaled modified Bessel functions exp(x) K_n(x), n = 0, 1, 2.

Below x = 2 the ascending series (DLMF 10.31.1, 10.31.2) is summed; above, sqrt(x) exp(x) K_n(x)
is a Chebyshev series in 4/x - 1. The coefficients come from
``scripts/generate_bessel_coefficients.py`` (mpmath, 50 digits). K_2 follows from the recurrence
K_2 = K_0 + 2 K_1/x, which adds positive numbers and so loses no digits.

All functions take real x > 0 of any shape, are elementwise, and are safe under ``jit``, ``vmap``
and repeated differentiation. Relative error is about 1e-15 for 1e-8 < x < 1e8.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from lmltdm_jax.numerics import _bessel_coefficients as _c


def _horner(coefficients: Sequence[float], t: jax.Array) -> jax.Array:
    total = jnp.full_like(t, coefficients[-1])
    for c in coefficients[-2::-1]:
        total = total * t + c
    return total


def _clenshaw(coefficients: Sequence[float], z: jax.Array) -> jax.Array:
    b1 = b2 = jnp.zeros_like(z)
    for c in coefficients[:0:-1]:
        b1, b2 = 2.0 * z * b1 - b2 + c, b1
    return z * b1 - b2 + coefficients[0]


def _branches(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """(is_small, x for the series, x for the Chebyshev branch, Chebyshev variable)."""
    x = jnp.asarray(x, dtype=float)
    small = x <= _c.SPLIT
    # Each branch gets a harmless argument outside its range: no NaN reaches a gradient.
    x_small = jnp.where(small, x, 1.0)
    x_large = jnp.where(small, 2.0 * _c.SPLIT, x)
    return small, x_small, x_large, 2.0 * _c.SPLIT / x_large - 1.0


def _k0e_series(x: jax.Array) -> jax.Array:
    t = 0.25 * x * x
    return jnp.exp(x) * (_horner(_c.P0, t) - jnp.log(0.5 * x) * _horner(_c.I0, t))


def _k1e_series(x: jax.Array) -> jax.Array:
    t = 0.25 * x * x
    bracket = jnp.log(0.5 * x) * _horner(_c.I1, t) - _horner(_c.P1, t)
    return jnp.exp(x) * (1.0 / x + 0.5 * x * bracket)


def k0e(x: jax.Array) -> jax.Array:
    """exp(x) K_0(x) for x > 0 (dimensionless, elementwise)."""
    small, xs, xl, z = _branches(x)
    return jnp.where(small, _k0e_series(xs), _clenshaw(_c.C0, z) / jnp.sqrt(xl))


def k1e(x: jax.Array) -> jax.Array:
    """exp(x) K_1(x) for x > 0 (dimensionless, elementwise)."""
    small, xs, xl, z = _branches(x)
    return jnp.where(small, _k1e_series(xs), _clenshaw(_c.C1, z) / jnp.sqrt(xl))


def k2e(x: jax.Array) -> jax.Array:
    """exp(x) K_2(x) = exp(x) [K_0(x) + 2 K_1(x)/x] for x > 0 (dimensionless, elementwise)."""
    return k0e(x) + 2.0 * k1e(x) / jnp.asarray(x, dtype=float)

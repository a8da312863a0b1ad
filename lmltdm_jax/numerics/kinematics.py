"""Two-body kinematics, safe below threshold."""

import jax

from lmltdm_jax.numerics.safe import safe_sqrt


def kallen(a: jax.Array, b: jax.Array, c: jax.Array) -> jax.Array:
    """K(a, b, c) = a^2 + b^2 + c^2 - 2(ab + bc + ca), factorised in a against cancellation.

    Equals (a - b - c)^2 - 4 b c; GeV^4 for squared masses.
    """
    return (a - b - c) ** 2 - 4.0 * b * c


def beta(mass_squared: jax.Array, s: jax.Array) -> jax.Array:
    """Velocity sqrt(1 - 4 m^2/s) of a pair of equal masses; 0 (gradient 0) below threshold."""
    return safe_sqrt(1.0 - 4.0 * mass_squared / s)

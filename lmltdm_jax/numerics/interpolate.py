"""Smooth interpolation of tables: continuous first and second derivative, safe outside."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline


class Spline(eqx.Module):
    """Natural cubic spline through (x_i, y_i); linear continuation outside (C1 there).

    ``knots`` (n,), ``coefficients`` (4, n-1) with the highest power first, about the left knot.
    """

    knots: np.ndarray
    coefficients: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray) -> "Spline":
        """Spline through the table; ``x`` strictly increasing, any spacing."""
        spline = CubicSpline(x, y, bc_type="natural")
        return cls(np.asarray(spline.x), np.asarray(spline.c))

    def __call__(self, x: jax.Array) -> jax.Array:
        knots = jnp.asarray(self.knots)
        inside = jnp.clip(x, knots[0], knots[-1])
        index = jnp.clip(jnp.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
        c3, c2, c1, c0 = jnp.asarray(self.coefficients)[:, index]
        t = inside - knots[index]
        value = ((c3 * t + c2) * t + c1) * t + c0
        slope = (3.0 * c3 * t + 2.0 * c2) * t + c1
        # The clip kills the gradient outside; the linear term restores it with the edge slope.
        return value + jax.lax.stop_gradient(slope) * (x - inside)

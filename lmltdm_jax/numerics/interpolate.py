"""Smooth interpolation of tables: continuous first and second derivative, safe outside."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline, make_interp_spline


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


class SplineRows(NamedTuple):
    """Several splines evaluated at once: row r of the argument belongs to spline r.

    Same numbers as :class:`Spline`, in as many operations as one of them.
    """

    knots: np.ndarray
    """(rows, n); infinite beyond the last knot of a shorter spline"""
    last: np.ndarray
    """(rows,): last knot"""
    pieces: np.ndarray
    """(rows, n - 1, 5): coefficients, highest power first, and the left knot"""

    @classmethod
    def stack(cls, splines: Sequence[Spline]) -> "SplineRows":
        """Rows in the order given."""
        size = max(len(s.knots) for s in splines)
        knots = np.full((len(splines), size), np.inf)
        pieces = np.zeros((len(splines), size - 1, 5))
        for row, spline in enumerate(splines):
            n = len(spline.knots)
            knots[row, :n] = spline.knots
            pieces[row, : n - 1, :4] = spline.coefficients.T
            pieces[row, : n - 1, 4] = spline.knots[:-1]
        return cls(knots, np.array([s.knots[-1] for s in splines]), pieces)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Values at ``x`` (rows, ...)."""
        column = (slice(None),) + (None,) * (x.ndim - 1)
        inside = jnp.clip(x, self.knots[:, 0][column], self.last[column])
        # The last knot belongs to the last piece.
        edges = np.where(self.knots >= self.last[:, None], np.inf, self.knots)[column[:1]]
        edges = edges.reshape(edges.shape[0], *(1,) * (x.ndim - 1), -1)
        index = jnp.sum(inside[..., None] >= edges, axis=-1) - 1
        rows = np.arange(len(self.last))[column]
        c3, c2, c1, c0, left = jnp.moveaxis(jnp.asarray(self.pieces)[rows, index], -1, 0)
        t = inside - left
        value = ((c3 * t + c2) * t + c1) * t + c0
        slope = (3.0 * c3 * t + 2.0 * c2) * t + c1
        return value + jax.lax.stop_gradient(slope) * (x - inside)


class GridSpline(NamedTuple):
    """Cubic spline through a table on a grid of evenly spaced axes, two continuous derivatives.

    The two cells at each end share one polynomial (not-a-knot). Held as coefficients of B-splines:
    a value is a sum over four of them along each axis.
    """

    origin: np.ndarray
    """(axes,)"""
    cell: np.ndarray
    """(axes,) spacing"""
    coefficients: np.ndarray
    """(nodes + 2 of each axis ..., columns)"""

    @classmethod
    def fit(cls, axes: Sequence[np.ndarray], values: np.ndarray) -> "GridSpline":
        """``values`` (nodes of each axis ..., columns) at all combinations of ``axes``."""
        cells = [(axis[-1] - axis[0]) / (len(axis) - 1) for axis in axes]
        for k, (axis, cell) in enumerate(zip(axes, cells, strict=True)):
            even = axis[0] + cell * np.arange(len(axis))
            knots = axis[0] + cell * np.arange(-3, len(axis) + 3)
            ends = CubicSpline(even, values, axis=k)(even[[0, -1]], 2)
            bends = tuple([(2, end)] for end in np.moveaxis(ends, k, 0))
            spline = make_interp_spline(even, values, k=3, t=knots, bc_type=bends, axis=k)
            values = np.moveaxis(spline.c, 0, k)
        return cls(np.array([axis[0] for axis in axes]), np.array(cells), values)

    def __call__(self, *x: jax.Array) -> jax.Array:
        """Values (..., columns) at one array (...) for each axis; inside the grid only."""
        n = len(x)
        at: list[jax.Array] = []
        weights: list[jax.Array] = []
        for k, (coordinate, size) in enumerate(zip(x, self.coefficients.shape, strict=False)):
            u = (coordinate - self.origin[k]) / self.cell[k]
            first = jnp.clip(jax.lax.stop_gradient(jnp.floor(u)).astype(int), 0, size - 4)
            t = (u - first)[..., None]
            weights.append(_cubic_b_splines(t))
            index = first[..., None] + np.arange(4)
            at.append(jnp.expand_dims(index, [a - n for a in range(n) if a != k]))
        value = jnp.asarray(self.coefficients)[tuple(at)]
        for weight in weights:
            # What is left of the table flat: the next axis is the first of it.
            value = jnp.einsum("...i,...ij->...j", weight, value.reshape(*weight.shape, -1))
        return value


def _cubic_b_splines(t: jax.Array) -> jax.Array:
    """The four cubic B-splines that are not zero at ``t`` (..., 1) in [0, 1], (..., 4)."""
    s = 1.0 - t
    middle = 4.0 - 6.0 * t**2 + 3.0 * t**3, 4.0 - 6.0 * s**2 + 3.0 * s**3
    return jnp.concatenate([s**3, *middle, t**3], axis=-1) / 6.0

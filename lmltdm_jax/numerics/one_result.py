"""Slopes of a function with one result: found in reverse, also by forward mode."""

from __future__ import annotations

from collections.abc import Callable

import jax


def one_result(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """``function(x)``, the same in value and slopes; cheaper under ``jax.jacfwd``.

    Forward mode carries one tangent for each direction through all of ``function``; where a wide
    table ends in one number, one pass in reverse costs less than two of them. Here forward mode
    takes the gradient from that, once for all directions, and is left with a product.

    Args:
        function: x (n,) to a scalar; of nothing else that is differentiated.
        x: where.
    """

    @jax.custom_jvp
    def same(x: jax.Array) -> jax.Array:
        return function(x)

    @same.defjvp
    def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]):
        value, gradient = jax.value_and_grad(function)(*primals)
        return value, gradient @ tangents[0]

    return same(x)

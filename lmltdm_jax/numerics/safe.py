"""Functions whose value and gradient stay finite where a formula closes (double-where pattern)."""

import jax
import jax.numpy as jnp


@jax.custom_jvp
def safe_sqrt(x: jax.Array) -> jax.Array:
    """sqrt(x) for x > 0 and 0 below, with gradient 0 (not NaN) at and below zero."""
    return jnp.sqrt(jnp.maximum(x, 0.0))


@safe_sqrt.defjvp
def _safe_sqrt_jvp(primals: tuple[jax.Array], tangents: tuple[jax.Array]):
    root = safe_sqrt(*primals)
    positive = root > 0.0
    return root, jnp.where(positive, 0.5 / jnp.where(positive, root, 1.0), 0.0) * tangents[0]


def safe_log(x: jax.Array, floor: float = 1e-300) -> jax.Array:
    """log(x), with log(floor) and gradient 0 where x <= floor: log-densities stay finite."""
    positive = x > floor
    return jnp.log(jnp.where(positive, x, floor))


def safe_divide(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """numerator / denominator, and 0 with gradient 0 where the denominator is 0."""
    ok = denominator != 0.0
    return jnp.where(ok, numerator / jnp.where(ok, denominator, 1.0), 0.0)

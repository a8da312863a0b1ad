"""Scaled Bessel functions against scipy, their derivatives against recurrences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from lmltdm_jax.numerics.bessel import k0e, k1e, k2e

FUNCTIONS = [(k0e, 0), (k1e, 1), (k2e, 2)]
X = np.unique(np.concatenate([np.geomspace(1e-8, 1e8, 2001), np.linspace(1.9, 2.1, 401)]))


@pytest.mark.parametrize(("function", "order"), FUNCTIONS)
def test_values(function, order):
    value = np.asarray(jax.jit(function)(X))
    # scipy's own error is up to a few 1e-15
    np.testing.assert_allclose(value, special.kve(order, X), rtol=1e-14)


@pytest.mark.parametrize(("function", "order"), FUNCTIONS)
@pytest.mark.parametrize("x", [1e-8, 1e-3, 0.5, 1.999, 2.0, 2.001, 7.0, 300.0, 1e6])
def test_against_mpmath(function, order, x):
    mp = pytest.importorskip("mpmath")
    with mp.workdps(40):
        exact = float(mp.exp(x) * mp.besselk(order, x))
    assert abs(float(jax.jit(function)(x)) / exact - 1) < 5e-15


def _first(order, x):
    return special.kve(order, x) + special.kvp(order, x, 1) * np.exp(x)


def _second(order, x):
    k, k1, k2 = (special.kvp(order, x, n) for n in range(3))
    return np.exp(x) * (k + 2 * k1 + k2)


@pytest.mark.parametrize(("function", "order"), FUNCTIONS)
def test_derivatives(function, order):
    x = np.concatenate([np.geomspace(1e-4, 20.0, 301), [2.0]])
    first = jax.jit(jax.vmap(jax.grad(function)))(x)
    second = jax.jit(jax.vmap(jax.grad(jax.grad(function))))(x)
    # the reference cancels for large x, hence not tighter
    np.testing.assert_allclose(first, _first(order, x), rtol=1e-10)
    np.testing.assert_allclose(second, _second(order, x), rtol=1e-8)


@pytest.mark.parametrize(("function", "order"), FUNCTIONS)
def test_gradients_finite_and_modes_agree(function, order):
    x = jnp.geomspace(1e-8, 1e8, 400)
    reverse = jax.jit(jax.vmap(jax.grad(function)))(x)
    forward = jax.jit(jax.vmap(jax.jacfwd(function)))(x)
    assert np.all(np.isfinite(reverse))
    np.testing.assert_allclose(reverse, forward, rtol=1e-11)

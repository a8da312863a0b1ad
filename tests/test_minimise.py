"""Slopes that a minimisation takes, whatever is free (test_profile.py has its minima)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lmltdm_jax.inference.bounds import Bounds
from lmltdm_jax.inference.fit import build_target
from lmltdm_jax.inference.minimise import _derivatives
from lmltdm_jax.inference.profile_grid import scannable
from toy_target import Toy


class Wavy(Toy):
    """Residuals that all depend on all coordinates, and a part of chi2 that is no square."""

    def residuals(self, u):
        return jnp.sin(jnp.outer(jnp.arange(1.0, 4.0), u)).sum(axis=1)

    def chi2(self, u):
        return jnp.sum(self.residuals(u) ** 2) + jnp.sum(jnp.cos(jnp.arange(1.0, 8.0) * u))


@pytest.fixture(scope="module")
def wavy(talk2024):
    plain = scannable(build_target(talk2024), ["lambda_phix"])
    return Wavy(plain.coordinates, plain.likelihood)


@pytest.mark.parametrize("fixed", [[], [3], [0, 6], [0, 3, 6], [0, 1, 2, 4, 5, 6], [*range(7)]])
def test_derivatives_along_what_is_free(fixed, wavy):
    """Each axis in its place however often the loop goes round; none of what is fixed."""
    free = np.ones(wavy.dimension, bool)
    free[fixed] = False
    bounds = Bounds(wavy.coordinates, jnp.asarray(free))
    v = bounds.from_y(np.random.default_rng(1).normal(size=(3, wavy.dimension)))

    def parts(v):
        return wavy.fit_quality(bounds.to_y(v))

    found = jax.jit(functools.partial(_derivatives, wavy, bounds))(jnp.asarray(free), v)
    log_likelihood, _ = jax.vmap(parts)(v)
    gradient, slopes = jax.vmap(jax.jacfwd(parts))(v)
    slopes = jnp.where(free, slopes, 0.0)
    expected = -2.0 * log_likelihood, jnp.where(free, -gradient, 0.0), slopes.mT @ slopes
    assert np.abs(expected[1][:, free]).min(initial=1.0) > 1e-3
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)

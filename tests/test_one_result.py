"""A function whose slopes are found in reverse: the same numbers, whichever mode asks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lmltdm_jax.inference import fit as fitting
from lmltdm_jax.inference import smc

from lmltdm_jax.numerics.one_result import one_result


def wide(x):
    """One number behind a table."""
    return jnp.log(jnp.sum(jnp.exp(-jnp.arange(1.0, 50.0) * x[0] ** 2 + x[1] * x[2])))


def wrapped(x):
    return one_result(wide, x)


@pytest.mark.parametrize(
    "derivative", [jax.grad, jax.jacfwd, jax.hessian, lambda f: jax.jacfwd(jax.jacfwd(f))]
)
def test_same_in_value_and_slopes(derivative):
    x = np.random.default_rng(1).normal(size=(5, 3))
    np.testing.assert_array_equal(jax.vmap(wrapped)(x), jax.vmap(wide)(x))
    expected = jax.vmap(derivative(wide))(x)
    np.testing.assert_allclose(jax.vmap(derivative(wrapped))(x), expected, rtol=1e-12, atol=1e-12)


def test_forward_mode_goes_through_the_function_once():
    """However many directions there are: the table is not carried along each."""
    text = str(jax.make_jaxpr(jax.jacfwd(wrapped))(jnp.ones(3)))
    assert "f64[49]" in text and "f64[3,49]" not in text and "f64[49,3]" not in text
    assert "f64[3,49]" in str(jax.make_jaxpr(jax.jacfwd(wide))(jnp.ones(3)))


def test_what_a_minimiser_reads_has_the_slopes_of_the_likelihood(current):
    """The pull and the term of the relic density, with an error that varies, too."""
    others = [t.name for t in current.term_list if t.name != "relic_density"]
    relic_only = dataclasses.replace(current.without(*others), nuisance_names=())
    target = fitting.build_target(relic_only)
    assert relic_only.term_list[0].varying_error

    def plain(y):
        _, evaluation = target._evaluation(y)
        return evaluation.terms["relic_density"], jnp.stack(list(evaluation.pulls.values()))

    y = smc.prior_draws(target, 12, np.random.default_rng(3))
    expected, found = (
        jax.jit(jax.vmap(lambda y, f=f: (f(y), jax.jacfwd(f)(y))))(y)
        for f in (plain, target.fit_quality)
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert np.isfinite(a).all() and np.abs(b).max() > 1.0
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9 * np.abs(b).max())

"""lambda_phix of a wanted relic density: both branches, none, gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmltdm_jax import Parameters
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.observables.relic_coupling import RANGE, lambda_for_relic
from lmltdm_jax.observables.relic_density import omega_h2
from lmltdm_jax.widths import build_widths

SM = StandardModel.load("talk2024")
BENCHMARK = Parameters.benchmark()
MASSES = np.geomspace(0.012, 15.0, 12)


def of_mass(m_x):
    return BENCHMARK.replace(m_x=m_x)


@functools.cache
def couplings():
    run = top_level_jit(
        lambda m: jax.lax.map(lambda x: lambda_for_relic(of_mass(x), SM), m, batch_size=16)
    )
    return jax.tree.map(np.asarray, run(jnp.asarray([*MASSES, BENCHMARK.m_x])))


@functools.cache
def omega():
    def one(pair):
        point = build_point(of_mass(pair[0]).replace(lambda_phix=pair[1]), SM)
        return omega_h2(point, build_widths(point))

    return top_level_jit(lambda pairs: jax.lax.map(one, pairs, batch_size=32))


def test_the_benchmark_is_on_the_small_branch():
    """Its coupling is another code's solution, which agrees to 3e-3 in Omega ~ lambda^-2."""
    assert couplings().low[-1] == pytest.approx(BENCHMARK.lambda_phix, rel=1.5e-3)


def test_roots_give_the_target_and_agree_with_a_fine_scan():
    """A scan twenty times finer than the search finds the same first fall and last rise."""
    found, grid = couplings(), np.geomspace(*RANGE, 1500)
    masses = np.array([*MASSES, BENCHMARK.m_x])
    for i, m in enumerate(masses):
        values = np.asarray(omega()(np.stack([np.full(1500, m), grid], axis=1)))
        below = values <= 0.12
        falls = np.flatnonzero(~below[:-1] & below[1:])
        rises = np.flatnonzero(below[:-1] & ~below[1:])
        assert found.has_low[i] == bool(len(falls)) and found.has_high[i] == bool(len(rises)), m
        for has, root, where in (
            (len(falls), found.low[i], falls[:1]),
            (len(rises), found.high[i], rises[-1:]),
        ):
            assert np.isnan(root) == (not has)
            if has:
                assert grid[where[0]] <= root <= grid[where[0] + 1]
    both = [(m, r) for roots in (found.low, found.high) for m, r in zip(masses, roots, strict=True)]
    pairs = np.array([pair for pair in both if np.isfinite(pair[1])])
    padded = np.concatenate([pairs, np.repeat(pairs[-1:], 32, axis=0)])[:32]
    np.testing.assert_allclose(omega()(padded), 0.12, rtol=1e-9)
    assert found.has_low.sum() >= 6 and found.has_high.sum() >= 3


def test_derivative_is_that_of_the_implicit_function():
    def log_low(log_m, log_target):
        target = jnp.exp(log_target)
        return jnp.log(lambda_for_relic(of_mass(jnp.exp(log_m)), SM, target).low)

    at = jnp.log(0.3), jnp.log(0.12)
    run = top_level_jit(jax.value_and_grad(log_low, argnums=(0, 1)))
    _, gradient = run(*at)
    for i in range(2):
        step = 1e-4 * np.eye(2)[i]
        up, down = (run(at[0] + s * step[0], at[1] + s * step[1])[0] for s in (1.0, -1.0))
        assert float(gradient[i]) == pytest.approx(float(up - down) / 2e-4, rel=1e-5)

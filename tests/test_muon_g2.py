"""Muon g-2 loops against 30-digit integrals, limits and their own derivatives."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.muon_g2 import delta_a_mu, scalar_loop, zp_loop
from lmltdm_jax.parameters import PARAMETER_NAMES, Parameters

GOLDEN = json.loads((Path(__file__).parent / "golden" / "gm2_widths.json").read_text())
INPUTS = GOLDEN["inputs"]
SM = StandardModel.load("talk2024").replace(
    m_mu=INPUTS["mmu"], v_h=INPUTS["vH"], m_h2=INPUTS["mH2"]
)


@pytest.mark.parametrize("row", GOLDEN["da_mu_vector"][1:])
def test_zp_loop_agrees_with_the_reference(row):
    r = (row["mZp"] / INPUTS["mmu"]) ** 2
    assert float(zp_loop(r)) == pytest.approx(row["F"], rel=1e-12)


@pytest.mark.parametrize("row", GOLDEN["da_mu_scalar_st2_1"])
def test_scalar_loops_agree_with_the_reference(row):
    factor = (INPUTS["mmu"] / INPUTS["vH"]) ** 2 / (8 * math.pi**2)
    h1 = factor * scalar_loop((row["mH1"] / INPUTS["mmu"]) ** 2)
    h2 = -factor * scalar_loop((INPUTS["mH2"] / INPUTS["mmu"]) ** 2)
    assert float(h1) == pytest.approx(row["H1"], rel=1e-10)
    assert float(h2) == pytest.approx(row["H2shift"], rel=1e-10)


def test_benchmark():
    params = Parameters.benchmark().replace(sin_theta=1e-9)
    value = float(delta_a_mu(build_point(params, SM)))
    assert value == pytest.approx(GOLDEN["da_mu_benchmark"], rel=1e-10)


def exact(numerator, r):
    """int_0^1 numerator(x)/(x^2 + (1-x) r) dx with 30 digits."""
    with mp.workdps(30):
        r = mp.mpf(r)
        near_0, near_1 = min(mp.sqrt(r), 1), 1 - min(1 / r, 1) / 2
        points = {mp.mpf(0), mp.mpf(1), near_0 / 3, near_0, near_1}
        points |= {min(10**k * mp.sqrt(r), mp.mpf(1)) for k in range(1, 7)}
        points |= {1 - min(10**k / r, mp.mpf(1)) for k in range(1, 11)}
        nodes = sorted(points)
        return float(mp.quad(lambda x: numerator(x) / (x * x + (1 - x) * r), nodes))


@pytest.mark.parametrize("r", [1e-10, 1e-4, 0.3, 0.999999, 1.0, 3.999, 4.0, 30.0, 1e4, 1e10])
def test_loops_over_every_mass(r):
    """m_zp and m_h1 from 1e-6 to 1e4 GeV; r = 4 is where the closed form changes branch."""
    assert float(zp_loop(r)) == pytest.approx(exact(lambda x: 2 * x * x * (1 - x), r), rel=1e-11)
    assert float(scalar_loop(r)) == pytest.approx(exact(lambda x: x * x * (2 - x), r), rel=1e-11)


def test_limits():
    assert float(zp_loop(1e-12)) == pytest.approx(1.0, abs=4e-6)
    assert float(zp_loop(1e12)) == pytest.approx(2.0 / 3e12, rel=1e-10)
    assert float(scalar_loop(1e-12)) == pytest.approx(1.5, abs=1e-5)
    r = 1e9
    assert float(scalar_loop(r)) == pytest.approx((math.log(r) - 7 / 6) / r, rel=1e-7)


@given(log_r=st.floats(-10.0, 10.0))
@settings(max_examples=30, deadline=None)
def test_loops_decrease_and_gradients_match_differences(log_r):
    for loop in (zp_loop, scalar_loop):

        def logarithm(t, loop=loop):
            return jnp.log(loop(10.0**t))

        value, slope = jax.value_and_grad(logarithm)(log_r)
        step = 1e-4
        difference = (logarithm(log_r + step) - logarithm(log_r - step)) / (2 * step)
        assert math.isfinite(float(value)) and float(slope) < 0.0
        assert float(slope) == pytest.approx(float(difference), rel=1e-5, abs=1e-8)


@given(scale=st.floats(0.1, 10.0), sign=st.sampled_from([-1.0, 1.0]))
@settings(max_examples=10, deadline=None)
def test_scaling_with_couplings(scale, sign):
    params = Parameters.benchmark()

    def of(**changes):
        return float(delta_a_mu(build_point(params.replace(**changes), SM)))

    no_scalars = of(sin_theta=1e-12)
    assert of(sin_theta=1e-12, g_x=5e-4 * scale) == pytest.approx(scale**2 * no_scalars, rel=1e-9)
    assert of(sin_theta=sign * 6e-3) == of(sin_theta=6e-3)


def test_gradient_forward_equals_reverse():
    vector = Parameters.benchmark().to_vector()

    def function(v):
        return delta_a_mu(build_point(Parameters.from_vector(v), SM))

    forward, reverse = jax.jacfwd(function)(vector), jax.jacrev(function)(vector)
    np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-25)
    # d ln / d ln g_x = 2 up to the scalars.
    index = PARAMETER_NAMES.index("g_x")
    logarithmic = float(forward[index] * vector[index] / function(vector))
    assert logarithmic == pytest.approx(2.0, abs=1e-3)

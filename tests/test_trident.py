"""CCFR trident ratio against the independent EPA calculation and its limits."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.trident import trident_ratio_ccfr
from lmltdm_jax.parameters import Parameters

GOLDEN = json.loads((Path(__file__).parent / "golden" / "trident.json").read_text())
INPUTS = GOLDEN["inputs"]
SM = StandardModel.load("talk2024").replace(
    g_f=INPUTS["GF"], sin2_theta_w=INPUTS["sw2"], m_mu=INPUTS["mmu"]
)
TABLE = GOLDEN["CCFR_Fe_160"]


def ratio(m_zp, g_x):
    params = Parameters.benchmark().replace(m_zp=m_zp, g_x=g_x)
    return trident_ratio_ccfr(build_point(params, SM))


@pytest.mark.parametrize("g_x", [1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("index", range(0, len(TABLE["m"]), 2))
def test_agrees_with_the_reference_integrals(index, g_x):
    """Tolerance 1e-3: reference d_n integrate the same kernel on its own nodes."""
    v2 = 1.0 / (math.sqrt(2.0) * INPUTS["GF"])
    g_v, g_a = INPUTS["gV"], INPUTS["gA"]
    standard_model = g_v**2 * TABLE["HV"] + g_a**2 * TABLE["HA"]
    linear = 2 * g_v * v2 * g_x**2 * TABLE["d1"][index]
    square = v2**2 * g_x**4 * TABLE["d2"][index]
    expected = 1.0 + (linear + square) / standard_model
    got = ratio(TABLE["m"][index], g_x)
    assert float(got - 1.0) == pytest.approx(expected - 1.0, rel=1e-3)


def test_no_coupling_is_the_standard_model():
    assert float(ratio(0.01, 1e-12)) == pytest.approx(1.0, abs=1e-12)


def test_heavy_limit_is_the_contact_interaction():
    """R -> [(g_V + x)^2 H_V + g_A^2 H_A]/[g_V^2 H_V + g_A^2 H_A], x = v^2 g^2/m^2."""
    m, g_x = 1e4, 10.0
    x = g_x**2 / (math.sqrt(2.0) * INPUTS["GF"] * m**2)
    g_v, g_a = INPUTS["gV"], INPUTS["gA"]
    h_v, h_a = TABLE["HV"], TABLE["HA"]
    expected = ((g_v + x) ** 2 * h_v + g_a**2 * h_a) / (g_v**2 * h_v + g_a**2 * h_a)
    assert float(ratio(m, g_x)) == pytest.approx(expected, rel=1e-3)


def test_light_limit_does_not_depend_on_the_mass():
    assert float(ratio(1e-5, 1e-3)) == pytest.approx(float(ratio(1e-6, 1e-3)), rel=1e-3)


def test_gradient_against_finite_differences():
    point = jnp.array([0.02, 8e-4])
    gradient = jax.grad(lambda v: ratio(v[0], v[1]))(point)
    for i in range(2):
        step = point[i] * 1e-5
        up, down = point.at[i].add(step), point.at[i].add(-step)
        numeric = (ratio(*up) - ratio(*down)) / (2 * step)
        assert float(gradient[i]) == pytest.approx(float(numeric), rel=1e-6)

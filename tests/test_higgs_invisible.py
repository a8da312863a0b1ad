"""Invisible width of the 125 GeV Higgs."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

from lmltdm_jax.constants import HBARC_GEV_M
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.higgs_invisible import (
    br_h2_invisible,
    br_h2_invisible_talk,
    h1_unseen_fraction,
)
from lmltdm_jax.parameters import PARAMETER_NAMES, Parameters
from lmltdm_jax.widths import build_widths

GOLDEN = json.loads((Path(__file__).parent / "golden" / "gm2_widths.json").read_text())
INPUTS = GOLDEN["inputs"]
SM = StandardModel.load("talk2024").replace(
    m_e=INPUTS["me"],
    m_mu=INPUTS["mmu"],
    m_tau=INPUTS["mtau"],
    m_h2=INPUTS["mH2"],
    v_h=INPUTS["vH"],
    gamma_h2_sm=INPUTS["Gam_SM"],
)


def params_of(row):
    g_x = row["mZp"] / (0.4 * row["vPhi"])
    return Parameters(row["mZp"], g_x, row["st"], row["mX"], row["mH1"], 0.4, row["lamPhiX"])


def both(params):
    point = build_point(params, SM)
    widths = build_widths(point)
    return br_h2_invisible_talk(widths), br_h2_invisible(point, widths)


@pytest.mark.parametrize("row", GOLDEN["scalar_widths"])
def test_talk_formula_agrees_with_the_reference(row):
    talk, _ = both(params_of(row))
    assert float(talk) == pytest.approx(row["H2"]["Br_inv_talk"], rel=1e-6)


@pytest.mark.parametrize("row", GOLDEN["scalar_widths"])
def test_full_formula_is_the_cosine_variant_when_everything_is_unseen(row):
    params = params_of(row)
    point = build_point(params, SM)
    widths = build_widths(point)
    unseen = float(h1_unseen_fraction(point, widths))
    full = float(br_h2_invisible(point, widths))
    assert full <= row["H2"]["Br_inv_cos2"] * (1 + 1e-6)
    if unseen > 1.0 - 1e-7:
        # Z' -> e+ e- (2e-5) is not invisible.
        assert full == pytest.approx(row["H2"]["Br_inv_cos2"], rel=1e-4)


@pytest.mark.parametrize("row", GOLDEN["sinth_max_Brinv"])
def test_largest_mixing(row):
    """sin(theta) at which the talk's formula reaches the limit, m_h1 = 2 GeV, v_phi = 57.5 GeV."""

    def excess(sin_theta):
        params = Parameters.benchmark().replace(sin_theta=sin_theta, lambda_phix=0.0)
        return float(both(params)[0]) - row["limit"]

    assert brentq(excess, 1e-4, 0.05, xtol=1e-12) == pytest.approx(row["sinth_max"], rel=1e-6)


def test_long_lived_h1_is_invisible_and_short_lived_is_not():
    """m_x and m_zp above m_h1/2: only SM decays; c tau from metres to much shorter with m_h1."""
    params = Parameters.benchmark().replace(m_zp=2.0, m_x=5.0, sin_theta=1e-3)
    for m_h1, sin_theta, seen in ((0.05, 1e-6, False), (3.0, 0.1, True)):
        point = build_point(params.replace(m_h1=m_h1, sin_theta=sin_theta), SM)
        fraction = float(h1_unseen_fraction(point, build_widths(point)))
        assert fraction == pytest.approx(0.0 if seen else 1.0, abs=1e-6)


def test_decay_length():
    """Unseen fraction exp(-10 m m_h1 Gamma/(p hbar c)) when nothing is invisible."""
    params = Parameters.benchmark().replace(m_zp=2.0, m_x=5.0, m_h1=0.3, sin_theta=2e-4)
    point = build_point(params, SM)
    widths = build_widths(point)
    momentum = np.sqrt(SM.m_h2**2 / 4 - 0.09)
    length = momentum / 0.3 * HBARC_GEV_M / float(widths.h1.total)
    fraction = float(h1_unseen_fraction(point, widths))
    assert 0.01 < fraction < 0.99
    assert fraction == pytest.approx(np.exp(-10.0 / length), rel=1e-9)


def test_values_and_gradients_are_finite_at_thresholds():
    def function(vector):
        return jnp.stack(both(Parameters.from_vector(vector)))

    base = Parameters.benchmark().to_vector()
    half = SM.m_h2 / 2
    edges = [("m_h1", half), ("m_x", half), ("m_zp", half), ("m_x", 1.0), ("m_h1", 0.023)]
    edges += [("m_h1", 2 * SM.m_mu), ("m_h1", 2 * SM.m_e), ("m_zp", 2 * SM.m_mu)]
    vectors = jnp.stack(
        [
            base.at[PARAMETER_NAMES.index(name)].set(value * (1 + shift))
            for name, value in edges
            for shift in (-1e-9, 0.0, 1e-9)
        ]
    )
    values = jax.jit(jax.vmap(function))(vectors)
    slopes = jax.jit(jax.vmap(jax.jacrev(function)))(vectors)
    assert np.all(np.isfinite(values)) and np.all(np.isfinite(slopes))
    assert np.all((values >= 0.0) & (values <= 1.0))


def test_gradients_forward_reverse_and_finite_difference():
    rng = np.random.default_rng(8)
    base = np.asarray(Parameters.benchmark().to_vector())
    logs = jnp.log(base * np.exp(rng.uniform(-1.0, 1.0, (20, base.size))))

    def function(log_vector):
        return jnp.log(jnp.stack(both(Parameters.from_vector(jnp.exp(log_vector)))))

    forward = jax.jit(jax.vmap(jax.jacfwd(function)))(logs)
    reverse = jax.jit(jax.vmap(jax.jacrev(function)))(logs)
    np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-10)
    value = jax.jit(jax.vmap(function))
    step = 1e-6
    for i in range(base.size):
        unit = step * jnp.eye(base.size)[i]
        difference = (value(logs + unit) - value(logs - unit)) / (2 * step)
        np.testing.assert_allclose(forward[..., i], difference, rtol=1e-5, atol=1e-7)

"""B+ -> K+ invisible: form factors, two-body, zero-width and unified rates."""

import functools
import itertools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from lmltdm_jax.constants import HBAR_GEV_S
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.observables import line_quadrature
from lmltdm_jax.observables.b_to_k import (
    br_bplus_kplus_np,
    dgamma_dq2,
    gamma_b_to_k_h1,
    gamma_b_to_k_xx_zero_width,
)
from lmltdm_jax.observables.form_factors import (
    coefficient_covariance,
    f_plus,
    f_tensor,
    f_zero,
    hpqcd22,
)
from lmltdm_jax.parameters import PARAMETER_NAMES, PARAMETER_TABLE, Parameters
from lmltdm_jax.widths import build_widths

GOLDEN = json.loads((Path(__file__).parent / "golden" / "flavour.json").read_text())
INPUTS = GOLDEN["inputs"]
SM = StandardModel.load("talk2024").replace(
    m_e=INPUTS["me"],
    m_mu=INPUTS["mmu"],
    m_tau=INPUTS["mtau"],
    m_h2=INPUTS["mH2"],
    gamma_h2_sm=4.1e-3,
    v_h=INPUTS["vH"],
    kappa_sb=INPUTS["kappa_sb"],
    m_b=INPUTS["mb"],
    m_s=INPUTS["ms"],
    m_bplus=INPUTS["mBp"],
    m_kplus=INPUTS["mKp"],
    tau_bplus=INPUTS["tauBp"],
)
PER_HBAR = SM.tau_bplus / HBAR_GEV_S
END = SM.m_bplus - SM.m_kplus


def vector_of(row, **changes):
    params = Parameters(
        0.0115, 5e-4, row["sin_th"], row["m_X"], row["m_H1"], 0.4, row["lambda_PhiX"]
    )
    return params.replace(**changes).to_vector()


def unified(vector):
    point = build_point(Parameters.from_vector(vector), SM)
    return br_bplus_kplus_np(point, build_widths(point))


BATCH = 32


@functools.cache
def compiled(kind):
    function = {
        "value": unified,
        "reverse": jax.jacrev(unified),
        "forward": jax.jacfwd(unified),
    }[kind]
    return jax.jit(jax.vmap(function))


def evaluate(kind, vectors):
    """Rates or gradients of (n, 8) vectors in batches of one shape: a single compilation."""
    vectors = np.asarray(vectors)
    n = len(vectors)
    padded = np.concatenate([vectors, np.repeat(vectors[-1:], -n % BATCH, axis=0)])
    chunks = [compiled(kind)(c) for c in np.split(padded, len(padded) // BATCH)]
    return np.concatenate([np.asarray(c) for c in chunks])[:n]


def unified_at(*vectors):
    return evaluate("value", np.stack(vectors))


def test_unified_rate_agrees_with_the_reference():
    """1e-5: the reference has no hadronic H1 width (up to 4e-7 here)."""
    rates = unified_at(*(vector_of(row) for row in GOLDEN["points"]))
    np.testing.assert_allclose(rates, [p["BR_unified_inv"] for p in GOLDEN["points"]], rtol=1e-5)


def test_two_and_three_body_rates_agree_with_the_reference():
    for row in GOLDEN["points"]:
        point = build_point(Parameters.from_vector(vector_of(row)), SM)
        two_body = float(gamma_b_to_k_h1(point)) * PER_HBAR
        three_body = float(gamma_b_to_k_xx_zero_width(point)) * PER_HBAR
        assert two_body == pytest.approx(row["BR_BpKpH1_2body"], rel=1e-12)
        expected = row["BR_talk_3body_XX_zero_width"] or 0.0
        assert three_body == pytest.approx(expected, rel=1e-11)


def test_narrow_and_wide_h1_agree_with_the_reference():
    rows = GOLDEN["narrow_width_limit"]
    base = {"sin_th": 6e-3, "m_X": 0.3, "m_H1": 2.0}
    rates = unified_at(*(vector_of(base | {"lambda_PhiX": r["lambda_PhiX"]}) for r in rows))
    np.testing.assert_allclose(rates, [r["unified"] for r in rows], rtol=1e-6)


def test_largest_three_body_rate_over_lambda():
    rows = GOLDEN["max_over_lambda"]
    vectors = [vector_of(row | {"lambda_PhiX": row["lambda_at_max"]}) for row in rows]
    np.testing.assert_allclose(unified_at(*vectors), [r["BR_max"] for r in rows], rtol=1e-8)
    slopes = evaluate("reverse", jnp.stack(vectors))
    lambdas = np.array([r["lambda_at_max"] for r in rows])
    # The reference maximum is located on a grid.
    logarithmic = slopes[:, PARAMETER_NAMES.index("lambda_phix")] * lambdas / unified_at(*vectors)
    assert np.all(np.abs(logarithmic) < 2e-2)


@pytest.mark.parametrize("row", GOLDEN["curves"])
def test_spectrum_agrees_with_the_reference(row):
    point = build_point(Parameters.from_vector(vector_of(row)), SM)
    spectrum = np.asarray(dgamma_dq2(point, jnp.array(row["q2"])))
    np.testing.assert_allclose(spectrum, row["dGamma_dq2_unified_inv"], rtol=1e-8, atol=1e-60)


@pytest.mark.parametrize(
    ("m_h1", "m_x", "lambda_phix"), [(6.0, 0.05, 1.0), (2.0, 0.3, 0.3), (1.0, 1.5, 0.1)]
)
def test_integral_equals_adaptive_quadrature_of_the_spectrum(m_h1, m_x, lambda_phix):
    row = {"sin_th": 6e-3, "m_X": m_x, "m_H1": m_h1, "lambda_PhiX": lambda_phix}
    point = build_point(Parameters.from_vector(vector_of(row)), SM)
    spectrum = jax.jit(lambda q2: dgamma_dq2(point, q2))
    edges = sorted({4 * 0.0115**2, min(4 * m_x**2, END**2), min(m_h1**2, END**2), END**2})
    width = m_h1 * float(build_widths(point).h1.total)
    edges += [m_h1**2 + k * width for k in (-300, -30, -3, 3, 30, 300)]
    edges = sorted({min(max(e, 4 * 0.0115**2), END**2) for e in edges})
    total = sum(
        quad(lambda q2: float(spectrum(q2)), a, b, epsrel=1e-9, epsabs=0.0, limit=200)[0]
        for a, b in itertools.pairwise(edges)
    )
    assert float(unified_at(vector_of(row))[0]) == pytest.approx(PER_HBAR * total, rel=2e-6)


@given(
    m_h1=st.floats(0.3, 4.5),
    ratio=st.floats(0.1, 0.45),
    log_lambda=st.floats(-7.0, -3.0),
    log_q=st.floats(-3.0, 0.0),
)
@settings(max_examples=30, deadline=None)
def test_narrow_width_limit_is_two_body_times_invisible_fraction(m_h1, ratio, log_lambda, log_q):
    row = {"sin_th": 1e-3, "m_X": ratio * m_h1, "m_H1": m_h1, "lambda_PhiX": 10.0**log_lambda}
    vector = vector_of(row, q_phi=10.0**log_q)
    point = build_point(Parameters.from_vector(vector), SM)
    h1 = build_widths(point).h1
    invisible = (h1.xx + h1.zpzp) / h1.total
    expected = float(gamma_b_to_k_h1(point) * invisible) * PER_HBAR
    width_over_mass = float(h1.total) / m_h1
    # Two orders of magnitude of (m_B^2/m_h1^2) head room on the off-shell part of order Gamma/m.
    tolerance = 1e-6 + 30.0 * width_over_mass * (END / m_h1) ** 4
    assert float(unified_at(vector)[0]) == pytest.approx(expected, rel=tolerance)


@given(scale=st.floats(0.2, 5.0), sign=st.sampled_from([-1.0, 1.0]))
@settings(max_examples=10, deadline=None)
def test_scalings(scale, sign):
    """Rate proportional to kappa^2 and, for a width without visible part, to sin^2 theta."""
    row = {"sin_th": 1e-4, "m_X": 0.3, "m_H1": 2.0, "lambda_PhiX": 1e-3}
    one, flipped, more = unified_at(
        vector_of(row), vector_of(row, sin_theta=-1e-4), vector_of(row, sin_theta=1e-4 * scale)
    )
    assert flipped == one
    assert more == pytest.approx(scale**2 * one, rel=1e-6)
    point = build_point(Parameters.from_vector(vector_of(row)), SM)
    stronger = build_point(
        Parameters.from_vector(vector_of(row)), SM.replace(kappa_sb=scale * sign * SM.kappa_sb)
    )
    for rate in (gamma_b_to_k_h1, lambda p: dgamma_dq2(p, jnp.asarray(3.0))):
        assert float(rate(stronger)) == pytest.approx(scale**2 * float(rate(point)), rel=1e-12)


def threshold_vectors(relative):
    """Pole at a threshold, at the end of phase space, thresholds meeting, phase space closing."""
    row = {"sin_th": 6e-3, "m_X": 0.3, "m_H1": 2.0, "lambda_PhiX": 3.8e-3}
    masses = [
        {"m_h1": 0.6},
        {"m_h1": 0.023},
        {"m_h1": END},
        {"m_h1": END, "lambda_phix": 1e-6, "q_phi": 0.01},
        {"m_x": 0.0115},
        {"m_x": END / 2},
        {"m_h1": 2 * SM.m_mu},
        {"m_h1": 2 * 0.13957039, "m_zp": 0.2},
        {"m_h1": 2 * SM.m_tau},
        {"m_h1": SM.m_h2},
        {"m_h1": 6.0, "m_zp": END / 2, "m_x": 3.0},
        {"m_h1": 0.6, "lambda_phix": 12.0},
    ]
    return jnp.stack(
        [
            vector_of(
                row, **{k: v * (1 + relative) if k == next(iter(m)) else v for k, v in m.items()}
            )
            for m in masses
        ]
    )


@pytest.mark.parametrize("relative", [0.0, 1e-15, -1e-15, 1e-9, -1e-9, 1e-4, -1e-4])
def test_values_and_gradients_are_finite_at_thresholds(relative):
    vectors = threshold_vectors(relative)
    values = evaluate("value", vectors)
    assert np.all(np.isfinite(values)) and np.all(values >= 0.0)
    assert np.all(np.isfinite(evaluate("reverse", vectors)))


def test_rate_is_continuous_across_thresholds():
    """1e-9 on either side: a square root changes the rate by sqrt(1e-9) times order ten."""
    shifts = (-1e-9, 0.0, 1e-9)
    below, at, above = (evaluate("value", threshold_vectors(d)) for d in shifts)
    # A pole much narrower than 1e-9 that leaves phase space takes the on-shell rate with it.
    smooth = np.setdiff1d(np.arange(len(at)), [1, 2, 3])
    np.testing.assert_allclose(below[smooth], at[smooth], rtol=2e-3)
    np.testing.assert_allclose(above[smooth], at[smooth], rtol=2e-3)


def prior_vectors(n, seed):
    rng = np.random.default_rng(seed)
    low, high = np.array([info.prior for info in PARAMETER_TABLE]).T
    return np.exp(np.log(low) + rng.uniform(size=(n, len(low))) * np.log(high / low))


def test_gradients_forward_reverse_and_finite_difference():
    vectors = prior_vectors(120, 5)
    value = evaluate("value", vectors)
    forward = evaluate("forward", vectors) * vectors
    reverse = evaluate("reverse", vectors) * vectors
    scale = value[:, None] + 1e-300
    assert np.all(np.isfinite(reverse))
    np.testing.assert_allclose(forward / scale, reverse / scale, rtol=1e-7, atol=1e-7)
    step = 1e-5
    for i in range(vectors.shape[1]):
        factor = np.ones(vectors.shape[1])
        factor[i] = math.exp(step)
        above, below = evaluate("value", vectors * factor), evaluate("value", vectors / factor)
        difference = (above - below) / (2 * step)
        error = np.abs(forward[:, i] - difference) / (scale[:, 0] + np.abs(difference))
        assert np.max(error) < 1e-4


def test_nodes_are_enough_over_the_prior(monkeypatch):
    """Against three times as many nodes; every fourth point has its pole next to a threshold."""
    vectors = prior_vectors(64, 11)
    m_h1, m_x = PARAMETER_NAMES.index("m_h1"), PARAMETER_NAMES.index("m_x")
    vectors[::4, m_x] = 0.5 * vectors[::4, m_h1] * (1 + 1e-6)
    vectors[1::4, m_x] = 0.5 * vectors[1::4, m_h1] * (1 - 1e-6)
    shipped = evaluate("value", vectors)
    monkeypatch.setattr(line_quadrature, "_NODES_LOW", 144)
    monkeypatch.setattr(line_quadrature, "_NODES_HIGH", 120)
    finer = np.asarray(jax.jit(lambda v: jax.lax.map(unified, v, batch_size=16))(vectors))
    np.testing.assert_allclose(shipped, finer, rtol=1e-5)


def test_second_derivatives_are_the_slope_of_the_gradient():
    """Nodes carry no gradient of their own: that must not spoil the Hessian (Fisher forecasts)."""
    row = {"sin_th": 6e-3, "m_X": 0.3, "m_H1": 2.0, "lambda_PhiX": 0.1}
    logs = jnp.log(vector_of(row))

    def logarithm(log_vector):
        return jnp.log(unified(jnp.exp(log_vector)))

    def along(direction, order):
        def function(t):
            return logarithm(logs + t * direction)

        for _ in range(order):
            function = jax.jacfwd(function)
        return function

    first = jax.jit(lambda direction, t: along(direction, 1)(t))
    second = jax.jit(lambda direction, t: along(direction, 2)(t))
    step = 1e-4
    for names in (["m_h1"], ["m_x"], ["m_zp", "m_h1", "m_x"], ["lambda_phix", "m_h1"]):
        direction = sum(jnp.eye(logs.size)[PARAMETER_NAMES.index(name)] for name in names)
        difference = (first(direction, step) - first(direction, -step)) / (2 * step)
        assert float(second(direction, 0.0)) == pytest.approx(float(difference), rel=1e-4, abs=1e-5)


def test_closed_phase_space_is_zero_with_zero_gradient():
    row = {"sin_th": 6e-3, "m_X": 3.0, "m_H1": 6.0, "lambda_PhiX": 0.1}
    vector = vector_of(row, m_zp=3.0)
    assert float(unified_at(vector)[0]) == 0.0
    assert not np.any(evaluate("reverse", vector[None]))


@pytest.mark.parametrize("m_h1", [END, 2.0, 5.0])
def test_zero_width_formula_is_finite_everywhere(m_h1):
    row = {"sin_th": 6e-3, "m_X": 0.3, "m_H1": m_h1, "lambda_PhiX": 0.1}

    def rate(vector):
        return gamma_b_to_k_xx_zero_width(build_point(Parameters.from_vector(vector), SM))

    value, slope = jax.value_and_grad(rate)(vector_of(row))
    assert np.isfinite(value) and np.all(np.isfinite(slope))
    assert (float(value) > 0.0) == (m_h1 > END)


def test_visible_zp_pairs_are_not_counted():
    """Above 2 m_mu a Z' decays to mu mu as often as to each neutrino pair: weight (1 - 0.5)^2."""
    row = {"sin_th": 6e-3, "m_X": 3.0, "m_H1": 3.0, "lambda_PhiX": 0.01}
    vector = vector_of(row, m_zp=1.0, g_x=1e-3)
    point = build_point(Parameters.from_vector(vector), SM)
    widths = build_widths(point)
    unseen = 1.0 - float(widths.zp.mumu / widths.zp.total)
    assert unseen == pytest.approx(0.5, abs=0.01)
    two_body = float(gamma_b_to_k_h1(point) * widths.h1.zpzp / widths.h1.total) * PER_HBAR
    assert float(unified_at(vector)[0]) == pytest.approx(two_body * unseen**2, rel=1e-2)


def test_form_factors_agree_with_published_values():
    """Values of arXiv:2207.12468 as quoted in peer codes, 8 synthetic points within 0.03 sigma."""
    q2_max = (hpqcd22()["m_b_meson"] - hpqcd22()["m_kaon"]) ** 2
    assert float(f_zero(0.0)) == pytest.approx(0.33193, abs=5e-6)
    assert float(f_plus(0.0)) == float(f_zero(0.0))
    assert float(f_zero(q2_max)) == pytest.approx(0.84917, abs=5e-6)
    assert float(f_plus(q2_max)) == pytest.approx(2.78244, abs=5e-6)
    assert float(f_tensor(0.0)) == pytest.approx(0.33231, abs=5e-6)
    # EOS constraint B->K::f_0+f_++f_T@HPQCD:2022A: mean and standard deviation.
    points = [
        (f_zero, 0.0, 0.331915, 0.01156),
        (f_zero, 12.0, 0.475729, 0.00903),
        (f_zero, 22.9, 0.850441, 0.01718),
        (f_plus, 12.0, 0.742513, 0.02243),
        (f_plus, 22.9, 2.79257, 0.1077),
        (f_tensor, 0.0, 0.332188, 0.02354),
        (f_tensor, 12.0, 0.731494, 0.03151),
    ]
    coefficients = jnp.array(hpqcd22()["central"])
    for function, q2, mean, sigma in points:
        assert abs(float(function(q2)) - mean) < 0.03 * sigma
        slope = jax.grad(lambda a, f=function, q2=q2: f(q2, a))(coefficients)
        variance = float(slope @ coefficient_covariance() @ slope)
        assert math.sqrt(variance) == pytest.approx(sigma, rel=1e-2)

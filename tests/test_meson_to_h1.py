"""B0 -> K*0, K+ -> pi+ and K_L -> pi0 through H1: rates, limits of the rates, escape of H1."""

import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from lmltdm_jax.constants import HBAR_GEV_S, HBARC_GEV_M
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.observables import line_quadrature
from lmltdm_jax.observables.b_to_k import bplus_to_kplus, gamma_b_to_k_xx_zero_width
from lmltdm_jax.observables.b_to_kstar import b0_to_kstar0, br_b0_kstar0_np
from lmltdm_jax.observables.form_factors import a_zero
from lmltdm_jax.observables.h1_escape import h1_momentum, line_share, unseen_fraction
from lmltdm_jax.observables.kaon_to_pion import (
    br_kl_pi0_h1,
    br_kplus_piplus_h1,
    kl_to_pi0,
    kplus_to_piplus,
    spectrum_kl_pi0_np,
    spectrum_kplus_piplus_np,
)
from lmltdm_jax.observables.line_quadrature import spectrum_of
from lmltdm_jax.observables.line_shape import distances as distances_of
from lmltdm_jax.observables.line_shape import gamma_to_h1, unit_mixing_rate
from lmltdm_jax.parameters import PARAMETER_NAMES, Parameters
from lmltdm_jax.widths import build_widths

GOLDEN = json.loads((Path(__file__).parent / "golden" / "flavour.json").read_text())
INPUTS = GOLDEN["inputs"]
SM = StandardModel.load("talk2024").replace(
    g_f=INPUTS["GF"],
    v_h=INPUTS["vH"],
    m_t=INPUTS["mt"],
    m_b=INPUTS["mb"],
    m_s=INPUTS["ms"],
    m_d=INPUTS["md"],
    kappa_sb=INPUTS["kappa_sb"],
    m_b0=INPUTS["mB0"],
    m_kstar0=INPUTS["mKst0"],
    m_kplus=INPUTS["mKp"],
    m_k0=INPUTS["mK0"],
    m_piplus=INPUTS["mpip"],
    m_pi0=INPUTS["mpi0"],
    tau_b0=INPUTS["tauB0"],
    tau_kplus=INPUTS["tauKp"],
    tau_kl=INPUTS["tauKL"],
    v_ts_v_td_re=INPUTS["Vtd_Vts_re"],
    v_ts_v_td_im=INPUTS["Vtd_Vts_im"],
)
TRANSITIONS = (
    (b0_to_kstar0(SM), SM.tau_b0),
    (kplus_to_piplus(SM), SM.tau_kplus),
    (kl_to_pi0(SM), SM.tau_kl),
)
KSTAR_END = SM.m_b0 - SM.m_kstar0
KAON_END = SM.m_kplus - SM.m_piplus


def vector(**changes):
    return np.asarray(Parameters.benchmark().replace(**changes).to_vector())


def rates(vector):
    """BR(B0 -> K*0 inv), BR(K+ -> pi+ inv), BR(K_L -> pi0 inv), finite widths."""
    point = build_point(Parameters.from_vector(vector), SM)
    widths = build_widths(point)
    kaons = (f(point, widths) for f in (spectrum_kplus_piplus_np, spectrum_kl_pi0_np))
    return jnp.stack([br_b0_kstar0_np(point, widths), *(jnp.sum(s.br) for s in kaons)])


@functools.cache
def compiled(kind):
    function = {"value": rates, "reverse": jax.jacrev(rates), "forward": jax.jacfwd(rates)}[kind]
    return jax.jit(lambda v: jax.lax.map(function, v, batch_size=8))


def evaluate(kind, vectors):
    """One compilation: chunks of 8."""
    vectors = np.asarray(vectors)
    padded = np.concatenate([vectors, np.repeat(vectors[-1:], -len(vectors) % 8, axis=0)])
    return np.concatenate([compiled(kind)(c) for c in padded.reshape(-1, 8, 8)])[: len(vectors)]


def test_two_body_rates_agree_with_the_reference():
    for row in GOLDEN["points"]:
        values = vector(
            sin_theta=row["sin_th"], m_x=row["m_X"], m_h1=row["m_H1"],
            lambda_phix=row["lambda_PhiX"],
        )  # fmt: skip
        point = build_point(Parameters.from_vector(values), SM)
        kstar = float(gamma_to_h1(point, b0_to_kstar0(SM))) * SM.tau_b0 / HBAR_GEV_S
        assert kstar == pytest.approx(row["BR_B0Kst0H1_2body"], rel=1e-11)
        assert float(br_kplus_piplus_h1(point)) == pytest.approx(row["BR_KppipH1"], rel=1e-11)
        assert float(br_kl_pi0_h1(point)) == pytest.approx(row["BR_KLpi0H1"], rel=1e-11)


def test_a_zero_agrees_with_the_reference():
    golden = GOLDEN["a_zero"]
    np.testing.assert_allclose(a_zero(jnp.array(golden["q2"])), golden["value"], rtol=1e-12)


@pytest.mark.parametrize("m_h1", [0.1, 0.3, 2.1])
def test_narrow_width_limit_is_two_body_times_invisible_fraction(m_h1):
    values = vector(m_h1=m_h1, m_x=0.4 * m_h1, lambda_phix=1e-7, q_phi=1e-3)
    point = build_point(Parameters.from_vector(values), SM)
    h1 = build_widths(point).h1
    for rate, (transition, lifetime) in zip(
        evaluate("value", [values])[0], TRANSITIONS, strict=True
    ):
        two_body = float(gamma_to_h1(point, transition)) * lifetime / HBAR_GEV_S
        expected = two_body * float((h1.xx + h1.zpzp) / h1.total)
        # Off the shell: nothing but this for the kaons when H1 is heavy.
        assert rate == pytest.approx(expected, rel=1e-4, abs=1e-16)


@pytest.mark.parametrize(("m_h1", "index"), [(6.0, 0), (0.5, 1), (0.5, 2)])
def test_zero_width_limit_is_the_three_body_formula(m_h1, index):
    """Z'Z' closed, X X* weak, the pole far outside: no width left in the propagator."""
    values = vector(m_h1=m_h1, m_zp=6.0, g_x=0.1, m_x=0.05, lambda_phix=1e-5)
    point = build_point(Parameters.from_vector(values), SM)
    transition, lifetime = TRANSITIONS[index]
    coupling = (1e-5 * float(point.v_phi) * point.sin_theta * point.cos_theta) ** 2
    coupling /= 16.0 * math.pi**2

    def integrand(q2):
        d = distances_of(point, transition, jnp.asarray(q2))
        propagator = 1.0 / (q2 - m_h1**2) - 1.0 / (q2 - SM.m_h2**2)
        beta = math.sqrt(max(0.0, 1.0 - 0.01 / q2))
        return float(coupling * propagator**2 * beta * unit_mixing_rate(transition, d))

    expected = quad(integrand, 0.01, float(transition.q2_max), epsrel=1e-8)[0]
    rate = evaluate("value", [values])[0, index]
    assert rate == pytest.approx(expected * lifetime / HBAR_GEV_S, rel=1e-5)


def test_zero_width_column_is_the_limit_of_the_unified_rate():
    values = vector(m_h1=6.0, m_zp=6.0, g_x=0.1, m_x=0.05, lambda_phix=1e-5)
    point = build_point(Parameters.from_vector(values), SM)
    unified = spectrum_of(point, build_widths(point), bplus_to_kplus(SM), SM.tau_bplus)
    zero_width = float(gamma_b_to_k_xx_zero_width(point)) * SM.tau_bplus / HBAR_GEV_S
    assert float(jnp.sum(unified.br)) == pytest.approx(zero_width, rel=1e-4)


THRESHOLDS = (
    {"m_h1": 0.6, "m_x": 0.3},
    {"m_h1": 0.023},
    {"m_h1": KSTAR_END},
    {"m_h1": KAON_END},
    {"m_h1": SM.m_k0 - SM.m_pi0},
    {"m_x": KSTAR_END / 2},
    {"m_x": KAON_END / 2, "m_h1": 0.3},
    {"m_h1": 2 * SM.m_mu, "m_zp": 0.2, "m_x": 0.4},
)


def threshold_vectors(relative):
    """The first value of each entry shifted."""
    return np.stack(
        [
            vector(**{k: v * (1 + relative * (k == next(iter(t)))) for k, v in t.items()})
            for t in THRESHOLDS
        ]
    )


@pytest.mark.parametrize("relative", [0.0, 1e-9, -1e-9, 1e-4, -1e-4])
def test_values_and_gradients_are_finite_at_thresholds(relative):
    vectors = threshold_vectors(relative)
    values = evaluate("value", vectors)
    assert np.all(np.isfinite(values)) and np.all(values >= 0.0)
    assert np.all(np.isfinite(evaluate("reverse", vectors)))


@pytest.mark.parametrize("relative", [0.03, -0.03])
def test_gradients_forward_reverse_and_finite_difference(relative):
    vectors = threshold_vectors(relative)
    value = evaluate("value", vectors)[..., None]
    scaled = {k: evaluate(k, vectors) * vectors[:, None, :] for k in ("forward", "reverse")}
    floor = value + 1e-300
    np.testing.assert_allclose(scaled["forward"] / floor, scaled["reverse"] / floor, atol=1e-7)
    step = 1e-5
    for i in range(len(PARAMETER_NAMES)):
        factor = np.exp(step * np.eye(len(PARAMETER_NAMES))[i])
        above, below = (evaluate("value", v) for v in (vectors * factor, vectors / factor))
        difference = (above - below) / (2 * step)
        error = np.abs(scaled["forward"][..., i] - difference)
        assert np.max(error / (floor[..., 0] + np.abs(difference))) < 1e-4, PARAMETER_NAMES[i]


def test_nodes_are_enough(monkeypatch, prior_points):
    vectors = np.concatenate([np.asarray(prior_points(32, 3).to_vector()), threshold_vectors(1e-6)])
    shipped = evaluate("value", vectors)
    monkeypatch.setattr(line_quadrature, "_NODES_LOW", 144)
    monkeypatch.setattr(line_quadrature, "_NODES_HIGH", 120)
    finer = np.asarray(jax.jit(lambda v: jax.lax.map(rates, v, batch_size=8))(vectors))
    np.testing.assert_allclose(shipped, finer, rtol=1e-5, atol=1e-40)


def test_momentum_of_h1():
    point = build_point(Parameters.from_vector(vector(m_h1=0.2)), SM)
    decay = kplus_to_piplus(SM)
    heavy, light = SM.m_kplus, SM.m_piplus
    energy = (heavy**2 + 0.04 - light**2) / (2 * heavy)
    at_rest = math.sqrt(energy**2 - 0.04)
    assert float(h1_momentum(point, decay, 0.0)) == pytest.approx(at_rest, rel=1e-12)
    pion = math.sqrt(at_rest**2 + light**2)
    assert energy + pion == pytest.approx(heavy, rel=1e-12)
    boosted = math.hypot(75.0, heavy) / heavy * energy
    momentum = float(h1_momentum(point, decay, 75.0))
    assert math.hypot(momentum, 0.2) == pytest.approx(boosted, rel=1e-12)


def test_unseen_fraction():
    """All of an invisible H1; exp(-L/decay length) of one that decays to muons."""
    decay = kplus_to_piplus(SM)
    invisible = build_point(Parameters.from_vector(vector(m_h1=0.25, m_x=0.05)), SM)
    share = functools.partial(unseen_fraction, transition=decay, parent_momentum=75.0)
    widths = build_widths(invisible)
    assert float(share(invisible, widths, flight_length=100.0)) == pytest.approx(1.0, abs=1e-5)
    closed = vector(m_h1=0.25, m_x=0.5, m_zp=0.2, sin_theta=1e-4)
    visible = build_point(Parameters.from_vector(closed), SM)
    widths = build_widths(visible)
    momentum = float(h1_momentum(visible, decay, 75.0))
    length = momentum / 0.25 * HBARC_GEV_M / float(widths.h1.total)
    for metres in (0.0, 1.0, 100.0):
        expected = math.exp(-metres / length)
        assert float(share(visible, widths, flight_length=metres)) == pytest.approx(expected)
    nothing = build_point(Parameters.from_vector(closed * (np.arange(8) != 2)), SM)
    assert float(share(nothing, build_widths(nothing), flight_length=100.0)) == 1.0


def test_line_share():
    assert float(line_share(jnp.asarray(0.0), 0.01)) == 1.0
    assert float(line_share(jnp.asarray(0.02), 0.01)) == pytest.approx(0.5)
    wide = float(line_share(jnp.asarray(10.0), 0.01))
    assert wide == pytest.approx(2.0 / math.pi * 0.02 / 10.0, rel=1e-4)

"""Borexino, NA64mu and direct detection: reference numbers, limits, likelihoods, gradients."""

import functools
import itertools
import json
import math
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import lambertw

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.borexino import BorexinoBe7
from lmltdm_jax.likelihoods.ccfr_trident import CcfrTridentBeam
from lmltdm_jax.likelihoods.direct_detection import DirectDetection
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.likelihoods.na64mu import Na64Mu, lambert_w
from lmltdm_jax.model import build_point
from lmltdm_jax.observables import na64mu
from lmltdm_jax.observables.borexino import borexino_be7_ratio
from lmltdm_jax.observables.direct_detection import (
    XENON,
    momentum_transfer_squared,
    sigma_si,
    sigma_si_proton_zp,
    sigma_si_scalar,
)
from lmltdm_jax.observables.trident import trident_ratio_ccfr, trident_ratio_charm2
from lmltdm_jax.parameters import PARAMETER_NAMES, Parameters
from lmltdm_jax.widths import build_widths

pytestmark = pytest.mark.fast

GOLDEN = json.loads((Path(__file__).parent / "golden" / "searches.json").read_text())
INPUTS = {key: float(value) for key, value in GOLDEN["inputs"].items()}
SM = StandardModel.load("pdg2026").replace(
    alpha=INPUTS["alpha"],
    g_f=INPUTS["GF"],
    sin2_theta_w=INPUTS["sw2"],
    m_e=INPUTS["me"],
    m_mu=INPUTS["mmu"],
    m_tau=INPUTS["mtau"],
    v_h=INPUTS["vH"],
    m_h2=INPUTS["mH2"],
)


def point(**changes):
    return build_point(Parameters.benchmark().replace(**changes), SM)


def with_observables(**values):
    return SimpleNamespace(observables=SimpleNamespace(**values))


# Borexino


@pytest.mark.parametrize("row", GOLDEN["borexino_rate_ratio"])
def test_borexino_ratio_agrees_with_the_reference(row):
    """Both to 1e-9 in the change of the rate, which spans sixteen decades."""
    got = float(borexino_be7_ratio(point(m_zp=row["mZp"], g_x=row["g"]))) - 1.0
    expected = row["ratio_sign_minus"] - 1.0
    assert got == pytest.approx(expected, rel=1e-8)


def test_borexino_limits_of_the_reference():
    for row in GOLDEN["borexino_g_limit"]:
        if row["sign"] == -1:
            ratio = float(borexino_be7_ratio(point(m_zp=row["mZp"], g_x=row["g"])))
            assert ratio == pytest.approx(1.0 + row["thr"], rel=1e-6)


def test_borexino_benchmark_and_decoupling():
    assert float(borexino_be7_ratio(point())) == pytest.approx(1.094, abs=1e-3)
    assert float(borexino_be7_ratio(point(m_zp=1e4, g_x=1e-3))) == pytest.approx(1.0, abs=1e-12)


def test_borexino_light_limit_against_quadrature_of_the_recoil_spectrum():
    """m_zp = 1e-5 GeV: the spectrum falls as (m^2 + 2 m_e T)^-2, all of it near T = 0."""
    mass, g_x = 1e-5, 1e-6
    m_e, energy = SM.m_e, 0.862e-3
    charge = SM.electric_charge**2 / (6 * math.pi**2) * math.log(SM.m_tau / SM.m_mu)
    s2, t_max = SM.sin2_theta_w, 2 * energy**2 / (m_e + 2 * energy)

    def rate(coupling):
        def spectrum(t):
            total = 0.0
            for share, q, g_l in zip(
                (0.526, 0.2074, 0.2666), (0, 1, -1), (s2 + 0.5, s2 - 0.5, s2 - 0.5), strict=True
            ):
                shift = -q * charge * coupling**2
                shift /= 2 * math.sqrt(2) * SM.g_f * (mass**2 + 2 * m_e * t)
                left, right = g_l + shift, s2 + shift
                total += share * (
                    left**2 + right**2 * (1 - t / energy) ** 2 - left * right * m_e * t / energy**2
                )
            return total

        edges = [0.0, *(mass**2 / m_e * np.array([1.0, 10.0, 100.0])), t_max]
        return sum(quad(spectrum, a, b, epsrel=1e-10)[0] for a, b in itertools.pairwise(edges))

    got = float(borexino_be7_ratio(point(m_zp=mass, g_x=g_x)))
    assert got == pytest.approx(rate(g_x) / rate(0.0), rel=1e-7)


def borexino_term():
    load = functools.partial(Measurement.load, "borexino")
    return BorexinoBe7(load("be7_rate_2017"), expected=load("be7_expected_b16_gs98"))


@pytest.mark.parametrize("ratio", [0.9, 1.0, 1.094, 1.5, 3.0])
def test_borexino_likelihood_is_the_integral_over_a_log_normal_flux(ratio):
    term = borexino_term()
    loglike = float(term.loglike(with_observables(borexino_be7_ratio=jnp.asarray(ratio))))
    rate = math.log(47.9 * ratio / 48.3)
    experiment = (1.17 if rate > 0 else 1.30) / 48.3

    def integrand(z):
        return math.exp(-0.5 * z**2 - 0.5 * ((rate + z * 2.8 / 47.9) / experiment) ** 2)

    # All of it within 9 of the maximum; without signal the same integral at rate = 0.
    flux = 2.8 / 47.9
    best = -rate * flux / (experiment**2 + flux**2)
    total = quad(integrand, best - 4, best + 4, epsabs=0.0, epsrel=1e-9)[0]
    unit = quad(lambda z: math.exp(-0.5 * z**2 * (1 + (flux / experiment) ** 2)), -4, 4)[0]
    assert loglike == pytest.approx(math.log(total / unit), abs=1e-6)


def test_borexino_is_unverified_because_the_expected_rate_is(current):
    term = next(t for t in current.term_list if t.name == "borexino_be7")
    assert term.measurement.status == "checked"
    assert [m.status for m in term.measurements()] == ["checked", "unverified"]


# NA64mu


def test_na64mu_cross_section_agrees_with_the_reference():
    table = GOLDEN["na64mu"]
    for mass, expected in list(zip(table["m"], table["sigma_cm2_per_g2"], strict=True))[::4]:
        assert na64mu.cross_section(mass, SM) == pytest.approx(expected, rel=1e-3)


def test_na64mu_yield_reproduces_the_couplings_at_full_efficiency():
    """g90 for efficiency 1: 2.3026 events, all Z' invisible (below the muon threshold)."""
    table = GOLDEN["na64mu"]
    for mass, g_x in list(zip(table["m"], table["g90_eff1"], strict=True)):
        values = point(m_zp=mass, g_x=g_x, m_x=50.0)
        widths = build_widths(values)
        events = float(na64mu.na64mu_yield(values, widths)) / na64mu.setup()["efficiency"]
        # The reference takes BR(inv) = 1 also above the muon threshold.
        events /= float(widths.zp.br_invisible)
        assert events == pytest.approx(2.302585, rel=1e-2), mass


def test_na64mu_table_ends():
    light = [float(na64mu.na64mu_yield(point(m_zp=m), build_widths(point()))) for m in (1e-4, 1e-3)]
    assert light[0] == light[1]
    exact = na64mu.cross_section(1e-4, SM) / na64mu.cross_section(1e-3, SM)
    assert exact == pytest.approx(1.0, abs=1e-4)
    assert na64mu.cross_section(10.0, SM) / na64mu.cross_section(1e-3, SM) < 1e-4


def test_na64mu_likelihood_is_the_profile_over_the_efficiency():
    term = Na64Mu(Measurement.load("na64mu", "events_2024"))
    z = np.linspace(-40.0, 5.0, 400001)
    for events in (1e-8, 0.1, 2.3, 30.0, 1e4, 1e9):
        profile = -np.min(events * 2.0**z + 0.5 * z**2)
        values = with_observables(na64mu_yield=jnp.asarray(events))
        assert float(term.loglike(values)) == pytest.approx(profile, rel=1e-6, abs=1e-8)
        pull = math.sqrt(-2 * float(term.loglike(values)))
        assert float(term.pull(values)) == pytest.approx(pull, rel=1e-12)


def test_lambert_w():
    y = np.geomspace(1e-30, 1e30, 200)
    expected = lambertw(y).real
    np.testing.assert_allclose(lambert_w(y), expected, rtol=1e-13)
    slope = jax.vmap(jax.grad(lambert_w))(y)
    np.testing.assert_allclose(slope, expected / (y * (1 + expected)), rtol=1e-10)


# Tridents


def test_ccfr_beam_average_lies_between_the_beams():
    term = CcfrTridentBeam(Measurement.load("ccfr_trident", "ccfr_1991"))
    for low, high in ((1.0, 1.0), (1.06, 1.08), (1.5, 1.9), (10.0, 14.0), (3e3, 4e3)):
        values = with_observables(
            trident_ratio_ccfr=jnp.asarray(low), trident_ratio_ccfr_100gev=jnp.asarray(high)
        )
        loglike = float(term.loglike(values))
        ends = [-0.5 * ((ratio - 0.82) / 0.28) ** 2 for ratio in (low, high)]
        assert ends[1] - 1e-9 <= loglike <= ends[0] + 1e-9
        if high < 2.0:
            average = quad(lambda z, a, d: math.exp(-0.5 * ((a + z * d - 0.82) / 0.28) ** 2), 0, 1,
                           args=(low, high - low))[0]  # fmt: skip
            assert loglike == pytest.approx(math.log(average), rel=1e-9)


# Direct detection


@pytest.mark.parametrize("row", GOLDEN["direct_detection"])
def test_direct_detection_agrees_with_the_reference(row):
    values = point(
        m_x=row["mX"], m_h1=row["mH1"], lambda_phix=row["lamPhiX"], sin_theta=row["st"]
    )  # fmt: skip
    zero = jnp.zeros(())
    scalar, vector = sigma_si_scalar(values, zero), sigma_si_proton_zp(values, zero)
    assert float(scalar) == pytest.approx(float(row["sigma_SI_scalar_cm2"]), rel=1e-8)
    assert float(vector) == pytest.approx(float(row["sigma_p_Zp_cm2"]), rel=1e-8)


def test_momentum_dependence_of_a_light_mediator():
    """Nothing below 1 GeV, 2 at q = m_zp sqrt(sqrt(2) - 1); never stronger than at q = 0."""
    for m_x, least in ((0.3, 0.99), (1.0, 0.95), (20.0, 0.0)):
        values = point(m_x=m_x)
        zero = jnp.zeros(())
        at_rest = sigma_si_scalar(values, zero) + (54 / 131.29) ** 2 * sigma_si_proton_zp(
            values, zero
        )
        share = float(sigma_si(values, XENON) / at_rest)
        assert least < share <= 1.0
    assert share < 0.5
    q = math.sqrt(float(momentum_transfer_squared(point(m_x=1.0), XENON)))
    assert q == pytest.approx(math.sqrt(2) * 1e-3 * 122.3 / 123.3, rel=1e-3)


def test_scalars_cancel_exactly_at_equal_masses():
    values = point(m_h1=SM.m_h2)
    assert float(sigma_si_scalar(values, jnp.zeros(()))) == 0.0


@pytest.mark.parametrize("name", ["cresst3_si", "darkside50_si", "xenon1t_si"])
def test_direct_searches(name):
    """1 on the curve, nothing below 0.17 GeV, finite gradients at the ends."""
    term = DirectDetection.load(name)

    def loglike(vector):
        values = point(m_x=vector[0], g_x=vector[1])
        return term.loglike(SimpleNamespace(point=values, observables=None))

    mass = math.sqrt(term.curve.raw[0][0] * term.curve.raw[-1][0])
    values = SimpleNamespace(point=point(m_x=mass))
    expected = float(sigma_si(values.point, term.target) / term.curve.limit(jnp.asarray(mass)))
    assert float(term.prediction(values)) == pytest.approx(expected, rel=1e-12)
    assert float(loglike(jnp.array([0.1, 5e-4]))) == 0.0
    forward, reverse = jax.jit(jax.jacfwd(loglike)), jax.jit(jax.jacrev(loglike))
    ends = [term.curve.raw[0][0], term.curve.raw[-1][0]]
    for m in [*ends, ends[0] * 1.01, ends[1] * 0.99, ends[0] * 0.99, mass]:
        vector = jnp.array([m, 5e-4])
        slope = reverse(vector)
        assert np.all(np.isfinite(slope))
        np.testing.assert_allclose(forward(vector), slope, rtol=1e-9)


# Gradients of all of it


def columns(vector):
    values = build_point(Parameters.from_vector(vector), SM)
    widths = build_widths(values)
    return jnp.log(
        jnp.stack(
            [
                borexino_be7_ratio(values),
                na64mu.na64mu_yield(values, widths),
                sigma_si(values),
                trident_ratio_ccfr(values),
                trident_ratio_charm2(values),
            ]
        )
    )


@functools.cache
def compiled(kind):
    return jax.jit({"value": columns, "r": jax.jacrev(columns), "f": jax.jacfwd(columns)}[kind])


THRESHOLD = 2 * SM.m_mu


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"m_zp": 1e-3},
        {"m_zp": 9.9, "m_x": 1.0},
        {"m_zp": THRESHOLD * 1.02},
        {"m_zp": THRESHOLD * 0.98},
        {"m_zp": 0.61, "m_x": 0.3},
        {"m_h1": 120.0, "m_x": 20.0, "m_zp": 0.005},
    ],
)
def test_gradients_forward_reverse_and_finite_difference(change):
    vector = np.asarray(Parameters.benchmark().replace(**change).to_vector())
    forward, reverse = (compiled(kind)(vector) * vector for kind in "fr")
    np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-12)
    for i, name in enumerate(PARAMETER_NAMES):
        factor = np.exp(1e-5 * np.eye(len(PARAMETER_NAMES))[i])
        up, down = (compiled("value")(v) for v in (vector * factor, vector / factor))
        if change.get("m_zp") == 1e-3 and name == "m_zp":
            continue  # the end of NA64mu's table, where the slope is 1e-4 on one side
        np.testing.assert_allclose(reverse[:, i], (up - down) / 2e-5, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("m_zp", [1e-8, THRESHOLD, THRESHOLD * (1 + 1e-12), 0.6, 50.0, 1e3])
def test_finite_at_thresholds_and_far_outside(m_zp):
    vector = np.asarray(Parameters.benchmark().replace(m_zp=m_zp).to_vector())
    assert np.all(np.isfinite(compiled("value")(vector)))
    assert np.all(np.isfinite(compiled("r")(vector)))

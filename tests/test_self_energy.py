"""Real part of H1's self-energy: dispersion integrals, limits, thresholds, and the nuisance."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from lmltdm_jax import Likelihood, Parameters
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.numerics.quadrature import gauss_legendre
from lmltdm_jax.observables.b_to_k import bplus_to_kplus, br_bplus_kplus_np, dgamma_dq2
from lmltdm_jax.observables.line_shape import absorptive_part, dark_widths, distances
from lmltdm_jax.observables.self_energy import (
    loop_slope,
    real_part,
    residue,
    running_factor,
    theory_error_factor,
)
from lmltdm_jax.widths import build_widths

SM = StandardModel.load("pdg2026")


def params(**changes):
    return Parameters(0.0115, 5e-4, 6e-3, 0.3, 2.0, 0.4, 0.1).replace(**changes)


def at(point, q2):
    return distances(point, bplus_to_kplus(point.sm), jnp.asarray(q2, float))


def dispersion_integral(point, threshold, q2, start, subtractions):
    """((q2 - q0)^n/pi) PV int dt A(t)/((t - q0)^n (t - q2)), q0 = start below the threshold.

    PV by subtraction at t = q2, with t = threshold + y^2 below ``top`` and top/u above.
    """

    def integrand(t):
        absorptive = point.cos_theta**2 * sum(dark_widths(point, at(point, t)))
        return np.asarray(absorptive) / (t - start) ** subtractions

    u, weight = gauss_legendre(100)
    top = 4.0 * max(q2, threshold)
    at_pole = integrand(q2) if q2 > threshold else 0.0
    breaks = sorted({0.0, np.sqrt(max(q2 - threshold, 0.0)), np.sqrt(top - threshold)})
    total = at_pole * np.log(abs((top - q2) / (q2 - threshold)))
    for low, high in itertools.pairwise(breaks):
        y = low + (high - low) * u
        t = threshold + y**2
        total += (high - low) * weight @ (2.0 * y * (integrand(t) - at_pole) / (t - q2))
    total += weight @ (integrand(top / u) / (top / u - q2) * top / u**2)
    return (q2 - start) ** subtractions / np.pi * total


def test_xx_is_the_once_subtracted_dispersion_integral():
    """Subtracted at q0; R(m_h1^2) = 0 then follows from a difference. v_phi = 1e9: no Z'Z'."""
    point = build_point(params(q_phi=2.3e-8, lambda_phix=5.75e-9), SM)
    start, threshold = 0.2, 0.36
    q2 = np.array([0.05, 0.3, 0.4, 1.0, 4.0, 20.0, 100.0])
    integrals = [dispersion_integral(point, threshold, s, start, 1) for s in q2]
    closed = real_part(point, at(point, q2)) - real_part(point, at(point, start))
    np.testing.assert_allclose(closed, integrals, rtol=1e-8)
    assert float(real_part(point, at(point, 4.0))) == 0.0


def test_zpzp_is_the_three_times_subtracted_integral_up_to_a_polynomial():
    point = build_point(params(m_zp=0.3, g_x=0.3 / 57.5 / 0.4, m_x=5.0, lambda_phix=1e-12), SM)
    start, threshold = 0.2, 0.36
    q2 = np.array([0.1, 0.3, 0.45, 1.0, 3.0, 7.0, 15.0])
    integrals = [dispersion_integral(point, threshold, s, start, 3) for s in q2]
    difference = np.asarray(real_part(point, at(point, q2))) - integrals
    polynomial = np.polynomial.Polynomial.fit(q2, difference, 2)
    np.testing.assert_allclose(polynomial(q2), difference, atol=1e-9 * np.abs(integrals).max())
    # It is no polynomial itself.
    crude = np.polynomial.Polynomial.fit(q2, integrals, 2)
    assert np.abs(crude(q2) - integrals).max() > 1e-3 * np.abs(integrals).max()


@pytest.mark.parametrize("q2", [0.1 + 0.01j, 0.36 + 1e-6j, 3.0 + 1e-3j, 3.0 + 4.0j])
def test_slope_is_the_derivative_of_the_loop(q2):
    def loop(s):
        beta = np.sqrt(1.0 - 0.36 / s)
        return beta * np.log((beta - 1.0) / (beta + 1.0))

    step = 1e-4 * abs(q2.imag)
    expected = q2 * (loop(q2 + step) - loop(q2 - step)) / (2.0 * step)
    assert complex(loop_slope(jnp.asarray(q2), jnp.asarray(0.36))) == pytest.approx(
        expected, rel=1e-4
    )


def test_residue_keeps_narrow_lines():
    """1 + R' by differences, and the rate of an H1 that is narrow: R' is of order Gamma/m."""
    point = build_point(params(lambda_phix=1e-3), SM)
    step = 1e-3
    slope = (real_part(point, at(point, 4.0 + step)) - real_part(point, at(point, 4.0 - step))) / (
        2.0 * step
    )
    assert float(residue(point, build_widths(point))) - 1.0 == pytest.approx(float(slope), rel=1e-3)


def rate(vector, z):
    point = build_point(Parameters.from_vector(vector), SM.replace(h1_running=z))
    return br_bplus_kplus_np(point, build_widths(point))


rates = jax.jit(jax.vmap(rate, in_axes=(0, None)))
slopes = jax.jit(jax.grad(rate, (0, 1)))


def width_over_mass(vector):
    point = build_point(Parameters.from_vector(vector), SM)
    return float(build_widths(point).h1.total) / point.params.m_h1


def test_effect_vanishes_with_the_width():
    couplings = 10.0 ** np.arange(-7.0, -1.4, 0.5)
    vectors = np.stack([np.asarray(params(lambda_phix=c).to_vector()) for c in couplings])
    change = np.abs(np.asarray(rates(vectors, 1.0) / rates(vectors, 0.0)) - 1.0)
    gamma = np.array([width_over_mass(v) for v in vectors])
    assert gamma.min() < 2e-5 and gamma.max() > 1e-2
    assert np.all(change < 0.05 * gamma)
    outside = np.stack(
        [np.asarray(params(m_h1=10.0, lambda_phix=c).to_vector()) for c in couplings]
    )
    change = np.asarray(rates(outside, 1.0) / rates(outside, 0.0)) - 1.0
    gamma = np.array([width_over_mass(v) for v in outside])
    # (1/pi) (2 [ln(m_h1^2/q2)/(1 - q2/m_h1^2) - 1] - 1) is 1.7 to 2.2 for most q2 here.
    assert np.all(np.abs(change) < 3.0 * gamma)
    assert change[-1] > 0.5 * gamma[-1]


def test_zero_is_no_change_and_none_is_not_computed():
    vector = jnp.asarray(params(m_h1=6.0, lambda_phix=1.0).to_vector())
    assert float(rates(vector[None], 0.0)[0]) == pytest.approx(float(rate(vector, None)), rel=1e-14)


BROAD = [
    {"m_h1": 6.0, "m_x": 0.05, "lambda_phix": 0.5},
    {"m_h1": 10.0, "m_x": 0.6, "lambda_phix": 0.8},
    {"m_h1": 2.0, "m_x": 0.3, "lambda_phix": 0.15},
]


@pytest.mark.parametrize("changes", BROAD)
def test_nodes_resolve_the_factor(changes):
    point = build_point(params(**changes), SM)
    widths = build_widths(point)
    end = (SM.m_bplus - SM.m_kplus) ** 2

    @jax.jit
    def spectrum(q2):
        factor = theory_error_factor(point, widths, at(point, q2), 1.0)
        return dgamma_dq2(point, q2), factor

    edges = [4.0 * 0.0115**2, min(4.0 * point.params.m_x**2, end), min(point.params.m_h1**2, end)]
    edges = sorted({*edges, end})
    sums = np.zeros(2)
    for low, high in itertools.pairwise(edges):
        for k in range(2):
            sums[k] += quad(
                lambda s, k=k: float(spectrum(s)[0] * (spectrum(s)[1] if k else 1.0)),
                low,
                high,
                epsrel=1e-7,
                limit=200,
            )[0]
    vector = jnp.asarray(point.params.to_vector())[None]
    ratio = float(rates(vector, 1.0)[0] / rates(vector, 0.0)[0])
    assert ratio == pytest.approx(sums[1] / sums[0], rel=2e-4)
    assert abs(ratio - 1.0) > 1e-3


def test_finite_and_bounded_over_the_prior(prior_points):
    """Also where the portal is so strong below threshold that no expansion makes sense."""
    points = prior_points(500, 4).to_vector()
    central = np.asarray(rates(points, 0.0))
    positive = central > 0.0
    for z in (-2.0, 1.0):
        ratio = np.asarray(rates(points, z))[positive] / central[positive]
        assert np.all(ratio < np.exp(abs(z)) * 1.001) and np.all(ratio > np.exp(-abs(z)) * 0.999)

    def n(vector):
        point = build_point(Parameters.from_vector(vector), SM)
        return residue(point, build_widths(point))

    assert float(jnp.min(jax.jit(jax.vmap(n))(points))) > 0.5


@pytest.mark.parametrize("offset", [-1e-3, -1e-9, 0.0, 1e-9, 1e-3])
@pytest.mark.parametrize("m_h1", [0.6, 4.7857, 2.0])
def test_gradient_is_finite_across_thresholds(m_h1, offset):
    """H1 at twice m_x, at the end of phase space, and X X* closing at the end of phase space."""
    changes = {"m_x": 0.5 * (SM.m_bplus - SM.m_kplus)} if m_h1 == 2.0 else {}
    base = params(m_h1=m_h1, **changes)
    vector = jnp.asarray(base.to_vector())
    vector = vector.at[3].multiply(1.0 + offset) if m_h1 != 4.7857 else vector.at[4].add(offset)
    by_parameter, by_z = slopes(vector, 1.0)
    assert np.all(np.isfinite(by_parameter)) and np.isfinite(by_z)


def test_gradient_is_that_of_differences():
    vector = np.asarray(params(m_h1=6.0, lambda_phix=0.5, m_x=0.05).to_vector())
    gradient, _ = slopes(vector, 0.7)
    for k in (0, 2, 3, 4, 6):
        step = np.zeros(8)
        step[k] = 1e-4 * vector[k]
        up, down = rates(np.stack([vector + step, vector - step]), 0.7)
        assert float(gradient[k]) == pytest.approx(float(up - down) / (2.0 * step[k]), rel=1e-4)


def test_real_part_joins_the_absorptive_part_into_one_analytic_function():
    """|D + R|^2 of the factor against a complex inverse propagator put together here."""
    point = build_point(params(m_h1=6.0, lambda_phix=0.8), SM)
    widths = build_widths(point)
    q2 = np.array([0.01, 0.3, 1.0, 9.0, 20.0])
    d = at(point, q2)

    def loop(s, threshold):
        beta = np.sqrt(1.0 - threshold / (s + 0j))
        return beta * np.log((beta - 1.0) / (beta + 1.0))

    m2, pole = 0.0115**2, 36.0
    cx = (0.8 * float(point.v_phi)) ** 2 / (16.0 * np.pi)
    cz = (q2**2 - 4.0 * q2 * m2 + 12.0 * m2**2) / (32.0 * np.pi * float(point.v_phi) ** 2)
    total = 0.0
    for c, threshold in ((cx, 0.36), (cz, 4.0 * m2)):
        total = total + c / np.pi * (loop(q2, threshold) - loop(pole, threshold).real)
    inverse = q2 - pole + float(point.cos_theta) ** 2 * total
    only_width = d.pole**2 + np.asarray(absorptive_part(point, d, *dark_widths(point, d))) ** 2
    expected = float(residue(point, widths)) * np.asarray(only_width) / np.abs(inverse) ** 2
    np.testing.assert_allclose(running_factor(point, widths, d), expected, rtol=1e-4)


def test_likelihoods_can_let_it_float():
    likelihood = Likelihood.from_preset("talk2024").with_nuisances("h1_running")
    broad = params(m_h1=6.0, m_x=0.05, lambda_phix=0.5, sin_theta=0.02)
    evaluate = jax.jit(lambda z: likelihood.evaluate(broad, {"h1_running": z}))
    low, central, high = (evaluate(z).predictions["belle2_br"] for z in (-1.0, 0.0, 1.0))
    assert low < 0.9 * central and high > 1.1 * central
    assert float(evaluate(1.0).loglike - sum(evaluate(1.0).terms.values())) == pytest.approx(-0.5)

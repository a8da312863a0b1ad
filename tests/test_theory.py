"""Walls of theory: bounds against independent calculations, smoothness, gradients."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.base import Context
from lmltdm_jax.likelihoods.theory import (
    LAMBDA_X_MAX,
    THEORY_TERMS,
    H1Width,
    Perturbativity,
    Unitarity,
    VacuumStability,
    scattering_matrix,
    smooth_largest,
)
from lmltdm_jax.model import build_point
from lmltdm_jax.parameters import PARAMETER_NAMES, Parameters
from lmltdm_jax.widths import build_widths

pytestmark = pytest.mark.fast

SM = StandardModel.load("pdg2026")
TERMS = {term.key(): term.load() for term in THEORY_TERMS}


def context(vector):
    point = build_point(Parameters.from_vector(vector), SM)
    return Context(point, build_widths(point), None)  # pyright: ignore[reportArgumentType]


def vector(**changes):
    return jnp.asarray(Parameters.benchmark().replace(**changes).to_vector())


def predictions(v):
    values = context(v)
    return jnp.stack([term.prediction(values) for term in TERMS.values()])


def loglikes(v):
    values = context(v)
    return jnp.stack([term.loglike(values) for term in TERMS.values()])


@functools.cache
def compiled(kind):
    return jax.jit({"value": loglikes, "r": jax.jacrev(loglikes), "f": jax.jacfwd(loglikes)}[kind])


def test_benchmark_is_inside_all_bounds():
    assert np.all(np.asarray(predictions(vector())) < 1.0)
    np.testing.assert_array_equal(compiled("value")(vector()), 0.0)
    np.testing.assert_array_equal(compiled("r")(vector()), 0.0)


STRONG = {"m_h1": 30.0, "m_zp": 0.01, "g_x": 2e-3, "lambda_phix": 20.0, "sin_theta": 0.2}


def test_unitarity_matrix_from_the_potential():
    """Largest eigenvalue of M_{ij,kl} = d4V/dphi4 over all pairs of eight real fields, by JAX."""
    point = build_point(Parameters.from_vector(vector(**STRONG)), SM)

    def potential(fields):
        h, phi, x = (0.5 * jnp.sum(f**2) for f in (fields[:4], fields[4:6], fields[6:]))
        quartic = point.lambda_h * h**2 + point.lambda_phi * phi**2 + point.lambda_phih * h * phi
        return quartic + point.params.lambda_phix * x * phi

    fourth = jax.jacfwd(jax.jacfwd(jax.jacfwd(jax.jacfwd(potential))))(jnp.zeros(8))
    # Identical particles: 1/2 sum over ordered pairs.
    full = np.asarray(fourth).reshape(64, 64) / 2.0
    largest = np.max(np.abs(np.linalg.eigvalsh(full)))
    matrix = np.asarray(scattering_matrix(point))
    assert np.max(np.abs(np.linalg.eigvalsh(matrix))) == pytest.approx(largest, rel=1e-12)
    ratio = float(Unitarity.load().prediction(context(vector(**STRONG))))
    assert 1.0 <= ratio * 8 * math.pi / largest <= 3 ** (1 / 16)


def test_unitarity_of_the_standard_model_alone():
    """6 lambda_h < 8 pi is m_h < sqrt(8 pi/3) v (Lee, Quigg, Thacker) = 712 GeV."""
    limit = math.sqrt(8 * math.pi / 3) * SM.v_h
    sm = SM.replace(m_h2=limit)
    point = build_point(Parameters.benchmark().replace(sin_theta=0.0, lambda_phix=0.0), sm)
    assert float(scattering_matrix(point)[0, 0]) == pytest.approx(8 * math.pi, rel=1e-12)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_vacuum_stability_by_minimising_the_potential(sign, factor):
    """H at its vacuum value, lambda_X = 2 pi: deeper vacuum or runaway exactly above the bound."""
    base = context(vector(m_x=2.0))
    v_phi, quartic = float(base.point.v_phi), float(base.point.lambda_phi)
    reach = 2 * math.sqrt(LAMBDA_X_MAX * quartic)
    mass_term = 2 * (2.0 / v_phi) ** 2 if sign > 0 else 0.0
    portal = sign * (factor * reach + mass_term)
    ratio = float(VacuumStability.load().prediction(context(vector(m_x=2.0, lambda_phix=portal))))
    assert ratio == pytest.approx(factor, rel=1e-9)

    def potential(y):
        """|Phi|^2 and |X|^2 in units of v_phi^2."""
        phi, x = np.abs(y)
        return (
            quartic * (phi - 0.5) ** 2
            + portal * x * (phi - 0.5)
            + (2.0 / v_phi) ** 2 * x
            + LAMBDA_X_MAX * x**2
        )

    starts = [(0.0, 0.1), (1e-3, 1.0), (10.0, 1.0), (100.0, 10.0), (0.5, 0.01)]
    lowest = min(
        minimize(potential, s, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14}).fun
        for s in starts
    )
    assert (lowest < -1e-9) == (factor > 1.0)


def test_perturbativity_is_the_largest_coupling():
    for changes, expected in (
        ({"g_x": 4.0, "m_zp": 1e3}, 16.0 / (4 * math.pi)),
        ({"lambda_phix": -20.0}, 20.0 / (4 * math.pi)),
        ({"g_x": 1.0, "q_phi": 5.0, "m_zp": 1e3}, 25.0 / (4 * math.pi)),
    ):
        ratio = float(Perturbativity.load().prediction(context(vector(**changes))))
        assert 1.0 <= ratio / expected < 7 ** (1 / 16)


def test_smooth_largest_is_within_its_bound():
    rng = np.random.default_rng(1)
    for values in (*rng.normal(size=(20, 7)), np.ones(7), 1e200 * np.ones(7)):
        ratio = float(smooth_largest(jnp.asarray(values))) / np.max(np.abs(values))
        assert 1.0 - 1e-12 <= ratio <= 7 ** (1 / 16) + 1e-12


def test_width_of_h1():
    values = context(vector(m_h1=10.0, m_x=0.1, lambda_phix=0.5))
    ratio = float(H1Width.load().prediction(values))
    assert ratio == pytest.approx(float(values.widths.h1.total) / 10.0 * 2.0)


@pytest.mark.parametrize("key", TERMS)
def test_shape_of_the_wall(key):
    term = TERMS[key]

    class At(type(term)):
        def prediction(self, context):
            return context

    wall = At(term.measurement, term.name)
    for ratio, expected in ((0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (math.exp(0.1), -0.125)):
        assert float(wall.loglike(jnp.asarray(ratio))) == pytest.approx(expected, abs=1e-15)
    slope = [float(jax.grad(wall.loglike)(jnp.asarray(r))) for r in (1.0, 1.0 + 1e-6)]
    assert slope[0] == 0.0 and abs(slope[1]) < 1e-10


POINTS = [
    STRONG,
    {"lambda_phix": 0.4, "m_x": 0.05, "m_h1": 6.0},
    {"lambda_phix": -0.4},
    {"m_h1": 15.0, "g_x": 5e-3, "m_zp": 5e-3},
    {"g_x": 5.0, "m_zp": 10.0, "m_x": 8.0},
]


@pytest.mark.parametrize("changes", POINTS)
def test_gradients_forward_reverse_and_finite_difference(changes):
    values = vector(**changes)
    assert float(jnp.min(compiled("value")(values))) < 0.0
    forward, reverse = (compiled(kind)(values) * values for kind in "fr")
    np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=1e-12)
    for i in range(len(PARAMETER_NAMES)):
        factor = jnp.exp(1e-6 * jnp.eye(len(PARAMETER_NAMES))[i])
        up, down = (compiled("value")(v) for v in (values * factor, values / factor))
        np.testing.assert_allclose(reverse[:, i], (up - down) / 2e-6, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"lambda_phix": 0.0},
        {"sin_theta": 0.0, "lambda_phix": 0.0},
        {"m_zp": 1e-5, "m_h1": 300.0},
        {"m_h1": 2 * 0.3, "m_x": 0.3},
        {"g_x": 1e-11},
    ],
)
def test_finite_far_outside_and_at_zero(changes):
    values = vector(**changes)
    assert np.all(np.isfinite(compiled("value")(values)))
    assert np.all(np.isfinite(compiled("r")(values)))

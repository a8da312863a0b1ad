"""Charts where the theory error of the relic density varies, as in ``current``: the shell is
thicker near poles and thresholds, and the axis is measured in its thickness."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jacobian_of_charts import error_of_jacobian
from lmltdm_jax.inference import fit
from lmltdm_jax.inference.charts import Charts, evaluate_in, from_y, numbers, to_y
from lmltdm_jax.inference.target import evaluate

from lmltdm_jax.likelihoods.relic_density import RelicDensity

LABELS = [
    "annihilation below the mass of the Z'",
    "the shell above the pole of H1",
    "the shell below the pole of H1",
]
SLOW = ("belle2_br", "cmb_annihilation", "higgs_invisible")


@pytest.fixture(scope="module")
def target(talk2024):
    """The talk's data, with the relic density of ``current``."""
    (relic,) = (term for term in talk2024.term_list if isinstance(term, RelicDensity))
    varying = dataclasses.replace(relic, varying_error=True)
    rest = talk2024.without("relic_density", *SLOW)
    return fit.build_target(rest.with_terms(varying))


@pytest.fixture(scope="module")
def charts(target):
    return Charts.of(target)


@pytest.fixture(scope="module")
def near_pole(target):
    """y (80, 7): from 1e-3 to 0.3 below and above the pole of H1, X heavier than the Z'; above it
    the same with X lighter."""
    prior = target.coordinates.prior
    x = np.tile(np.mean(prior.box, axis=0), (80, 1))
    sides = np.geomspace(1e-3, 0.3, 30), -np.geomspace(1e-3, 0.3, 30), np.geomspace(1e-3, 0.3, 20)
    m_x = np.where(np.arange(80) < 60, 1.1, 0.12)
    m_h1 = 2.0 * m_x * (1.0 + np.concatenate(sides))
    values = {"m_zp": 0.13, "g_x": 2e-5, "sin_theta": 2e-3, "m_x": m_x, "m_h1": m_h1}
    for name, value in values.items():
        x[:, prior.names.index(name)] = np.log10(value)
    return np.asarray(jax.jit(jax.vmap(target.coordinates.from_box))(x))


def test_there_and_back_over_the_prior_box(charts, target):
    prior = target.coordinates.prior
    u = np.random.default_rng(1).uniform(size=(2000, prior.dimension))
    u[::4] = np.where(u[::4] < 0.5, 1e-9, 1.0 - 1e-9)
    x = prior.box_from_unit(jnp.asarray(u))
    y = np.asarray(jax.jit(jax.vmap(target.coordinates.from_box))(x))
    of = numbers(charts, y)
    w, log_jacobian = from_y(charts, of, y)
    assert np.all(np.isfinite(w)) and np.all(np.isfinite(log_jacobian))
    np.testing.assert_allclose(to_y(charts, of, w)[0], y, atol=1e-6)


def test_the_axis_is_in_units_of_the_thickness(charts, target, near_pole):
    """A step along it is further in ln Omega h2 where the error is larger; where there is none it
    is what it was."""
    of = numbers(charts, near_pole)
    assert sorted(charts.label(k) for k in np.unique(of)) == LABELS
    w, _ = from_y(charts, of, near_pole)
    axes = np.array([charts.axis(k) or 0 for k in range(len(charts.each))])[of]
    rows = np.arange(len(w))
    w[rows, axes] = 0.0
    root, _ = to_y(charts, of, w)
    stretch = np.exp(np.asarray(jax.jit(jax.vmap(target.log_stretch))(root)))
    assert stretch.min() < 3.0 and stretch.max() > 15.0
    w[rows, axes] = 1e-4
    plain = dataclasses.replace(
        charts, target=dataclasses.replace(target, likelihood=_constant(target.likelihood))
    )
    moved, of_map = to_y(charts, of, w)
    w[rows, axes] *= stretch
    expected, shear = to_y(plain, of, w)
    np.testing.assert_allclose(moved, expected, atol=1e-9)
    np.testing.assert_allclose(of_map, shear + np.log(stretch), atol=1e-9)


def _constant(likelihood):
    (relic,) = (term for term in likelihood.term_list if isinstance(term, RelicDensity))
    rest = likelihood.without("relic_density")
    return rest.with_terms(dataclasses.replace(relic, varying_error=False))


def test_the_jacobian_is_that_of_the_map(charts, near_pole):
    of = numbers(charts, near_pole)
    w, log_jacobian = from_y(charts, of, near_pole)
    assert error_of_jacobian(charts, of, w, log_jacobian, 1e-6) < 0.01


def test_densities_are_those_of_the_posterior(charts, target, near_pole):
    of = numbers(charts, near_pole)
    w, log_jacobian = from_y(charts, of, near_pole)
    found, plain = evaluate_in(charts, of, w), evaluate(target, near_pole)
    np.testing.assert_allclose(found.log_prior, plain.log_prior + log_jacobian, atol=1e-8)
    np.testing.assert_allclose(found.log_likelihood, plain.log_likelihood, atol=1e-6)
    potential = jax.jit(jax.vmap(charts.potential))(of, w)
    whole = found.log_prior + found.log_likelihood
    np.testing.assert_allclose(potential, -whole, rtol=1e-9, atol=1e-6)

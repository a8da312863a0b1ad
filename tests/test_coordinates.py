"""Priors and the samplers' coordinates: bijections with exact densities, finite everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lmltdm_jax.inference.coordinates import Coordinates, log10_lambda_shell
from lmltdm_jax.inference.prior import Prior, soft_box, soft_box_inverse, soft_box_log_slope

import lmltdm_jax
from lmltdm_jax import InputError, Parameters
from lmltdm_jax.parameters import PARAMETER_TABLE, parameter_info


@pytest.fixture(scope="module")
def coordinates(current):
    """Seven parameters and a nuisance."""
    return Coordinates(Prior.for_likelihood(current))


@pytest.fixture(scope="module")
def draws(coordinates):
    """(4000, d) box coordinates from the prior, every tenth close to a wall of the box."""
    rng = np.random.default_rng(4)
    u = rng.uniform(size=(4000, coordinates.prior.dimension))
    u[::10] = np.where(rng.uniform(size=u[::10].shape) < 0.5, 1e-9, 1.0 - 1e-9)
    return coordinates.prior.box_from_unit(jnp.asarray(u))


def test_the_soft_box_is_a_bijection_with_the_stated_slope():
    t = jnp.linspace(-40.0, 40.0, 401)
    low, high = jnp.asarray(-3.0), jnp.asarray(2.0)
    x = soft_box(t, low, high)
    assert jnp.all((x >= low - 1e-12) & (x <= high + 1e-12))
    inside = jnp.abs(t + 0.5) < 4.0
    np.testing.assert_allclose(soft_box_inverse(x, low, high)[inside], t[inside], atol=1e-9)
    slope = jax.vmap(jax.grad(soft_box), in_axes=(0, None, None))(t, low, high)
    steep = slope > 1e-7  # below, the difference of two sigmoids has lost its digits
    np.testing.assert_allclose(
        soft_box_log_slope(t, low, high)[steep], jnp.log(slope[steep]), atol=1e-6
    )


def test_round_trip_and_density(coordinates, draws):
    """ln p(y) = ln |dx/dy| + ln p(x), for every point: the shear has Jacobian one."""
    prior = coordinates.prior
    y = jax.jit(jax.vmap(coordinates.from_box))(draws)
    assert jnp.all(jnp.isfinite(y))
    np.testing.assert_allclose(coordinates.to_box_many(np.asarray(y)), draws, atol=1e-8)
    jacobian = jax.jit(jax.vmap(jax.jacfwd(coordinates.to_box)))(y[:500])
    low, high = prior.box
    n = len(low)
    normal = -0.5 * jnp.sum(draws[:500, n:] ** 2 + np.log(2 * np.pi), axis=1)
    expected = jnp.linalg.slogdet(jacobian)[1] - np.log(high - low).sum() + normal
    actual = jax.jit(jax.vmap(lambda v: coordinates.physical(v)[2]))(y[:500])
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_finite_with_finite_gradient_far_outside(coordinates, draws):
    y = jax.jit(jax.vmap(coordinates.from_box))(draws)
    y = y + 8.0 * jax.random.normal(jax.random.key(0), y.shape)
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(lambda v: coordinates.physical(v)[2])))(y)
    assert jnp.all(jnp.isfinite(value)) and jnp.all(jnp.isfinite(gradient))


def test_the_shell_is_where_the_relic_density_is_right():
    """At the benchmark the estimate is the solved coupling to 0.1 in log10."""
    point = Parameters.benchmark()
    estimate = float(jax.jit(log10_lambda_shell)(point))
    assert estimate == pytest.approx(np.log10(point.lambda_phix), abs=0.1)


@pytest.mark.parametrize("ratio", [3.0, 8.0, 40.0])
def test_the_upper_branch_is_where_the_width_of_h1_brings_the_relic_density_back(talk2024, ratio):
    """Omega h2 at the estimate within a factor of two, and it rises with lambda there."""
    point = Parameters.benchmark().replace(m_x=0.05, m_h1=0.05 * ratio)
    estimate = 10.0 ** float(log10_lambda_shell(point, upper=True))
    assert estimate > 3.0 * 10.0 ** float(log10_lambda_shell(point))
    batch = point.replace(lambda_phix=np.array([0.9, 1.0, 1.1]) * estimate)
    lower, omega, higher = lmltdm_jax.predict(batch, talk2024)["omega_h2"]
    assert lower < omega < higher
    assert abs(np.log(omega / 0.12)) < np.log(2.0)


def test_without_adaptation_the_coordinate_is_the_parameter(coordinates, draws):
    plain = Coordinates(coordinates.prior, adapted=False)
    t = jax.vmap(plain.from_box)(draws[:10])
    np.testing.assert_allclose(t, coordinates.prior.unconstrained_from_box(draws[:10]))


def test_unit_cube_and_physical_values(coordinates):
    prior = coordinates.prior
    ends = prior.prior_transform(np.full((1, prior.dimension), 0.5))[0]
    for name, value in zip(prior.names, ends, strict=True):
        if name in prior.nuisances:
            assert value == pytest.approx(0.0, abs=1e-12)
        else:
            low, high = parameter_info(name).prior
            assert value == pytest.approx(np.sqrt(low * high))
    params, nuisances = prior.physical(prior.box_from_physical(Parameters.benchmark()))
    assert float(params.m_x) == pytest.approx(0.3)
    assert set(nuisances) == set(prior.nuisances)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ranges": {"m_y": (0, 1)}}, "unknown parameter 'm_y'"),
        ({"ranges": {"m_x": (1, 0.1)}}, "needs low < high"),
        ({"ranges": {"m_x": (0, 1)}}, "leaves the domain"),
        ({"ranges": {"lambda_phix": (-1, 1)}}, "must be positive"),
        ({"fixed": {"sin_theta": 2.0}}, "outside its range"),
        ({"fixed": {"m_x": 1.0}, "ranges": {"m_x": (1, 2)}}, "both fixed"),
        ({"fixed": {i.name: i.prior[0] for i in PARAMETER_TABLE}}, "nothing to sample"),
    ],
)
def test_bad_priors_say_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        Prior.from_table(**arguments)

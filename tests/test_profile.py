"""``lmltdm profile``: minima of known functions, no basin missed, resuming, files and errors."""

import jax.numpy as jnp
import numpy as np
import pytest
from lmltdm_jax.inference import fit as fitting
from lmltdm_jax.inference import profile as profiling
from lmltdm_jax.inference.folding import fold, unfold
from lmltdm_jax.inference.minimise import minimise
from lmltdm_jax.inference.profile_grid import Grid, scannable
from lmltdm_jax.inference.target import Target

from lmltdm_jax import InputError

NAMES = ("m_h1", "sin_theta")


class Toy(Target):
    """chi2 a function of u, the place in the prior box from 0 to 1 along each axis."""

    def evaluate(self, y):
        u = self.coordinates.prior.unit_from_box(self.coordinates.to_box(y))
        return self.coordinates.prior.log_density(y), -0.5 * self.chi2(u), jnp.zeros(())

    def columns(self, y):
        return {f"pull_{term.name}": y[0] for term in self.likelihood.term_list}


class Valley(Toy):
    """A curved valley, 0.01 wide, along which chi2 rises slowly; least 0 where u = 0.5."""

    def chi2(self, u):
        bend = u[3] - 0.5 - 2.0 * (u[2] - 0.5) ** 2
        return (bend / 0.01) ** 2 + jnp.sum(((u - 0.5) / 0.2) ** 2)


class Edge(Toy):
    """Falls towards the end of the box at u[0] = 1: the minimum lies on it."""

    def chi2(self, u):
        return 4.0 * (2.0 - u[0]) ** 2 + jnp.sum(((u[1:] - 0.5) / 0.1) ** 2)


class Basins(Toy):
    """Two basins along u[3], which the others cannot leave; which is deeper changes over u[4]."""

    def chi2(self, u):
        left = ((u[3] - 0.2) / 0.02) ** 2 + 10.0 * u[4]
        right = ((u[3] - 0.8) / 0.02) ** 2 + 6.0
        floor = -2.0 * jnp.logaddexp(-0.5 * left, -0.5 * right)
        return floor + jnp.sum(((u[:3] - 0.5) / 0.2) ** 2)


@pytest.fixture(scope="module")
def plain(talk2024):
    """Coordinates without a shell; a likelihood that toys only take their terms' names from."""
    target = fitting.build_target(talk2024)
    return scannable(target, ["lambda_phix"])


def toy(kind, plain):
    return kind(plain.coordinates, plain.likelihood)


def scattered(target, n, seed):
    """Starts all over the prior box."""
    prior = target.coordinates.prior
    u = np.random.default_rng(seed).uniform(0.02, 0.98, (n, prior.dimension))
    return np.asarray(prior.unconstrained_from_box(prior.box_from_unit(jnp.asarray(u))))


def unit_metric(target):
    low, high = target.coordinates.prior.box
    return np.diag(0.1 * (high - low))


def test_folding_is_straight_inside_and_keeps_the_range():
    v = np.linspace(-5.0, 5.0, 2001)
    s = np.asarray(fold(v))
    assert np.all(np.abs(s) <= 1.0)
    np.testing.assert_array_equal(s[np.abs(v) < 0.9], v[np.abs(v) < 0.9])
    # One slope everywhere but at the rounded ends, and no jump.
    assert np.all(np.abs(np.diff(s)) < 1.001 * np.diff(v))
    inside = np.linspace(-0.995, 0.995, 101)
    np.testing.assert_allclose(fold(unfold(inside)), inside, atol=1e-12)
    assert 0.99 < fold(unfold(1.0)) < 1.0


@pytest.mark.parametrize(("kind", "least"), [(Valley, 0.0), (Edge, 4.0)])
def test_minima_of_known_functions(kind, least, plain):
    """More starts than lanes, so that lanes are refilled."""
    target = toy(kind, plain)
    y = scattered(target, 100, 1)
    free = np.ones(target.dimension, bool)
    found = minimise(target, y, unit_metric(target), free)
    assert found.y.shape == y.shape
    np.testing.assert_allclose(found.chi2, least, atol=1e-2)
    assert found.converged.mean() > 0.95 and found.steps.min() >= 1
    again = minimise(target, y, unit_metric(target), free)
    np.testing.assert_array_equal(again.y, found.y)


def test_what_is_not_free_stays(plain):
    target = toy(Valley, plain)
    y = scattered(target, 40, 2)
    free = np.array([True, False, True, True, False, True, True])
    found = minimise(target, y, unit_metric(target), free)
    np.testing.assert_array_equal(found.y[:, ~free], y[:, ~free])
    prior = target.coordinates.prior
    u = np.asarray(prior.unit_from_box(prior.box_from_unconstrained(jnp.asarray(y))))
    expected = np.sum(((u[:, ~free] - 0.5) / 0.2) ** 2, axis=1)
    np.testing.assert_allclose(found.chi2, expected, atol=1e-2)


def test_no_basin_is_missed(plain):
    """Neighbours carry the deeper of two basins to every cell; both are known."""
    target = toy(Basins, plain)
    settings = profiling.ProfileSettings(("m_h1", "m_zp"), 12, particles=64, moves=2)
    found = profiling.run(target, settings, seed=1)
    u = (np.arange(12) + 0.5) / 12
    least = np.minimum(10.0 * u, 6.0)[:, None] + ((u - 0.5) / 0.2) ** 2
    np.testing.assert_allclose(found.cells.chi2.reshape(12, 12), least, atol=1e-2)
    assert found.unsettled == 0 and found.delta_chi2.min() > -1e-3


def test_grid():
    prior = fitting.build_target("talk2024").coordinates.prior
    grid = Grid.over(prior, NAMES, 3)
    assert grid.shape == (3, 3) and not grid.free[grid.axes].any()
    np.testing.assert_allclose(grid.values(1), 1e-4 * 1000.0 ** ((np.arange(3) + 0.5) / 3))
    assert sorted(grid.neighbours()[4]) == [1, 3, 5, 7]
    assert sorted(grid.neighbours()[0]) == [-1, -1, 1, 3]
    y = np.arange(14.0).reshape(2, 7)
    moved = grid.projected(y, np.array([5, 0]))
    x = np.asarray(prior.box_from_unconstrained(jnp.asarray(moved)))
    np.testing.assert_allclose(grid.cell_of(x), [[1, 2], [0, 0]], atol=1e-9)
    np.testing.assert_array_equal(moved[:, grid.free], y[:, grid.free])
    for names, size, words in (
        (("q_x",), 5, "x: 'q_x' is not a sampled parameter; known: m_zp, g_x"),
        (("m_x", "m_y"), 5, "y: 'm_y' is not a sampled parameter"),
        (("m_x", "m_x"), 5, "y: 'm_x' is x already"),
        (("m_x",), 1, "size = 1 is outside its range"),
    ):
        with pytest.raises(InputError, match=words):
            Grid.over(prior, names, size)

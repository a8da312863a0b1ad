"""Which minima of its neighbours a cell of a profile starts from in a sweep."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lmltdm_jax.inference import fit
from lmltdm_jax.inference import profile as profiling
from lmltdm_jax.inference import profile_starts as starts
from lmltdm_jax.inference.charts import Charts, numbers
from lmltdm_jax.inference.minimise import Minima, chi2_of
from lmltdm_jax.inference.profile_grid import Grid
from lmltdm_jax.inference.progress import silent
from lmltdm_jax.inference.target import evaluate


@pytest.fixture(scope="module")
def target(talk2024):
    """What fixes the shell, without the terms that cost most to compile."""
    return fit.build_target(talk2024.without("belle2_br", "cmb_annihilation", "higgs_invisible"))


@pytest.fixture(scope="module")
def minima(target):
    """(grid, minima): points over the prior box, one in each of 4 x 4 cells."""
    prior = target.coordinates.prior
    grid = Grid.over(prior, ("m_h1", "sin_theta"), 4)
    x = prior.box_from_unit(jnp.asarray(np.random.default_rng(1).uniform(size=(16, 7))))
    y = np.asarray(jax.jit(jax.vmap(target.coordinates.from_box))(x))
    y = grid.projected(y, np.arange(16))
    chi2 = chi2_of(target, evaluate(target, y))
    return grid, Minima(y, chi2, np.zeros(16, int), np.zeros(16, bool))


def test_what_is_moved_lies_in_its_cell_and_is_no_higher(target, minima):
    """Most are put onto the relic shell, where chi2 is lower by far."""
    grid, found = minima
    cells = np.random.default_rng(2).integers(16, size=64)
    y, moves = np.tile(found.y, (4, 1)), np.zeros(64, int)
    plain = grid.projected(y, cells, moves)
    moved, chi2 = starts._moved(target, grid, y, cells, moves)
    np.testing.assert_array_equal(moved[:, grid.axes], plain[:, grid.axes])
    np.testing.assert_allclose(chi2, chi2_of(target, evaluate(target, moved)))
    before = chi2_of(target, evaluate(target, plain))
    assert np.all(chi2 <= before) and np.mean(chi2 < before - 10.0) > 0.5
    flat = fit.build_target(target.likelihood.without("relic_density"))
    assert np.all(numbers(Charts.of(flat), y) == 0)
    same, _ = starts._moved(flat, grid, y, cells, moves)
    np.testing.assert_array_equal(same, grid.projected(y, cells, moves))


def test_starts_of_a_cell_lie_apart(target, minima):
    """From each other, and from the minimum that it has unless they are lower."""
    grid, found = minima
    covariance = np.cov(found.y.T)
    improved = np.arange(16) != 5
    cells, y = starts.from_neighbours(target, grid, found, improved, covariance)
    assert np.bincount(cells).max() == 2
    factor = np.linalg.cholesky(covariance[np.ix_(grid.free, grid.free)])
    away = np.linalg.solve(factor, (y - found.y[cells])[:, grid.free].T).T
    chi2 = chi2_of(target, evaluate(target, y))
    assert np.all((np.sum(away**2, axis=1) > 1.0) | (chi2 < found.chi2[cells]))
    for cell in np.unique(cells):
        one, *others = away[cells == cell]
        assert all(np.sum((one - other) ** 2) > 1.0 for other in others)


def test_what_has_gone_on_to_its_end_does_not_go_on_again(target, minima, monkeypatch):
    """When nothing improves: of 16 cells 6 have, and 4 have converged."""
    grid, found = minima
    number, begun = np.arange(16), []

    def nowhere(target, y, free, told=silent, steps=0, bar=None):
        begun.append(y)
        return Minima(y, np.full(len(y), np.inf), np.zeros(len(y), int), np.zeros(len(y), bool))

    monkeypatch.setattr(profiling, "minimise", nowhere)
    cells = dataclasses.replace(found, converged=number >= 12)
    state = profiling.State(cells=cells, improved=number < 0, polished=number < 6)
    settings = profiling.ProfileSettings(grid.names, grid.size)
    after = profiling._swept(target, grid, state, settings, np.eye(7), silent)
    # With the masses held, then with all free.
    assert len(begun) == 2
    for y in begun:
        np.testing.assert_array_equal(y, found.y[6:12])
    np.testing.assert_array_equal(after.y, found.y)

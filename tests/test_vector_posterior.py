"""The posterior of a plain vector, used by emcee, dynesty and iminuit, against a fine grid."""

import dynesty
import emcee
import iminuit
import numpy as np
import pytest
from lmltdm_jax.inference.vector import VectorPosterior
from scipy.special import logsumexp

from lmltdm_jax import InputError, Likelihood
from lmltdm_jax.parameters import Parameters

RANGES = {"m_zp": (8e-3, 0.1), "g_x": (2e-4, 2e-3)}
GRID = 160


def posterior(*nuisances):
    """Muon g-2 and N_eff over (m_zp, g_x), every other parameter at the benchmark."""
    talk = Likelihood.from_preset("talk2024")
    others = [t.name for t in talk.term_list if t.name not in ("muon_g2", "hubble")]
    kept = talk.without(*others).with_nuisances(*nuisances)
    benchmark = Parameters.benchmark().to_dict()
    fixed = {name: value for name, value in benchmark.items() if name not in RANGES}
    return VectorPosterior(kept, ranges=RANGES, fixed=fixed)


@pytest.fixture(scope="module")
def post():
    return posterior()


@pytest.fixture(scope="module")
def grid(post):
    """Midpoints (n, 2) in ln, and ln L there."""
    u = (np.arange(GRID) + 0.5) / GRID
    points = post.prior_transform(np.stack(np.meshgrid(u, u), -1).reshape(-1, 2))
    return points, post.loglike(points)


def test_emcee(post, grid):
    points, loglike = grid
    weights = np.exp(loglike - logsumexp(loglike))
    mean = weights @ np.log(points)
    sd = np.sqrt(weights @ (np.log(points) - mean) ** 2)
    walkers, steps = 32, 1500
    sampler = emcee.EnsembleSampler(walkers, 2, post.logpdf, vectorize=True)
    sampler.random_state = np.random.RandomState(1).get_state()
    begin = post.prior_transform(np.random.default_rng(1).uniform(size=(walkers, 2)))
    sampler.run_mcmc(begin, steps)
    draws = np.log(sampler.get_chain(discard=300, flat=True))
    effective = len(draws) / sampler.get_autocorr_time(tol=0).max()
    assert effective > 300
    # Five standard errors.
    assert np.all(np.abs(draws.mean(0) - mean) < 5.0 * sd / np.sqrt(effective))
    np.testing.assert_allclose(draws.std(0), sd, rtol=5.0 / np.sqrt(2.0 * effective))


def test_dynesty(post, grid):
    expected = logsumexp(grid[1]) - np.log(GRID**2)
    sampler = dynesty.NestedSampler(
        post.loglike,
        post.prior_transform,
        post.dimension,
        nlive=100,
        rstate=np.random.default_rng(2),
    )
    sampler.run_nested(print_progress=False)
    found = sampler.results
    assert abs(found.logz[-1] - expected) < 4.0 * found.logzerr[-1] < 1.5


def test_minuit(post, grid):
    points, loglike = grid
    fit = iminuit.Minuit(post.chi2, post.start, grad=post.chi2_gradient, name=post.names)
    fit.limits = list(RANGES.values())
    fit.migrad()
    least = -2.0 * loglike.max()
    assert fit.valid and least - 0.05 < fit.fval < least + 1e-6
    # A profile: the least over g_x at one m_zp.
    column = np.isclose(points[:, 0], points[np.argmin(np.abs(points[:, 0] - 0.02)), 0], rtol=1e-9)
    fit.values["m_zp"] = points[column][0, 0]
    fit.fixed["m_zp"] = True
    fit.migrad()
    assert fit.fval == pytest.approx(-2.0 * loglike[column].max(), abs=0.01)


def test_gradients_and_prior_density(post, grid):
    vector = post.start
    steps = 1e-6 * np.diag(vector)
    for value, gradient in (
        (post.logpdf, post.grad),
        (lambda v: -2.0 * post.loglike(v), post.chi2_gradient),
    ):
        numeric = (value(vector + steps) - value(vector - steps)) / (2e-6 * vector)
        np.testing.assert_allclose(gradient(vector), numeric, rtol=1e-6)
    # Density in the vector: it integrates to what the unit cube does.
    points, loglike = grid
    cell = np.prod(np.log([high / low for low, high in RANGES.values()])) / GRID**2
    integral = np.sum(np.exp(post.logpdf(points)) * np.prod(points, axis=1)) * cell
    assert integral == pytest.approx(np.mean(np.exp(loglike)), rel=1e-9)
    outside = vector * np.array([1e3, 1.0])
    assert post.logpdf(outside[None]) == -np.inf
    np.testing.assert_array_equal(post.grad(outside), 0.0)
    assert post.chi2(vector * np.array([-1.0, 1.0])) == np.inf
    with pytest.raises(InputError, match=r"shape \(3,\), needs \(2,\)"):
        post.loglike(np.ones(3))


def test_a_nuisance_is_constrained_once():
    """The muon's mass is known so well that only its own constraint is left."""
    post = posterior("m_mu")
    assert post.names == ("m_zp", "g_x", "m_mu")
    assert post.start[-1] == 0.0
    vectors = post.start + np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.5]])
    for values in (post.chi2(vectors), -2.0 * post.logpdf(vectors)):
        assert np.diff(values) == pytest.approx(1.5**2, abs=1e-3)

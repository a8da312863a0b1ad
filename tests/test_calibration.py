"""Simulation-based calibration (Talts et al., arXiv:1804.06788) of the whole pipeline.

Parameters drawn from a prior, data drawn from the likelihood at them, a fit of every data set: the
rank of the true value among draws of the posterior is uniform, for every quantity, if and only if
the draws follow the posterior. On a subset of the likelihood that is fast, because no term reads
the relic density: four parameters, four measurements with Gaussian errors, bent degeneracies
(g_x/m_zp, sin_theta^2 x coupling), posteriors ended by the prior, both lobes of B -> K H1.
"""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lmltdm_jax.inference.fit import FitSettings, build_target, run
from lmltdm_jax.inference.learn import LearnSettings
from lmltdm_jax.inference.nuts import NutsSettings
from lmltdm_jax.inference.target import Target, evaluate
from scipy import stats

from lmltdm_jax.likelihoods.base import Context, Term
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.likelihoods.total import Likelihood

DATA_SETS = 200
BINS = 10
FAILURE = 1e-3
"""Probability that a right pipeline fails, over all quantities together"""
SETTINGS = FitSettings(
    256,
    8,
    LearnSettings(walkers=256, walks=6, sweeps=3, epochs=20, draws=4000, rounds=1),
    NutsSettings(
        chains=8,
        warmup_blocks=8,
        blocks=50,
        look=50,
        ess=500.0,
        transitions=2,
        sweeps=4,
        max_tree_depth=4,
    ),
)
THIN = 10
"""Draws of a chain from one that is ranked to the next"""
TERMS = ("muon_g2", "hubble", "belle2_br", "higgs_invisible")
ERRORS = (6e-10, 0.15, 7e-6, 0.02)
PRIOR = {
    "ranges": {
        "m_zp": (0.008, 0.05),
        "g_x": (2e-4, 1.5e-3),
        "sin_theta": (1e-3, 2e-2),
        "m_h1": (0.5, 8.0),
    },
    "fixed": {"m_x": 0.3, "q_phi": 0.4, "lambda_phix": 1e-3},
}


class Simulated(Term):
    """Another term's prediction against a number that is an array: one program for all of them."""

    term: Term
    value: jax.Array
    error: float = eqx.field(static=True)
    measurement: Measurement
    name: str = eqx.field(static=True)

    def prediction(self, context: Context) -> jax.Array:
        return self.term.prediction(context)

    def pull(self, context: Context) -> jax.Array:
        return (self.prediction(context) - self.value) / self.error

    def loglike(self, context: Context) -> jax.Array:
        return -0.5 * self.pull(context) ** 2


def target_of(values) -> Target:
    """Posterior given what the four terms were seen to measure, (4,)."""
    likelihood = Likelihood.from_preset("talk2024")
    terms = {term.name: term for term in likelihood.term_list}
    simulated = tuple(
        Simulated(
            term=terms[name],
            value=jnp.asarray(value, float),
            error=error,
            measurement=terms[name].measurement,
            name=name,
        )
        for name, value, error in zip(TERMS, values, ERRORS, strict=True)
    )
    return build_target(dataclasses.replace(likelihood, term_list=simulated), **PRIOR)


@eqx.filter_jit
def predictions(target: Target, y: jax.Array) -> jax.Array:
    params, nuisances, _ = target.coordinates.physical(y)
    found = target.likelihood.evaluate(params, nuisances).predictions
    return jnp.stack([found[name] for name in TERMS])


def ranked(target: Target, truth: np.ndarray, seed: int) -> np.ndarray:
    """Share of the draws below the truth (2 x quantities,): parameters, then ln L; of the chains,
    then of the weighted draws."""
    fit = run(target, SETTINGS, seed)
    y = fit.draws.y[:, THIN - 1 :: THIN].reshape(-1, target.dimension)
    both = evaluate(target, np.concatenate([truth[None], y]))
    x = target.coordinates.to_box_many(both.y)
    quantities = np.column_stack([x, both.log_likelihood])
    below = np.sum(quantities[1:] < quantities[0], axis=0)
    # Uniform on [0, 1] if the rank is on {0, ..., n}.
    rng = np.random.default_rng([seed, 1])
    chains = (below + rng.uniform(size=len(below))) / (len(y) + 1)
    weighted, values = fit.weighted, target.coordinates.values(truth)
    sets = [(weighted.parameters[name], value) for name, value in values.items()]
    sets.append((weighted.log_likelihood, both.log_likelihood[0]))
    return np.append(chains, [np.sum(weighted.weights[x < at]) for x, at in sets])


def simulated_fits(n: int) -> np.ndarray:
    """(n, 2 x quantities)"""
    target = target_of(np.zeros(len(TERMS)))
    rng = np.random.default_rng(2026)
    box = target.coordinates.prior.box_from_unit(
        jnp.asarray(rng.uniform(size=(n, target.dimension)))
    )
    truths = np.asarray(jax.vmap(target.coordinates.from_box)(box))
    found = []
    for seed, truth in enumerate(truths):
        values = np.asarray(predictions(target, jnp.asarray(truth)))
        values = values + np.array(ERRORS) * rng.standard_normal(len(TERMS))
        found.append(ranked(target_of(values), truth, seed))
        print(f"{seed + 1} of {n}", flush=True)
    return np.array(found)


def p_values(shares: np.ndarray) -> np.ndarray:
    """(quantities, 2): chi2 over bins, and Kolmogorov-Smirnov, of uniformity."""
    found = []
    for column in shares.T:
        counts, _ = np.histogram(column, BINS, (0.0, 1.0))
        found.append([stats.chisquare(counts).pvalue, stats.kstest(column, "uniform").pvalue])
    return np.array(found)


def test_ranks_of_a_posterior_too_narrow_are_noticed():
    """A posterior narrower than it should be by a quarter: what the test below can see."""
    rng = np.random.default_rng(0)
    shares = stats.norm.cdf(rng.standard_normal((DATA_SETS, 1)) / 0.75)
    assert p_values(shares).min() < FAILURE
    shares = rng.uniform(size=(DATA_SETS, 1))
    assert p_values(shares).min() > FAILURE


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ranks_of_the_truth_are_uniform():
    """Fails by chance once in a thousand times."""
    p = p_values(simulated_fits(DATA_SETS))
    print(np.array_str(p, precision=3))
    assert p.min() > FAILURE / p.size, p

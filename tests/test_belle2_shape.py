"""Belle II shape likelihood: templates, two-body scan, gradients, terms."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from numpyro.infer import MCMC, NUTS

from lmltdm_jax import InputError, Likelihood
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.base import Context
from lmltdm_jax.likelihoods.belle2_data import bin_edges, events_per_bin, null_fractions
from lmltdm_jax.likelihoods.belle2_ita_hta import Belle2ItaHta
from lmltdm_jax.likelihoods.belle2_shape import Belle2Shape
from lmltdm_jax.likelihoods.histfactory import loglike_per_bin
from lmltdm_jax.likelihoods.histfactory_fit import best_alpha, fit, objective
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.b_to_k import (
    Spectrum,
    br_bplus_kplus_np,
    spectrum_bplus_kplus_np,
)
from lmltdm_jax.observables.b_to_k_nunu import br_bplus_kplus_nunu_sm
from lmltdm_jax.observables.b_to_k_spectrum import np_bin_fractions, sm_bin_fractions
from lmltdm_jax.parameters import Parameters
from lmltdm_jax.widths import build_widths

# Together the tests take two minutes.
pytestmark = pytest.mark.slow

SM = StandardModel.load("pdg2026")
TERM = Belle2Shape.load()
NULL = null_fractions()
EVENTS = events_per_bin(TERM.model)

# m [GeV], BR, error, significance: profile fits on top of the Standard Model by other code, one
# interpolation linear between bin centres, minimised over every gamma as well.
TWO_BODY = np.array(
    [
        [0.3, 1.170965e-6, 1.414926e-6, 0.825331],
        [1.5, 1.092067e-6, 1.403593e-6, 0.775469],
        [1.9, 7.491194e-6, 2.484274e-6, 2.992785],
        [2.1, 8.666094e-6, 2.488879e-6, 3.630631],
        [2.3, 6.290463e-6, 1.983429e-6, 3.328416],
        [2.6, 8.347859e-6, 2.675425e-6, 3.217873],
        [3.0, -8.087818e-6, 5.275831e-6, -1.516284],
        [3.6, -3.203560e-5, 1.674619e-5, -1.974146],
    ]
)


def parameters(**changes):
    return Parameters(0.0115, 5e-4, 4e-3, 0.05, 2.1, 0.4, 0.01).replace(**changes)


def point_of(vector):
    point = build_point(Parameters.from_vector(vector), SM)
    return point, build_widths(point)


@functools.cache
def compiled(name):
    """Batched functions, compiled once."""

    def two_body(br, q2):
        signal = TERM.signal_of(NULL, Spectrum(q2[None], br[None]))
        return fit(TERM.model, signal, jnp.asarray(TERM.start)).loglike

    def loglike(vector):
        point, widths = point_of(vector)
        signal = TERM.signal_of(
            sm_bin_fractions(SM, bin_edges()), spectrum_bplus_kplus_np(point, widths)
        )
        return fit(TERM.model, signal, jnp.asarray(TERM.start)).loglike

    def bins(vector):
        spectrum = spectrum_bplus_kplus_np(*point_of(vector))
        fractions = np_bin_fractions(spectrum, bin_edges())
        rate = br_bplus_kplus_np(*point_of(vector))
        return fractions, TERM.signal_of(0.0 * NULL, spectrum), rate

    functions = {
        "two_body": jax.value_and_grad(two_body),
        "loglike": jax.value_and_grad(loglike),
        "bins": bins,
    }
    return jax.jit(jax.vmap(functions[name]))


VECTORS = np.stack(
    [
        np.asarray(parameters(**changes).to_vector())
        for changes in (
            {},
            {"lambda_phix": 1e-6, "q_phi": 0.01},
            {"m_h1": 6.0, "lambda_phix": 0.1},
            {"m_h1": 10.0, "lambda_phix": 0.3, "m_x": 0.6},
            {"m_x": 1.05000001},
            {"m_x": 1.04999999},
            {"m_h1": 4.78, "lambda_phix": 1.0},
            {"m_h1": 0.3},
        )
    ]
)


def test_standard_model_gives_the_published_template():
    np.testing.assert_allclose(NULL.sum(), 4.9662e-6, rtol=1e-4)
    signal = TERM.signal_of(NULL, Spectrum(jnp.ones(1), jnp.zeros(1)))
    # The table keeps four digits and leaves events with q2 < 0 out.
    np.testing.assert_allclose(signal.nominal, TERM.model.nominal[0], rtol=3e-3, atol=1e-12)
    total = sm_bin_fractions(SM, bin_edges()).sum()
    assert float(total) == pytest.approx(float(br_bplus_kplus_nunu_sm(SM)), rel=1e-6)


def test_bins_add_up_and_bins_and_folding_give_the_same_events():
    fractions, signal, rate = compiled("bins")(VECTORS)
    np.testing.assert_allclose(fractions.sum(1), rate, rtol=1e-12)
    events = fractions @ (EVENTS / NULL).T
    np.testing.assert_allclose(events, signal.nominal, rtol=1e-9, atol=1e-9)


def test_interpolation_and_step_function_agree_within_simulation_statistics():
    """Narrow states anywhere in q2: the published prescription jumps, by the table's noise."""
    centres = 0.5 * (bin_edges()[1:] + bin_edges()[:-1])
    q2 = np.random.default_rng(0).uniform(0.3, 12.0, 400)
    smooth = np.asarray(TERM.density(q2))
    rows = (EVENTS / NULL)[np.flatnonzero(TERM.model.nominal[0])]
    step = rows[:, np.clip((q2 / bin_edges()[1]).astype(int), 0, 99)].T
    linear = np.stack([np.interp(q2, centres, row) for row in rows], 1)
    inclusive = slice(0, 12)
    for other, most in ((step, 0.05), (linear, 0.01)):
        ratio = smooth[:, inclusive].sum(1) / other[:, inclusive].sum(1)
        assert np.sqrt(np.mean((ratio - 1.0) ** 2)) < most


def test_a_narrow_h1_is_one_point_of_the_density():
    _, signal, rate = compiled("bins")(VECTORS)
    expected = float(rate[1]) * np.asarray(TERM.density(jnp.array([2.1**2])))[0]
    np.testing.assert_allclose(signal.nominal[1][EVENTS.sum(1) > 0], expected, rtol=1e-4)


def test_two_body_scan():
    masses, expected, sigma, significance = TWO_BODY.T
    q2 = jnp.asarray(masses**2)
    run = compiled("two_body")
    zero, _ = run(jnp.zeros(len(masses)), q2)
    old, br = jnp.asarray(1.05 * expected), jnp.asarray(expected)
    _, old_slope = run(old, q2)
    value, slope = run(br, q2)
    for _ in range(5):  # secant steps on the score
        change = slope * (br - old) / jnp.where(slope == old_slope, 1.0, slope - old_slope)
        old, old_slope, br = br, slope, br - change
        value, slope = run(br, q2)
    np.testing.assert_allclose(br, expected, rtol=0.02)
    z = np.sign(br) * np.sqrt(2.0 * (value - zero))
    np.testing.assert_allclose(z, significance, rtol=0.02)
    curvature = (run(br * 0.999, q2)[1] - run(br * 1.001, q2)[1]) / (0.002 * br)
    np.testing.assert_allclose(curvature**-0.5, sigma, rtol=0.02)


@pytest.mark.parametrize("column", [2, 3, 4, 6])
def test_gradient_is_that_of_finite_differences(column):
    """Broad spectra sample the noise of the density: 3e-4 in d ln L/d ln parameter."""
    vectors = VECTORS[[0, 2, 3]]
    step = 3e-4 * vectors[:, column]
    up, down = vectors.copy(), vectors.copy()
    up[:, column] += step
    down[:, column] -= step
    padded = np.concatenate([vectors, up, down])
    value, gradient = compiled("loglike")(padded[np.arange(9)])
    difference = (value[3:6] - value[6:9]) / (2.0 * step)
    np.testing.assert_allclose(
        gradient[:3, column] * vectors[:, column],
        difference * vectors[:, column],
        rtol=1e-3,
        atol=5e-4,
    )


def test_shape_and_rates_do_not_combine():
    current = Likelihood.from_preset("current")
    with pytest.raises(InputError, match="inclusive tag"):
        current.with_terms(Belle2ItaHta.load())
    rates = current.without("belle2_shape").with_terms(Belle2ItaHta.load())
    assert "belle2_ita_hta" in [term.name for term in rates.term_list]


def test_terms_follow_the_interface():
    pair = Belle2ItaHta.load()
    assert pair.measurement.value == pytest.approx(2.29e-5, rel=0.01)

    @dataclasses.dataclass
    class Rates:
        br_bplus_kplus_inv: jax.Array

    @jax.jit
    def evaluate(vector):
        point, widths = point_of(vector)
        rate = br_bplus_kplus_np(point, widths) + br_bplus_kplus_nunu_sm(SM)
        context = Context(point, widths, Rates(rate))
        nuisances = jnp.asarray(TERM.start), jnp.zeros(len(TERM.model.observed))
        rows = [(t.prediction(context), t.pull(context), t.loglike(context)) for t in (TERM, pair)]
        return rows, TERM.loglike_at(context, *nuisances)

    (shape, rates), given = evaluate(jnp.asarray(VECTORS[0]))
    assert float(shape[0]) == float(rates[0])
    # 2.1 GeV at BR 9e-6 fits better than any strength of the Standard Model's shape.
    assert float(shape[2]) > TERM.best and float(shape[1]) == 0.0
    assert float(given) < float(shape[2])
    distance = -2.0 * float(rates[2]) - float(pair._chi2(jnp.asarray(pair.measurement.value)))
    sign = np.sign(float(rates[0]) - pair.measurement.value)
    assert float(rates[1]) == pytest.approx(sign * distance**0.5, abs=1e-9)


# Signals on top of the Standard Model: strength of its shape, then lines (m [GeV], BR) as above.
SIGNALS = [(4.6, ()), (1.0, ((2.1, 8.7e-6),)), (1.0, ((0.3, 1.2e-6),)), (1.0, ((3.0, 2e-5),))]


def signal_with(strength, lines):
    q2 = jnp.array([m**2 for m, _ in lines] or [1.0])
    br = jnp.array([rate for _, rate in lines] or [0.0])
    return TERM.signal_of(strength * NULL, Spectrum(q2, br))


def test_the_profile_is_the_best_of_many_starts():
    """48 random starts, up to twice as wide as the priors, for each signal.

    A start far out may not converge or end elsewhere; none may beat the one that is used.
    """
    rng = np.random.default_rng(7)
    scale = np.repeat([0.5, 1.0, 2.0], 16)[:, None]
    starts = scale * rng.normal(size=(48, len(TERM.model.parameters)))

    @jax.jit
    @jax.vmap
    def from_starts(signal):
        def minimum(start):
            alpha, converged = best_alpha(TERM.model, signal, start, 80)
            return -objective(TERM.model, signal, alpha), converged

        found, converged = jax.vmap(minimum)(jnp.asarray(starts))
        return fit(TERM.model, signal, jnp.asarray(TERM.start)).loglike, found, converged

    signals = jax.tree.map(lambda *x: jnp.stack(x), *(signal_with(*s) for s in SIGNALS))
    used, found, converged = (np.asarray(x) for x in from_starts(signals))
    best = np.where(np.isfinite(found), found, -np.inf).max(1)
    np.testing.assert_allclose(best, used, atol=1e-5)
    near = converged & (scale[:, 0] <= 1.0)
    assert np.mean(near[:, scale[:, 0] <= 1.0]) > 0.9
    assert np.all(np.abs(found - used[:, None])[near] < 1e-4)


def test_three_treatments_of_nuisances_agree():
    """Strength of the Standard Model's shape: NUTS over all nuisances, Laplace, and profile.

    Flat prior on 0 < mu < 12. Mean and spread: 4.55 and 1.33 (NUTS, statistical error 0.03), 4.61
    and 1.30 (Laplace), 4.64 and 1.35 (profile).
    """
    grid = jnp.linspace(0.0, 12.0, 97)

    @jax.jit
    @jax.vmap
    def both(mu):
        result = fit(TERM.model, signal_with(mu, ()), jnp.asarray(TERM.start))
        return result.loglike, result.laplace

    def moments(loglike):
        weight = np.exp(np.asarray(loglike) - np.max(loglike))
        mean = np.sum(weight * grid) / np.sum(weight)
        return mean, np.sqrt(np.sum(weight * (grid - mean) ** 2) / np.sum(weight))

    profiled, laplace = (moments(x) for x in both(grid))
    n_alpha, n_bins = len(TERM.model.parameters), len(TERM.model.observed)

    def density(x):
        mu = 12.0 * jax.nn.sigmoid(x[0])
        jacobian = jax.nn.log_sigmoid(x[0]) + jax.nn.log_sigmoid(-x[0])
        alpha, z = x[1 : 1 + n_alpha], x[1 + n_alpha :]
        return -loglike_per_bin(TERM.model, signal_with(mu, ()), alpha, z) - jacobian

    mcmc = MCMC(
        NUTS(potential_fn=density),
        num_warmup=500,
        num_samples=1000,
        num_chains=4,
        chain_method="vectorized",
        progress_bar=False,
    )
    start = jnp.zeros((4, 1 + n_alpha + n_bins)).at[:, 0].set(-0.5)
    mcmc.run(jax.random.PRNGKey(2), init_params=start)
    draws = 12.0 * np.asarray(jax.nn.sigmoid(mcmc.get_samples(group_by_chain=True)[..., 0]))
    assert split_gelman_rubin(draws) < 1.02 and effective_sample_size(draws) > 1000
    sampled = draws.mean(), draws.std()
    np.testing.assert_allclose(sampled, laplace, atol=0.12)
    np.testing.assert_allclose(profiled, laplace, atol=0.25)


def test_sampled_nuisances_are_those_of_the_likelihood():
    """A term whose nuisances float, through the whole likelihood: value, prior, gradient."""
    term = Belle2Shape.load("sampled")
    alone = Likelihood.from_preset("current")
    others = [t.name for t in alone.term_list]
    alone = alone.with_terms(term).without(*(name for name in others if name != "belle2_shape"))
    names = term.nuisance_names
    assert len(names) == len(set(names)) == len(TERM.model.parameters) + len(TERM.model.observed)
    free = alone.with_nuisances("kappa_sb", *names)
    point = parameters()
    rng = np.random.default_rng(1)
    alpha, z = 0.3 * rng.normal(size=len(TERM.model.parameters)), 0.3 * rng.normal(size=30)

    @jax.jit
    def evaluate(values):
        nuisances = dict(zip(names, values, strict=True))
        point_, widths = point_of(point.to_vector())
        expected = TERM.loglike_at(Context(point_, widths, None), values[:-30], values[-30:])  # type: ignore[arg-type]
        return free(point, nuisances), expected

    values = jnp.asarray(np.concatenate([alpha, z]))
    total, expected = evaluate(values)
    assert float(total) == pytest.approx(float(expected), rel=1e-10)
    gradient = jax.jit(jax.grad(lambda v: evaluate(v)[0]))(values)
    difference = (evaluate(values.at[3].add(1e-4))[0] - evaluate(values.at[3].add(-1e-4))[0]) / 2e-4
    assert float(gradient[3]) == pytest.approx(float(difference), rel=1e-5)
    with pytest.raises(InputError, match="unknown nuisance"):
        Likelihood.from_preset("current").with_nuisances(names[0])
    with pytest.raises(InputError, match="unknown nuisance"):
        free.without("belle2_shape")

"""The engine as a whole: every observable and every term through jit, vmap, grad and dtype."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmltdm_jax import GaussianTerm, InputError, Likelihood, Measurement, Parameters
from lmltdm_jax.inputs import input_table
from lmltdm_jax.likelihoods.nuisances import LARGEST
from lmltdm_jax.likelihoods.presets import load_preset, preset_names
from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.observables.compute import Observables
from lmltdm_jax.parameters import PARAMETER_NAMES
from lmltdm_jax.prediction import predict

BENCHMARK = Parameters.benchmark()
OBSERVABLES = tuple(field.name for field in dataclasses.fields(Observables))


@pytest.fixture(scope="module", params=preset_names())
def likelihood(request):
    return Likelihood.from_preset(request.param)


@pytest.fixture(scope="module")
def numbers(current):
    """vector (8,) -> {name: scalar} of every observable and every term of ``current``.

    Observables of talk2024: test_gradients.py; slopes of its terms: the test of the report.
    """

    def compute(vector):
        evaluation = current.evaluate(Parameters.from_vector(vector))
        observables = {name: getattr(evaluation.observables, name) for name in OBSERVABLES}
        return observables | {f"term:{k}": v for k, v in evaluation.terms.items()}

    return compute


POINTS = np.stack(
    [
        BENCHMARK.to_vector(),
        BENCHMARK.replace(m_h1=6.0, m_x=0.05, lambda_phix=0.4).to_vector(),
        BENCHMARK.replace(m_zp=0.3, m_x=0.2, m_h1=0.25).to_vector(),
    ]
)


@pytest.fixture(scope="module")
def reverse(numbers):
    """{name: (points, parameters)}, gradients by reverse mode at POINTS.

    One number after the other, not side by side: the derivative is compiled once. Names and leaves
    both come in the order of a pytree, which sorts the keys of a dict.
    """
    names = list(jax.eval_shape(numbers, POINTS[0]))

    def pull(pair):
        vector, cotangent = pair
        stacked = jax.vjp(lambda v: jnp.stack(jax.tree.leaves(numbers(v))), vector)[1]
        return stacked(cotangent)[0]

    n, size = len(POINTS), len(names)
    pairs = np.repeat(POINTS, size, axis=0), np.tile(np.eye(size), (n, 1))
    rows = top_level_jit(lambda p: jax.lax.map(pull, p))(pairs)
    return dict(zip(names, np.asarray(rows).reshape(n, size, -1).swapaxes(0, 1), strict=True))


def test_every_number_survives_jit_vmap_and_grad(numbers, reverse):
    """float64, finite, vmap = loop, forward gradient = reverse gradient."""

    def value_and_forward(vector):
        push = jax.vmap(lambda t: jax.jvp(numbers, (vector,), (t,)), out_axes=(None, 0))
        return push(np.eye(vector.size))

    loop, forward = top_level_jit(lambda v: jax.lax.map(value_and_forward, v))(POINTS)
    batch = top_level_jit(jax.vmap(numbers))(POINTS)
    for name, column in batch.items():
        assert column.dtype == jnp.float64, name
        assert np.all(np.isfinite(column)), name
        np.testing.assert_allclose(column, loop[name], rtol=1e-9, err_msg=name)
        assert np.all(np.isfinite(reverse[name])), name
        scale = np.abs(reverse[name]).max(axis=1, keepdims=True) + 1e-300
        np.testing.assert_allclose(
            forward[name] / scale, reverse[name] / scale, atol=1e-7, err_msg=name
        )


def test_each_term_depends_on_a_parameter_it_should(reverse):
    """A term with no gradient anywhere is a term that is not connected."""
    expected = {
        "term:muon_g2": "g_x",
        "term:belle2_shape": "sin_theta",
        "term:higgs_invisible": "sin_theta",
        "term:n_eff": "m_zp",
        "term:relic_density": "lambda_phix",
        "term:cmb_annihilation": "lambda_phix",
        "term:ccfr_trident": "g_x",
    }
    for term, parameter in expected.items():
        assert reverse[term][0, PARAMETER_NAMES.index(parameter)] != 0.0, term
    # Searches for light H1 do not reach the benchmark; tests/test_limit_curve.py has the others.
    flavour = {"belle_kstar_nunu": 0, "babar_k_x": 0, "babar_kstar_x": 0, "na62_kpi_x": 2}
    flavour |= {"koto_kpi0_x": 2, "na62_kpinunu": 0}
    for name, row in flavour.items():
        slope = reverse[f"term:{name}"][row, PARAMETER_NAMES.index("sin_theta")]
        assert slope != 0.0, name


@pytest.mark.parametrize(
    "change",
    [
        {"sin_theta": 0.0},
        {"lambda_phix": 0.0},
        {"m_h1": 100.0},
        {"q_x": 0.3},
        {"q_x": 0.0},
        {"q_phi": -0.4},
        {"sin_theta": -6e-3},
        {"lambda_phix": -0.1},
        {"m_h1": 0.6},  # exactly at 2 m_x
        {"m_zp": 1.0},  # exactly at m_h1 / 2
        {"g_x": 1e-11},
        {"m_zp": 1e-5},
        {"m_zp": 50.0, "m_x": 100.0, "m_h1": 300.0, "g_x": 0.5},
        {"sin_theta": 0.0, "lambda_phix": 0.0, "q_x": 0.0},
    ],
)
def test_every_physical_point_is_finite(likelihood, change):
    """predict accepts what is physical, not only the prior box."""
    columns = predict(BENCHMARK.replace(**change), likelihood)
    for name, value in columns.items():
        assert np.all(np.isfinite(value)), (name, value)


def test_terms_sum_to_the_total_and_can_be_switched():
    full = Likelihood.from_preset("talk2024")
    terms = jax.jit(full.terms)(BENCHMARK)
    assert float(jax.jit(full)(BENCHMARK)) == pytest.approx(sum(map(float, terms.values())))
    fewer = full.without("muon_g2", "hubble")
    assert set(terms) - set(jax.jit(fewer.terms)(BENCHMARK)) == {"muon_g2", "hubble"}
    with pytest.raises(InputError, match="unknown term 'nope'"):
        full.without("nope")


def test_a_users_term_replaces_one_of_the_same_name():
    class Mass(GaussianTerm):
        measurement: Measurement
        name: str = "muon_g2"

        def prediction(self, context):
            return context.point.params.m_x

    data = Measurement(
        "m_x", "m_x", "GeV", "nobody", 2026, 0.683, "checked", 0.31, error_up=0.02, error_down=0.01
    )
    likelihood = Likelihood.from_preset("talk2024").with_terms(Mass(data))
    terms = jax.jit(likelihood.terms)(BENCHMARK)
    assert len(terms) == len(load_preset("talk2024").terms)
    assert float(terms["muon_g2"]) == pytest.approx(-0.5)  # below the value: the lower error


def test_nuisances_shift_inputs_and_carry_their_prior():
    likelihood = Likelihood.from_preset("current")
    name = "kappa_sb"
    entry = input_table("pdg2026")[name]
    error = entry["error"] / entry["value"]
    evaluate = jax.jit(likelihood.evaluate)
    central, shifted = evaluate(BENCHMARK, {name: 0.0}), evaluate(BENCHMARK, {name: 1.0})
    ratio = shifted.observables.br_bplus_kplus_np / central.observables.br_bplus_kplus_np
    assert float(ratio) == pytest.approx((1 + error) ** 2, rel=1e-9)
    assert float(shifted.loglike - sum(shifted.terms.values())) == pytest.approx(-0.5)
    with pytest.raises(InputError, match="unknown nuisance"):
        likelihood(BENCHMARK, {"nope": jnp.zeros(())})


def test_nuisances_at_the_ends_of_their_range(current, prior_points):
    """Finite up to them at points of the prior; beyond, minus infinity and no NaN."""
    names = ("kappa_sb", "a0_bkstar", "h1_running")
    rng, n = np.random.default_rng(3), 256
    z = LARGEST * rng.choice((-1.0, 1.0), (n, len(names)))

    @jax.jit
    def terms(params, z):
        return jax.vmap(lambda p, z: current.terms(p, dict(zip(names, z, strict=True))))(params, z)

    inside = terms(prior_points(n, 3), z)
    for name, values in inside.items():
        assert np.all(np.isfinite(values)), name
    z[np.arange(n), rng.integers(len(names), size=n)] *= rng.choice((1.001, 1e3), n)
    assert np.all(np.stack(list(terms(prior_points(n, 3), z).values())) == -np.inf)


@pytest.mark.parametrize(
    "preset",
    # Its program compiles in a minute; the derivatives of its terms are tested above.
    [pytest.param(p, marks=[pytest.mark.slow] * (p == "current")) for p in preset_names()],
)
def test_report_names_every_term_and_its_data(preset):
    likelihood = Likelihood.from_preset(preset)
    report = likelihood.report(BENCHMARK)
    text = str(report)
    slopes = {row.term: row.gradient_norm for row in report.rows}
    assert all(np.isfinite(slope) for slope in slopes.values())
    if preset == "talk2024":  # those of current: test_each_term_depends_on...
        assert min(slopes[term] for term in slopes if term != "cmb_annihilation") > 0.0
    for term in likelihood.term_list:
        assert term.name in text
        assert str(term.measurement) in text


def test_unknown_preset_names_the_known_ones():
    with pytest.raises(InputError, match="talk2024, current"):
        Likelihood.from_preset("talk2025")


def test_a_batch_keeps_its_shape_and_order():
    masses = np.array([[0.2, 0.3, 0.4], [0.5, 0.6, 0.7]])
    columns = predict(BENCHMARK.replace(m_x=masses))
    assert columns["omega_h2"].shape == masses.shape
    single = predict(BENCHMARK.replace(m_x=0.5))
    assert columns["omega_h2"][1, 0] == pytest.approx(float(single["omega_h2"]), rel=1e-9)

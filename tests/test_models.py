"""Models as a whole: tables, likelihoods, command line, priors and a small fit of each."""

import csv
import dataclasses
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lmltdm_jax.inference import diagnostics, posterior, report
from lmltdm_jax.inference import fit as fitting
from lmltdm_jax.inference.coordinates import Coordinates
from lmltdm_jax.inference.prior import Prior
from tiny_fit import TINY
from typer.testing import CliRunner

from lmltdm_jax import InputError, Parameters, ZpFermionParameters, ZpScalarParameters, predict
from lmltdm_jax.cli import app
from lmltdm_jax.models import MODELS, find_model
from lmltdm_jax.parameters import in_domain
from lmltdm_jax.prediction import OF_H1, output_columns

ZP_ONLY = [ZpScalarParameters, ZpFermionParameters]
TERMS_OF_H1 = (
    "belle2_shape",
    "higgs_invisible",
    "belle_kstar_nunu",
    "babar_k_x",
    "babar_kstar_x",
    "na62_kpi_x",
    "na62_pi0_invisible",
    "e949_kpi_x",
    "koto_kpi0_x",
    "vacuum_stability",
    "higgs_signal_strength",
    "lep_h1_invisible",
    "lhcb_bk_mumu",
    "lhcb_bkstar_mumu",
)


@pytest.fixture(scope="module")
def evaluated(current):
    """``{class: (vectors, evaluation)}``: two points of each Z'-only model, then prior draws."""
    found = {}
    for cls in ZP_ONLY:
        low, high = np.log([info.prior for info in cls.table]).T
        drawn = np.exp(low + (high - low) * np.random.default_rng(5).uniform(size=(62, len(low))))
        vectors = jnp.asarray([cls.benchmark().to_vector(), [0.04, 1e-3, 0.3, 0.2], *drawn])
        evaluate = jax.jit(jax.vmap(lambda v, c=cls: current.evaluate(c.from_vector(v))))
        found[cls] = vectors, evaluate(vectors)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_its_class_and_its_table(name):
    cls = find_model(name)
    assert cls.model == name
    assert cls.names() == tuple(field.name for field in dataclasses.fields(cls))
    assert all(info.contains(low) for info in cls.table for low in info.prior)
    point = cls.benchmark()
    assert cls.from_dict(point.to_dict()) == point
    np.testing.assert_array_equal(cls.from_vector(point.to_vector()).to_vector(), point.to_vector())
    assert bool(in_domain(point)) and not bool(in_domain(point.replace(m_zp=-1.0)))
    embedded = point.as_dark_higgs()
    embedded.validate() if name == "dark-higgs" else None
    assert embedded.m_zp == point.m_zp and embedded.g_x == point.g_x


def test_names_of_models_and_vectors_of_other_lengths():
    assert list(MODELS) == ["dark-higgs", "zp-scalar", "zp-fermion"]
    with pytest.raises(InputError, match="unknown model 'zp'; known: dark-higgs, zp-scalar"):
        find_model("zp")
    with pytest.raises(InputError, match=r"4 entries \(m_zp, g_x, m_chi, q_chi\)"):
        ZpFermionParameters.from_vector(jnp.ones(8))
    with pytest.raises(InputError, match="unknown parameter 'm_x'; known: m_zp, g_x, m_chi"):
        ZpFermionParameters.benchmark().replace(m_x=1.0)


@pytest.mark.parametrize("cls", ZP_ONLY)
def test_terms_of_h1_are_those_of_the_standard_model(cls, evaluated, current):
    """Every term of the preset is there, and without a dark Higgs these see no signal."""
    _, found = evaluated[cls]
    assert set(found.terms) == {term.name for term in current.term_list}
    for name in TERMS_OF_H1:
        values = np.asarray(found.terms[name])
        np.testing.assert_allclose(values, values[0], rtol=0.0, atol=1e-12, err_msg=name)
    for name in ("unitarity", "h1_width", "perturbativity"):
        assert np.all(np.asarray(found.predictions[name]) < 0.05), name
    assert np.all(np.asarray(found.observables.br_bplus_kplus_np) == 0.0)
    assert np.asarray(found.observables.br_h2_inv) == pytest.approx(0.00106, rel=1e-6)
    # The rest is about the Z' and the dark matter, and differs between the two points.
    for name in ("muon_g2", "n_eff", "relic_density", "cmb_annihilation", "borexino_be7", "na64mu"):
        one, two, *_ = np.asarray(found.terms[name])
        assert one != two, name
    assert all(np.all(np.isfinite(values)) for values in jax.tree.leaves(found))


@pytest.mark.parametrize("cls", ZP_ONLY)
def test_what_only_the_zp_decides_is_shared_with_the_dark_higgs_model(cls, evaluated, current):
    _, found = evaluated[cls]
    benchmark = cls.benchmark()
    params = Parameters.benchmark().replace(m_zp=benchmark.m_zp, g_x=benchmark.g_x, sin_theta=1e-8)
    other = jax.jit(current.evaluate)(params).observables
    for name in ("delta_a_mu", "trident_ratio_ccfr", "borexino_be7_ratio"):
        mine = np.asarray(getattr(found.observables, name))[0]
        assert mine == pytest.approx(float(getattr(other, name)), rel=1e-10), name
    # N_eff has a part of the Z' and one of light dark matter, which these models have.
    mine, theirs = (
        np.ravel(o.delta_n_eff - o.delta_n_eff_dark_matter)[0] for o in (found.observables, other)
    )
    assert mine == pytest.approx(theirs, rel=1e-10)
    assert abs(np.asarray(found.observables.delta_n_eff_dark_matter)[0]) > 1e-4
    assert abs(float(other.delta_n_eff_dark_matter)) < 1e-4


@pytest.mark.parametrize("cls", ZP_ONLY)
def test_gradient_of_the_likelihood(cls, talk2024):
    """Against central differences, without the term whose gradient test_zp_only checks."""
    likelihood = talk2024.without("relic_density")
    both = jax.jit(jax.value_and_grad(lambda vector: likelihood(cls.from_vector(vector))))
    centre = np.asarray(cls.benchmark().to_vector())
    gradient = both(centre)[1] * centre
    for i, step in enumerate(1e-5 * np.eye(len(centre))):
        difference = (both(centre * np.exp(step))[0] - both(centre * np.exp(-step))[0]) / 2e-5
        assert float(gradient[i]) == pytest.approx(float(difference), rel=1e-4, abs=1e-6)
    level, slope = both(np.asarray(cls.benchmark().replace(g_x=-1.0).to_vector()))
    assert float(level) == -np.inf and np.all(np.asarray(slope) == 0.0)


def test_predict_of_a_batch_and_its_columns(talk2024):
    masses = np.array([0.0038, 0.004])
    out = predict(ZpFermionParameters.benchmark().replace(m_chi=masses), talk2024)
    assert list(out) == output_columns(talk2024, ZpFermionParameters)
    assert set(output_columns(talk2024)) - set(out) == set(OF_H1)
    assert out["omega_h2"].shape == (2,) and out["omega_h2"][0] > out["omega_h2"][1]


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_command_line_of_the_models(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text("m_chi,g_x,m_zp,q_chi\n0.0038,5e-4,0.0115,1\n0.02,1e-3,0.05,0.5\n")
    result = run("predict", path, "--model", "zp-fermion")
    assert result.exit_code == 0, result.output
    first, second = csv.DictReader(io.StringIO(result.stdout))
    assert first["m_chi"] == "0.0038" and "gamma_h1" not in first
    assert all(np.isfinite(float(v)) for v in (first | second).values())
    result = run("parameters", "--model", "zp-scalar")
    assert result.exit_code == 0 and "q_x" in result.stdout and "m_h1" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predict", "POINTS", "--model", "zp"],
            "unknown model 'zp'; known: dark-higgs, zp-scalar",
        ),
        (["predict", "POINTS", "--model", "zp-scalar"], "unknown column 'm_chi' (column 1); known"),
        (["predict", "POINTS"], "unknown column 'm_chi' (column 1); known: m_zp, g_x, sin_theta"),
        (["predict", "--point", "m_h1=1", "--model", "zp-scalar"], "unknown parameter 'm_h1'"),
        (["predict", "MISSING", "--model", "zp-fermion"], "column 'm_chi' is missing"),
        (["fit", "--model", "zp", "--output", "OUT"], "unknown model 'zp'; known: dark-higgs"),
        (["parameters", "--model", "zp"], "unknown model 'zp'; known: dark-higgs"),
    ],
)
def test_wrong_models_and_columns_are_one_line(arguments, message, tmp_path):
    (tmp_path / "POINTS.csv").write_text("m_chi,g_x,m_zp\n0.0038,5e-4,0.0115\n")
    (tmp_path / "MISSING.csv").write_text("g_x,m_zp\n5e-4,0.0115\n")
    files = {name: tmp_path / f"{name}.csv" for name in ("POINTS", "MISSING", "OUT")}
    result = run(*(files.get(a, a) for a in arguments))
    assert result.exit_code == 2
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
    assert message in line
    assert not files["OUT"].exists()


def test_prior_and_coordinates_of_a_model():
    prior = Prior.from_table(model=ZpFermionParameters, fixed={"q_chi": 1.0})
    assert prior.names == ("m_zp", "g_x", "m_chi")
    coordinates = Coordinates(prior)
    assert coordinates.shell_axis is None
    x = prior.box_from_physical(ZpFermionParameters.benchmark())
    params, _, _ = coordinates.physical(coordinates.from_box(x))
    assert isinstance(params, ZpFermionParameters) and params.q_chi == 1.0
    assert float(params.m_chi) == pytest.approx(ZpFermionParameters.benchmark().m_chi, rel=1e-12)
    with pytest.raises(InputError, match="unknown parameter 'lambda_phix'"):
        Prior.from_table(model=ZpFermionParameters, fixed={"lambda_phix": 1.0})


def test_fit_of_a_model(talk2024, tmp_path):
    slow = ("relic_density", "cmb_annihilation", "belle2_br", "higgs_invisible")
    target = fitting.build_target(talk2024.without(*slow), model=ZpFermionParameters)
    found = fitting.run(target, TINY, 3, tmp_path)
    assert found.draws.y.shape == (4, 12, 4)
    sampled = posterior.Posterior.of(found)
    posterior.write(sampled, tmp_path)
    assert list(sampled.parameters) == ["m_zp", "g_x", "m_chi", "q_chi"]
    assert posterior.read(tmp_path).prior == sampled.prior
    summary = diagnostics.summarize(sampled)
    assert summary["model"] == "zp-fermion"
    text = report.text(sampled, summary)
    assert "model `zp-fermion`" in text and "below the pole" in text and "Two-body" not in text
    # The same folder does not serve another model.
    other = fitting.build_target(talk2024.without(*slow), model=ZpScalarParameters)
    with pytest.raises(InputError, match="another preset, model, seed"):
        fitting.run(other, TINY, 3, tmp_path)

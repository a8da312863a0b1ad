"""Files of a fit: ``posterior.nc`` whole, ``lmltdm report``, chains as other programs read them."""

import json

import h5netcdf
import numpy as np
import pytest
from lmltdm_jax.inference import chains, convergence, posterior
from lmltdm_jax.inference.weighted import Weighted
from made_posterior import made_posterior
from scipy.stats import norm
from typer.testing import CliRunner

from lmltdm_jax.cli import app
from lmltdm_jax.zp_only import ZpScalarParameters

pytestmark = pytest.mark.fast

NAMES = "m_zp g_x sin_theta m_x m_h1 q_phi lambda_phix".split()
COLUMNS = [*(f"log10_{name}" for name in NAMES), "z_kappa_sb"]
MADE = ["summary.json", "report.md", "corner.png", "predictive.png", "trace.png"]


def report(folder):
    return CliRunner().invoke(app, ["report", str(folder)])


@pytest.mark.parametrize(
    "model", [made_posterior, lambda: made_posterior(model=ZpScalarParameters)]
)
def test_the_file_holds_everything(model, tmp_path):
    made = model()
    posterior.write(made, tmp_path)
    read = posterior.read(tmp_path)
    pairs = [(name, value, getattr(read, name)) for name, value in vars(made).items()]
    pairs.remove(next(pair for pair in pairs if pair[0] == "weighted"))
    pairs += [(n, value, getattr(read.weighted, n)) for n, value in vars(made.weighted).items()]
    for name, value, found in pairs:
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found, value)
        elif isinstance(value, dict) and name not in ("versions", "measurements"):
            assert list(found) == list(value), name
            for key, array in value.items():
                np.testing.assert_array_equal(found[key], array)
        else:
            assert found == value, name
    data = convergence.arviz.from_netcdf(tmp_path / "posterior.nc")
    z = data["posterior"]["z_kappa_sb"]
    np.testing.assert_array_equal(z, made.parameters["kappa_sb"])
    weighted = data["weighted"]
    np.testing.assert_array_equal(weighted["z_kappa_sb"], made.weighted.parameters["kappa_sb"])
    np.testing.assert_array_equal(weighted["weights"], made.weighted.weights)
    assert data.attrs["preset_hash"] == made.preset_hash
    assert json.loads(data.attrs["versions"])["numpy"] == np.__version__


def test_report_makes_everything_from_that_file_alone(tmp_path):
    made = made_posterior(complete=False)
    posterior.write(made, tmp_path)
    result = report(tmp_path)
    assert result.exit_code == 0, result.output
    # A terminal's lines break where they are full.
    shown = " ".join(result.output.split())
    assert "NOT CONVERGED" in shown and "the run was interrupted" in shown
    assert "lambda_phix" in result.output and "ln Z = -12.500 ± 0.100" in result.output
    assert set(MADE) | {"posterior.nc", "chains"} == {p.name for p in tmp_path.iterdir()}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["preset_hash"] == "0123456789abcdef" and summary["versions"] == made.versions
    assert summary["complete"] is False and summary["n_samples"] == 120
    assert summary["parameters"]["m_x"]["q50"] == np.median(made.parameters["m_x"])
    text = (tmp_path / "report.md").read_text()
    assert "`0123456789abcdef`" in text and f"numpy {np.__version__}" in text
    worth = made.weighted.effective
    assert f"500 weighted draws, worth {worth:.0f} independent ones" in text
    assert summary["weighted_ess"] == pytest.approx(worth) and 200 < worth < 300


def test_quantiles_of_weighted_draws_are_those_of_draws_that_occur_more_than_once():
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 5, size=501)
    x = rng.lognormal(size=501)
    weighted = Weighted(counts / counts.sum(), x, {"x": x}, {})
    often = np.repeat(x, counts)
    found = weighted.summary("x")
    assert found["mean"] == pytest.approx(often.mean()) and found["sd"] == pytest.approx(
        often.std()
    )
    expected = np.quantile(often, (0.05, 0.5, 0.95), method="inverted_cdf")
    np.testing.assert_array_equal([found[q] for q in ("q05", "q50", "q95")], expected)


def spoil(path, change):
    with h5netcdf.File(path, "a") as file:
        change(file)


def drop(name):
    return lambda file: file.attrs.__delitem__(name)


def put(name, value):
    return lambda file: file.attrs.__setitem__(name, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("preset_hash"), "another version of lmltdm_jax or another program wrote it"),
        (put("model", "axion"), "unknown model 'axion'"),
        (put("ranges", '{"m_zq": [1, 2]}'), "unknown parameter 'm_zq'"),
        (put("run", '{"seed": 1}'), "cannot be read"),
        (put("nuisances", '["x_t"]'), "has no"),
    ],
)
def test_a_file_of_another_version_is_one_line(change, message, tmp_path):
    posterior.write(made_posterior(chains=1, draws=4), tmp_path)
    spoil(tmp_path / "posterior.nc", change)
    assert message in error(tmp_path)


def test_what_is_no_run_is_one_line(tmp_path):
    assert "nowhere: no run of lmltdm fit" in error(tmp_path / "nowhere")
    assert "no run of lmltdm fit" in error(tmp_path)
    (tmp_path / "checkpoint.pkl").write_bytes(b"")
    assert "the same lmltdm fit goes on" in error(tmp_path)
    path = posterior.write(made_posterior(chains=1, draws=4), tmp_path)
    whole = path.read_bytes()
    for content in (b"", b"nonsense", whole[: len(whole) // 2], whole[:600]):
        path.write_bytes(content)
        assert "posterior.nc: cannot be read" in error(tmp_path)


def error(folder):
    result = report(folder)
    assert result.exit_code == 2, result.output
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
    return line


@pytest.fixture
def exported(tmp_path):
    """(posterior, root of its chains)."""
    made = made_posterior()
    return made, chains.write(made, tmp_path)[0]


@pytest.fixture
def exported_weighted(tmp_path):
    """(posterior, root of its weighted draws)."""
    made = made_posterior()
    return made, chains.write(made, tmp_path)[1]


def test_chains_by_a_reader_of_our_own(exported):
    made, root = exported
    assert root.name == "lmltdm" and root.parent.name == "chains"
    rows = [line.split("\t") for line in root.with_suffix(".paramnames").read_text().splitlines()]
    names = [name for name, _ in rows]
    assert names == COLUMNS + [f"{name}*" for name in made.observables]
    latex = dict(rows)
    assert latex["log10_m_zp"] == r"\log_{10}\,m_{Z'}\ [\mathrm{GeV}]"
    assert latex["omega_h2*"] == r"\mathrm{omega\_h2}"
    assert not any("$" in label for label in latex.values())
    ranges = dict(
        line.split(maxsplit=1) for line in root.with_suffix(".ranges").read_text().splitlines()
    )
    assert list(ranges) == COLUMNS and ranges["z_kappa_sb"] == "N N"
    low, high = map(float, ranges["log10_m_zp"].split())
    np.testing.assert_allclose([low, high], np.log10([4e-3, 0.4]), rtol=1e-9)
    widths = np.diff(
        [[float(end) for end in ranges[name].split()] for name in COLUMNS[:-1]], axis=1
    )
    for chain in range(3):
        table = np.loadtxt(f"{root}_{chain + 1}.txt")
        assert table.shape == (40, 2 + len(names)) and np.all(table[:, 0] == 1.0)
        columns = dict(zip(names, table[:, 2:].T, strict=True))
        np.testing.assert_allclose(10 ** columns["log10_m_x"], made.parameters["m_x"][chain], 1e-8)
        np.testing.assert_allclose(columns["z_kappa_sb"], made.parameters["kappa_sb"][chain], 1e-9)
        np.testing.assert_allclose(columns["omega_h2*"], made.observables["omega_h2"][chain], 1e-9)
        log_like = sum(column[chain] for column in made.log_likelihoods.values())
        log_prior = norm.logpdf(columns["z_kappa_sb"]) - np.log(widths).sum()
        np.testing.assert_allclose(-table[:, 1], log_like + log_prior, rtol=1e-8)


def test_chains_of_an_earlier_longer_run_are_removed(tmp_path):
    chains.write(made_posterior(chains=4, draws=5), tmp_path)
    chains.write(made_posterior(chains=2, draws=5), tmp_path)
    found = sorted(path.name for path in (tmp_path / "chains").glob("*.txt"))
    assert found == ["lmltdm_1.txt", "lmltdm_2.txt", "weighted.txt"]


def test_weighted_draws_have_the_columns_and_densities_of_chains(exported_weighted):
    """The made posterior's weighted draws are draws of its chains, but for their likelihoods."""
    made, root = exported_weighted
    chain = np.concatenate([np.loadtxt(root.with_name(f"lmltdm_{n}.txt")) for n in (1, 2, 3)])
    table = np.loadtxt(root.with_suffix(".txt"))
    np.testing.assert_allclose(table[:, 0], made.weighted.weights, rtol=1e-9)
    log_likelihood = np.sum(list(made.log_likelihoods.values()), axis=0).ravel()
    for row, log_like in zip(table, made.weighted.log_likelihood, strict=True):
        (same,) = np.flatnonzero(np.all(chain[:, 2:] == row[2:], axis=1))
        assert row[1] + log_like == pytest.approx(chain[same, 1] + log_likelihood[same], abs=1e-8)
    for end in (".paramnames", ".ranges"):
        text = root.with_suffix(end).read_text()
        assert text == root.with_name("lmltdm").with_suffix(end).read_text()


def means_and_sds(made):
    """Of sampled columns and one observable, name by name."""
    columns = dict(zip(COLUMNS, np.moveaxis(made.box, -1, 0), strict=True))
    columns["omega_h2"] = made.observables["omega_h2"]
    return {name: (column.mean(), column.std()) for name, column in columns.items()}


def read_by_getdist(root, rows, expected):
    """What GetDist has read, once its means and standard deviations are the expected ones."""
    import getdist

    samples = getdist.loadMCSamples(str(root), no_cache=True)
    assert samples.numrows == rows
    for name, (mean, sd) in expected.items():
        assert samples.mean(name) == pytest.approx(mean, rel=1e-8), name
        assert samples.std(name) == pytest.approx(sd, rel=1e-8), name
    return samples


def weighted_means_and_sds(made):
    """The same of the weighted draws."""
    weights = made.weighted.weights
    columns = dict(zip(COLUMNS, made.weighted_box.T, strict=True))
    columns["omega_h2"] = made.weighted.observables["omega_h2"]
    means = {name: np.sum(weights * column) for name, column in columns.items()}
    return {
        name: (mean, np.sqrt(np.sum(weights * (columns[name] - mean) ** 2)))
        for name, mean in means.items()
    }


@pytest.mark.filterwarnings("ignore")
def test_getdist_reads_the_chains(exported):
    made, root = exported
    samples = read_by_getdist(root, 120, means_and_sds(made))
    assert samples.paramNames.parWithName("omega_h2").isDerived
    assert not samples.paramNames.parWithName("log10_m_zp").isDerived
    assert samples.ranges.getLower("log10_m_zp") == pytest.approx(np.log10(4e-3), rel=1e-9)
    assert samples.ranges.getUpper("z_kappa_sb") is None
    likelihoods = sum(made.log_likelihoods.values())
    assert samples.getLikeStats().logLike_sample < -likelihoods.max() + 40.0


@pytest.mark.filterwarnings("ignore")
def test_getdist_reads_the_weighted_draws(exported_weighted):
    made, root = exported_weighted
    read_by_getdist(root, 500, weighted_means_and_sds(made))


@pytest.mark.filterwarnings("ignore")
def test_anesthetic_reads_the_weighted_draws(exported_weighted):
    anesthetic = pytest.importorskip("anesthetic", reason="not in the extra dev: pins pandas")
    made, root = exported_weighted
    samples = anesthetic.read_chains(str(root))
    for name, (mean, sd) in weighted_means_and_sds(made).items():
        column, weights = samples[name].to_numpy().ravel(), samples.get_weights()
        found = np.average(column, weights=weights)
        spread = np.sqrt(np.average((column - found) ** 2, weights=weights))
        np.testing.assert_allclose([found, spread], [mean, sd], rtol=1e-8)


@pytest.mark.filterwarnings("ignore")
def test_anesthetic_reads_the_chains(exported):
    anesthetic = pytest.importorskip("anesthetic", reason="not in the extra dev: pins pandas")
    made, root = exported
    samples = anesthetic.read_chains(str(root))
    assert len(samples) == 120
    for name, (mean, sd) in means_and_sds(made).items():
        column = samples[name].to_numpy().ravel()
        np.testing.assert_allclose([column.mean(), column.std()], [mean, sd], rtol=1e-8)
    assert samples.get_label("log10_m_zp").strip("$") == r"\log_{10}\,m_{Z'}\ [\mathrm{GeV}]"

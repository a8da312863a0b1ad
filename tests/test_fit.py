"""``lmltdm fit``: files, verdict, resuming, interrupting, and one line for what is unusable."""

import dataclasses
import json

import numpy as np
import pytest
from lmltdm_jax.inference import convergence, diagnostics, figures, importance, report
from lmltdm_jax.inference import fit as fitting
from lmltdm_jax.inference.posterior import Posterior, read
from lmltdm_jax.inference.provenance import preset_hash
from lmltdm_jax.inference.target import Evaluated
from tiny_fit import TINY
from typer.testing import CliRunner

from lmltdm_jax import InputError
from lmltdm_jax.cli import app
from lmltdm_jax.likelihoods.zp_searches import ZpSearch
from lmltdm_jax.parameters import sampled_parameters


@pytest.fixture(scope="module")
def target(talk2024):
    """Posterior of four terms, one with arrays: their gradient compiles in seconds."""
    slow = ("relic_density", "cmb_annihilation", "belle2_br", "higgs_invisible")
    likelihood = talk2024.without(*slow).with_terms(ZpSearch.load("na64e_invisible"))
    return fitting.build_target(likelihood)


@pytest.fixture(scope="module")
def whole(target):
    """An uninterrupted run without a checkpoint."""
    return fitting.run(target, TINY, seed=3)


@pytest.fixture
def command(target, monkeypatch):
    """``lmltdm fit`` with tiny sizes."""
    monkeypatch.setattr(fitting, "build_target", lambda preset, model: target)
    monkeypatch.setattr(fitting, "QUICK", TINY)
    return lambda *arguments: CliRunner().invoke(app, ["fit", "--quick", *map(str, arguments)])


def test_the_run_is_complete_and_its_numbers_are_those_of_its_points(whole, target):
    draws = whole.draws
    assert whole.complete and draws.y.shape == (4, 12, 7)
    columns = whole.columns
    terms = [f"loglike_{term.name}" for term in target.likelihood.term_list]
    np.testing.assert_allclose(sum(columns[t] for t in terms), draws.log_likelihood, rtol=1e-12)
    values = Posterior.of(whole).parameters
    assert list(values) == [info.name for info in sampled_parameters()]
    for info in sampled_parameters():
        low, high = info.prior
        assert np.all((values[info.name] > 0.999 * low) & (values[info.name] < 1.001 * high))


def stop(at, share):
    """Ctrl-C in a phase."""

    def progress(phase, done, text):
        if phase == at and done >= share:
            raise KeyboardInterrupt

    return progress


def test_interrupted_and_resumed_gives_the_same_draws(target, whole, tmp_path):
    """Stopped while tempering, learning and sampling: nothing is lost and nothing changes."""
    with pytest.raises(KeyboardInterrupt):
        fitting.run(target, TINY, 3, tmp_path, stop("temper", 0.5))
    with pytest.raises(KeyboardInterrupt):
        fitting.run(target, TINY, 3, tmp_path, stop("learn", 0.4))
    partial = fitting.run(target, TINY, 3, tmp_path, stop("sample", 0.6))
    assert not partial.complete and 0 < len(partial.blocks) < TINY.nuts.blocks
    resumed = fitting.run(target, TINY, 3, tmp_path)
    assert resumed.complete
    np.testing.assert_array_equal(resumed.draws.y, whole.draws.y)
    assert resumed.tempered.log_z == whole.tempered.log_z
    assert resumed.learned.importance.log_z == whole.learned.importance.log_z
    assert "interrupted" in diagnostics.summarize(Posterior.of(partial))["reasons"][-1]


def test_chains_end_once_they_are_good_enough(target, whole, tmp_path, monkeypatch):
    """The draws up to there are those of a longer run; resuming adds none."""
    short = dataclasses.replace(TINY, nuts=dataclasses.replace(TINY.nuts, look=3, ess=1.0))
    monkeypatch.setattr(fitting, "R_HAT_MAX", np.inf)
    for _ in range(2):
        fit = fitting.run(target, short, 3, tmp_path)
        assert fit.complete and len(fit.blocks) == 3 < TINY.nuts.blocks
        np.testing.assert_array_equal(fit.draws.y, whole.draws.y[:, : fit.draws.y.shape[1]])
        assert json.loads(json.dumps(diagnostics.summarize(Posterior.of(fit))))["complete"] is True
    monkeypatch.setattr(fitting, "R_HAT_MAX", 0.5)
    assert len(fitting.run(target, short, 3).blocks) == TINY.nuts.blocks


def test_a_likelihood_that_is_not_a_number_stops_a_fit(target, monkeypatch):
    """But not at a draw that counts as nothing."""
    y = np.zeros((4, target.dimension))
    found = Evaluated(y, np.zeros(4), np.array([-1.0, np.nan, -2.0, np.nan]))
    monkeypatch.setattr(importance, "evaluate", lambda target, y: found)
    density = np.array([0.0, np.inf, 0.0, np.inf])
    weights = importance.importance(target, y, density).log_weights
    np.testing.assert_array_equal(weights, [-1.0, -np.inf, -2.0, -np.inf])
    with pytest.raises(InputError, match=r"not a number \(nan\) at m_zp = 0\.49"):
        importance.importance(target, y, np.zeros(4))


def test_the_worst_parameter_decides_whether_chains_go_on():
    rng = np.random.default_rng(0)
    good, apart = rng.standard_normal((2, 4, 200))
    apart += 5.0 * np.arange(4)[:, None]
    one, both = (convergence.worst(p) for p in ({"a": good}, {"a": good, "b": apart}))
    assert one.r_hat < 1.02 and one.ess > 300.0
    assert both == convergence.mixing(apart) and both.r_hat > 2.0 and both.ess < 10.0


def test_files_of_the_command(command, target, tmp_path):
    folder = tmp_path / "runs" / "new"
    result = command("--output", folder, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert "NOT CONVERGED" in result.output
    summary = json.loads((folder / "summary.json").read_text())
    assert {"parameters", "divergences", "n_samples", "wall_s", "converged"} <= set(summary)
    assert summary["converged"] is False and summary["n_samples"] == 48
    assert summary["versions"]["numpy"] == np.__version__
    assert summary["preset_hash"] == preset_hash(target)
    keys = {"mean", "sd", "q05", "q50", "q95", "ess_bulk", "ess_tail", "r_hat"}
    for info in sampled_parameters():
        row = summary["parameters"][info.name]
        assert set(row) == keys and row["q05"] <= row["q50"] <= row["q95"]
    text = (folder / "report.md").read_text()
    assert "NOT CONVERGED" in text and "(corner.png)" in text
    for name in ("corner", "predictive", "trace"):
        assert (folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    data = convergence.arviz.from_netcdf(folder / "posterior.nc")
    assert data.attrs["preset_hash"] == summary["preset_hash"]
    assert data["posterior"]["m_x"].shape == (4, 12)
    assert "omega_h2" in data["posterior"] and "diverging" in data["sample_stats"]
    assert data["log_likelihood"]["muon_g2"].shape == (4, 12)
    again = command("--output", folder, "--seed", 3, "--strict")
    assert again.exit_code == 3


def test_report_makes_the_same_files_and_shows_the_same(command, tmp_path):
    fitted = command("--output", tmp_path, "--seed", 3)
    made = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for path in made:
        if path.name != "posterior.nc":
            path.unlink()
    reported = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert reported.exit_code == 0 and reported.stdout == fitted.stdout
    del made[tmp_path / "checkpoint.pkl"]
    assert {path: path.read_bytes() for path in made} == made
    # A file a chain, one for the weighted draws; names and ranges of both.
    exported = [path for path in made if path.parent.name == "chains"]
    assert len(exported) == TINY.nuts.chains + 1 + 2 * 2


def test_a_run_stopped_by_ctrl_c_can_be_reported(command, tmp_path, monkeypatch):
    def interrupted(target, settings, seed, folder, progress):
        return run(target, settings, seed, folder, stop("sample", 0.6))

    run = fitting.run
    monkeypatch.setattr(fitting, "run", interrupted)
    assert command("--output", tmp_path).exit_code == 0
    (tmp_path / "checkpoint.pkl").unlink()
    result = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert result.exit_code == 0
    assert "the run was interrupted" in " ".join(result.output.split())
    assert read(tmp_path).parameters["m_x"].shape == (4, 6)


def test_unusable_input_is_one_line_and_exit_code_2(command, tmp_path):
    def error(*arguments):
        result = command(*arguments)
        assert result.exit_code == 2, result.output
        (line,) = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
        return line

    occupied = tmp_path / "file"
    occupied.write_text("")
    assert "file: cannot be made" in error("--output", occupied)
    (tmp_path / "checkpoint.pkl").write_bytes(b"nonsense")
    assert "cannot be read" in error("--output", tmp_path)
    other = tmp_path / "other"
    assert command("--output", other).exit_code == 0
    assert "another preset, model, seed, size" in error("--output", other, "--seed", 1)


def test_an_unknown_preset_is_named(tmp_path):
    result = CliRunner().invoke(app, ["fit", "--preset", "x", "--output", str(tmp_path / "out")])
    assert result.exit_code == 2 and "unknown preset 'x'" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_posterior_that_has_converged_is_called_so(whole):
    summary = diagnostics.summarize(Posterior.of(whole))
    row = {"r_hat": 1.004, "ess_bulk": 900.0, "ess_tail": 700.0}
    good = summary | {"parameters": {"m_x": row}, "divergences": 0, "complete": True}
    assert diagnostics.not_converged(good) == []
    for change, word in (({"r_hat": 1.02}, "r_hat"), ({"ess_tail": 100.0}, "sample size")):
        (reason,) = diagnostics.not_converged(good | {"parameters": {"m_x": row | change}})
        assert word in reason
    (reason,) = diagnostics.not_converged(good | {"divergences": 2})
    assert "diverged" in reason
    (reason,) = diagnostics.not_converged(good | {"parameters": {"m_x": row | {"r_hat": np.nan}}})
    assert "nan" in reason


def test_figures_draw_a_single_chain_and_a_constant_parameter(whole, tmp_path):
    block = whole.blocks[0]
    flat = block.points._replace(y=np.repeat(block.points.y[:, :1], 3, axis=1))
    narrow = dataclasses.replace(whole, blocks=(block._replace(points=flat),))
    assert len(figures.write(Posterior.of(narrow), tmp_path)) == 3
    posterior = Posterior.of(whole)
    assert "Two-body" in report.text(posterior, diagnostics.summarize(posterior))

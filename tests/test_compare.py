"""``lmltdm compare``: kinds of solution, their evidence and best fits, and the Standard Model."""

import dataclasses
import json

import numpy as np
import pytest
from lmltdm_jax.inference import compare as comparing
from lmltdm_jax.inference import fit as fitting
from lmltdm_jax.inference.minimise import chi2_of
from lmltdm_jax.inference.posterior import kinds
from tiny_fit import TINY
from typer.testing import CliRunner

from lmltdm_jax.cli import app
from lmltdm_jax.zp_only import ZpScalarParameters

SMALL = dataclasses.replace(
    TINY, particles=128, learn=dataclasses.replace(TINY.learn, sweeps=6, draws=1024, rounds=1)
)


@pytest.fixture(scope="module")
def likelihood(talk2024):
    """Terms that compile in seconds: g-2, N_eff, tridents."""
    return talk2024.without("relic_density", "cmb_annihilation", "belle2_br", "higgs_invisible")


@pytest.fixture(scope="module")
def found(likelihood, tmp_path_factory):
    target = fitting.build_target(likelihood, model=ZpScalarParameters)
    folder = tmp_path_factory.mktemp("compare")
    silent = lambda phase, share, text: None  # noqa: E731
    solutions = list(comparing.solutions(target, SMALL, 0, folder, silent))
    return target, fitting.explore(target, SMALL, 0, folder), solutions


def test_the_kinds_share_the_evidence_and_the_best_fit_is_better_than_any_draw(found):
    target, learned, solutions = found
    assert [s.kind for s in solutions] == ["below the pole", "above the pole"]
    assert sum(s.share for s in solutions) == pytest.approx(1.0)
    total = np.logaddexp.reduce([s.log_z for s in solutions])
    assert total == pytest.approx(learned.importance.log_z)
    points = learned.importance.points
    chi2 = chi2_of(target, points)
    for s in solutions:
        inside = kinds(target, points.y)[s.kind]
        assert s.chi2 <= chi2[inside].min() + 1e-6
        at_best = target.likelihood(ZpScalarParameters(**s.best))
        assert s.chi2 == pytest.approx(-2.0 * float(at_best), abs=1e-9)
        assert (s.best["m_zp"] > 2 * s.best["m_x"]) == (s.kind == "below the pole")
        assert s.chi2_without_relic == s.chi2


def test_the_standard_model_has_its_known_pull_of_g_minus_2(talk2024):
    sm = comparing.standard_model(talk2024)
    assert "relic_density" not in sm.pulls and sm.log_z is None
    measured = next(t for t in talk2024.term_list if t.name == "muon_g2").measurement
    assert sm.pulls["muon_g2"] == pytest.approx(-measured.value / measured.error_down, rel=1e-3)
    assert sm.chi2 > sm.pulls["muon_g2"] ** 2


def test_the_command_prints_and_writes_every_solution(likelihood, monkeypatch, tmp_path):
    build = fitting.build_target
    monkeypatch.setattr(
        comparing, "build_target", lambda preset, model: build(likelihood, model=model)
    )
    monkeypatch.setattr(comparing, "MODELS", {"zp-scalar": ZpScalarParameters})
    monkeypatch.setattr(fitting, "QUICK", SMALL)
    result = CliRunner().invoke(app, ["compare", "--quick", "--output", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "new" / "compare.json").read_text())
    assert (tmp_path / "new" / "compare.png").read_bytes()[:4] == b"\x89PNG"
    assert [row["model"] for row in rows] == ["standard-model", "zp-scalar", "zp-scalar"]
    assert rows[0]["log_z"] is None and rows[1]["log_z"] < 0
    for text in ("standard-model", "below the pole", "muon_g2", "ln Z"):
        assert text in result.output


def test_an_unknown_preset_is_one_line_before_a_folder_is_made(tmp_path):
    folder = tmp_path / "new"
    result = CliRunner().invoke(app, ["compare", "--preset", "talk2023", "--output", str(folder)])
    assert result.exit_code == 2 and not folder.exists()
    assert result.stderr.startswith("error: ") and "talk2024" in result.stderr

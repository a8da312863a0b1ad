"""The README: its commands and its Python, run as printed."""

import re
import shlex
from pathlib import Path

import pytest
from lmltdm_jax.inference import posterior
from made_posterior import made_posterior
from typer.testing import CliRunner

from lmltdm_jax.cli import app
from lmltdm_jax.zp_only import ZpScalarParameters

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    """Code blocks of the README."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


_, SET_UP_AND_TEST, COMMANDS = (b.strip() for b in blocks("bash"))


@pytest.mark.fast
def test_ci_runs_the_command_that_the_readme_gives_for_the_tests():
    assert SET_UP_AND_TEST in (ROOT / ".ci" / "run").read_text().splitlines()


@pytest.mark.fast
def test_links_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", README)
    assert links and not [link for link in links if not (ROOT / link).exists()]


def test_the_python_runs(capsys):
    scope = {}
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), scope)
    printed = capsys.readouterr().out
    assert "d ln L / d ln lambda_phix" in printed
    _, mine = printed.split("d ln L / d ln q_x")
    assert "dark_higgs_mass" in mine and "ccfr_trident" not in mine


LONG = ("fit", "profile", "compare")


class Sampling(Exception):
    """A command has come to the point where it would sample for minutes or hours."""


# Its fits take two minutes to compile, and test_belle2_hypotheses.py (slow as well) has them.
SLOW = "lmltdm plot belle2"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(
            line,
            marks=[pytest.mark.slow] * line.startswith(SLOW),
            id=line.partition(" #")[0].strip(),
        )
        for line in COMMANDS.splitlines()
    ],
)
def test_the_commands_run(line, tmp_path, monkeypatch):
    """Every command to its end, but those that sample only to where sampling starts; planes have
    fewer points."""

    def sample(*args, **kwargs):
        raise Sampling

    monkeypatch.setattr("lmltdm_jax.inference.smc.tempering", sample)
    # Nor compile what comes after.
    for module in ("fit", "profile", "ahead"):
        monkeypatch.setattr(f"lmltdm_jax.inference.{module}.ahead", lambda *steps: [])
    for figure in ("relic", "sintheta_mh1"):
        monkeypatch.setattr(f"lmltdm_jax.inference.{figure}_figure._SIZE", (24, 12))
    monkeypatch.chdir(tmp_path)
    Path("points.csv").write_text(
        "m_zp,g_x,sin_theta,m_x,m_h1,q_phi,lambda_phix\n0.0115,5e-4,6e-3,0.04,6,0.4,1e-3\n"
    )
    Path("dirac.csv").write_text("m_zp,g_x,m_chi,q_chi\n0.0115,5e-4,5e-3,1\n")
    Path("runs/zp").mkdir(parents=True)
    posterior.write(made_posterior(model=ZpScalarParameters), Path("runs/zp"))
    program, *arguments = shlex.split(line, comments=True)
    assert program == "lmltdm"
    result = CliRunner().invoke(app, arguments)
    if arguments[0] in LONG:
        assert isinstance(result.exception, Sampling), result.output
        return
    assert result.exit_code == 0, result.output
    if "--output" in arguments:
        assert len(Path("out.csv").read_text().splitlines()) == 2

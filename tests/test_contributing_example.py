"""The worked example of CONTRIBUTING.md, executed as printed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def example(name):
    """The code block after ``<!-- example: name -->``."""
    (code,) = re.findall(rf"<!-- example: {name} -->\n```\w+\n(.*?)```", TEXT, re.DOTALL)
    return code


def test_the_users_version_runs():
    scope = {}
    exec(compile(example("user").replace("print(", "result = ("), "CONTRIBUTING.md", "exec"), scope)
    # The width of the benchmark's Z' is 7.6e-11 GeV; 95 % two-sided is 1.96 sigma.
    assert float(scope["result"]) == pytest.approx(-0.5 * (0.7626 * 1.96) ** 2, rel=1e-3)
    assert "ccfr_trident" not in [term.name for term in scope["likelihood"].term_list]


@pytest.mark.fast
def test_the_three_steps_work_in_a_copy_of_the_package(tmp_path):
    """Files made as described: the term is in the preset, with its data, and the imports hold."""
    ignored = shutil.ignore_patterns("__pycache__")
    package = shutil.copytree(ROOT / "lmltdm_jax", tmp_path / "lmltdm_jax", ignore=ignored)
    (package / "data" / "measurements" / "zp_width.toml").write_text(example("measurement"))
    (package / "likelihoods" / "zp_width.py").write_text(example("term"))
    presets = package / "likelihoods" / "presets.py"
    end = "        ),\n    )\n"
    code = presets.read_text()
    assert code.count(end) == 2
    code = code.replace(end, example("preset") + end)
    first = "from lmltdm_jax.observables.compute"
    code = code.replace(first, f"from lmltdm_jax.likelihoods.zp_width import ZpWidth\n{first}", 1)
    presets.write_text(code)
    check = (
        "import sys; sys.path.insert(0, sys.argv[1]); import lmltdm_jax; "
        "from lmltdm_jax.prediction import output_columns; "
        "assert lmltdm_jax.__file__.startswith(sys.argv[1]); "
        "print(['loglike_zp_width' in output_columns(lmltdm_jax.Likelihood.from_preset(n)) "
        "for n in ('talk2024', 'current')])"
    )
    command = [sys.executable, "-c", check, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout.strip() == "[True, True]", result.stderr


def test_a_curve_of_ones_own(tmp_path, monkeypatch):
    """Three lines of TOML and a CSV: the value on the curve, the gap, and the printed lines."""
    from types import SimpleNamespace

    from lmltdm_jax import Parameters
    from lmltdm_jax.likelihoods.limit_curve import LimitCurveTerm

    toml = example("curve toml")
    assert len(toml.strip().splitlines()) == 3
    (tmp_path / "my_search.toml").write_text(toml)
    (tmp_path / "my_search.csv").write_text(example("curve csv"))
    monkeypatch.chdir(tmp_path)
    term = LimitCurveTerm.read("my_search.toml")
    assert term.name == "my_search" and term.measurement.status == "unverified"

    def loglike(m_zp, g_x):
        params = Parameters.benchmark().replace(m_zp=m_zp, g_x=g_x)
        context = SimpleNamespace(point=SimpleNamespace(params=params), observables=None)
        return float(term.loglike(context))

    assert loglike(0.0115, 7.4e-4) == pytest.approx(-0.5 * 1.645**2, rel=0.05)
    assert loglike(0.05, 1.0) == loglike(0.005, 1.0) == loglike(0.5, 1.0) == 0.0
    scope = {}
    code = example("curve use").replace("print(", "result = (")
    exec(compile(code, "CONTRIBUTING.md", "exec"), scope)
    assert float(scope["result"]) == pytest.approx(loglike(0.0115, 5e-4), rel=1e-9)

"""``lmltdm data``: every measurement and every curve, with what is known about it."""

import re

import pytest
from typer.testing import CliRunner

from lmltdm_jax.cli import app
from lmltdm_jax.likelihoods.forecast import forecast_names
from lmltdm_jax.likelihoods.limit_curve import limit_curve_names
from lmltdm_jax.likelihoods.measurement import measurement_table, measurement_terms

pytestmark = pytest.mark.fast


def test_lists_every_measurement_and_curve(monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    result = CliRunner().invoke(app, ["data"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    for file in measurement_terms():
        for key in measurement_table(file):
            assert any(re.search(rf"│ {file} +│ {key} ", line) for line in lines), (file, key)
    for name in limit_curve_names():
        (line,) = (x for x in lines if x.startswith(f"│ {name} "))
        assert "unverified" in line or "checked" in line
        assert "% " in line and "current" in line and "20" in line
    for name in forecast_names():
        (line,) = (x for x in lines if x.startswith(f"│ {name} "))
        assert "unverified" in line or "checked" in line
    (line,) = (x for x in lines if "be7_expected_b16_gs98" in x)
    assert "current" in line, "a number behind a term counts as used"

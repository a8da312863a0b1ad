"""``lmltdm plot``: output checked before computing."""

import pytest
from typer.testing import CliRunner

from lmltdm_jax.cli import INPUT_ERROR, app

pytestmark = pytest.mark.fast
FIGURES = ("belle2", "gx-mzp", "neff", "relic", "sintheta-mh1")


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("path", ["plot.txt", "no/such/folder/plot.png"])
def test_unusable_output_is_found_before_computing(name, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["plot", name, "--output", path])
    assert result.exit_code == INPUT_ERROR
    assert result.stderr.count("\n") == 1 and path in result.stderr

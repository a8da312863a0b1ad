"""``lmltdm predict --spectrum``."""

import numpy as np
import pytest
from typer.testing import CliRunner

from lmltdm_jax import Likelihood, Parameters
from lmltdm_jax.cli import INPUT_ERROR, app
from lmltdm_jax.cli.spectrum import COLUMNS, spectrum_rows, write_spectrum
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.b_to_k import br_bplus_kplus_np
from lmltdm_jax.observables.b_to_k_nunu import br_bplus_kplus_nunu_sm
from lmltdm_jax.widths import build_widths

LIKELIHOOD = Likelihood.from_preset("talk2024")
WIDE = Parameters.benchmark().replace(m_h1=8.0, lambda_phix=0.5, m_x=0.4)


def rate(params):
    point = build_point(params, LIKELIHOOD.sm)
    return float(br_bplus_kplus_np(point, build_widths(point)))


def test_a_broad_spectrum_integrates_to_its_rate():
    q2, standard, new, below = spectrum_rows(WIDE, LIKELIHOOD).T
    assert np.all(np.isfinite(new)) and np.all(np.diff(below) >= 0.0)
    assert np.trapezoid(new, q2) == pytest.approx(rate(WIDE), rel=1e-3)
    assert np.trapezoid(standard, q2) == pytest.approx(
        float(br_bplus_kplus_nunu_sm(LIKELIHOOD.sm)), rel=1e-4
    )
    assert below[-1] == pytest.approx(rate(WIDE), rel=1e-12)


def test_a_narrow_line_is_a_step_of_its_full_rate():
    params = Parameters.benchmark()
    q2, _, _, below = spectrum_rows(params, LIKELIHOOD).T
    total = rate(params)
    around = (
        below[np.searchsorted(q2, params.m_h1**2 + 0.1)]
        - below[np.searchsorted(q2, params.m_h1**2 - 0.1)]
    )
    assert around == pytest.approx(total, rel=1e-2)


def test_file_and_bad_input(tmp_path):
    path = tmp_path / "spectrum.csv"
    write_spectrum(WIDE, LIKELIHOOD, path)
    header, *rows = path.read_text().splitlines()
    assert header == ",".join(COLUMNS)
    np.testing.assert_array_equal(
        [list(map(float, row.split(","))) for row in rows], spectrum_rows(WIDE, LIKELIHOOD)
    )
    points = tmp_path / "points.csv"
    points.write_text("m_zp\n1\n")
    result = CliRunner().invoke(app, ["predict", str(points), "--spectrum", str(path)])
    assert result.exit_code == INPUT_ERROR and "--spectrum goes with --point" in result.stderr

"""Which spectrum Belle II's data want: fits beside the scan of other code, and the figure."""

import pytest
from lmltdm_jax.inference.belle2_figure import belle2
from lmltdm_jax.inference.belle2_hypotheses import best_fits

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.belle2_shape import Belle2Shape

pytestmark = pytest.mark.slow


def test_best_fits_and_figure(tmp_path):
    term, sm = Belle2Shape.load(), StandardModel.load("pdg2026")
    fits = list(best_fits(term, sm))
    standard, two_body, zero_width, widths = fits
    # tests/test_belle2_shape.py: 3.63 sigma at 2.1 GeV and 8.67e-6 by independent code.
    assert two_body.values["m_h1"] == pytest.approx(2.1, abs=0.05)
    assert two_body.br_np == pytest.approx(8.67e-6, rel=0.05)
    assert (standard.chi2 - two_body.chi2) ** 0.5 == pytest.approx(3.63, rel=0.02)
    for three_body in (zero_width, widths):
        assert two_body.chi2 < three_body.chi2 < standard.chi2
        assert three_body.values["m_h1"] > sm.m_bplus - sm.m_kplus
    # Every hypothesis contains the Standard Model: the sum over bins is the sum over samples.
    for fit in fits:
        assert 0.0 < fit.p_value < 1.0
        expected = fit.cells.sum(axis=0)
        assert expected.sum() == pytest.approx(term.model.observed.sum(), rel=0.02)
    belle2(term.model, fits).savefig(tmp_path / "belle2.png")
    assert (tmp_path / "belle2.png").stat().st_size > 20_000

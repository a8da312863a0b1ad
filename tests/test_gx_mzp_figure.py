"""The summary plane: its numbers against the terms behind it, and that it can be drawn."""

import numpy as np
import pytest
from lmltdm_jax.inference import gx_mzp_figure

from lmltdm_jax.parameters import Parameters


@pytest.fixture(scope="module")
def values():
    return gx_mzp_figure.columns(np.array([0.003, 0.0115, 0.5]), np.array([1e-4, 5e-4, 1e-2]))


def test_columns_are_those_of_predict_at_the_benchmark(values, current):
    """Grid (couplings, masses); predict's numbers."""
    from lmltdm_jax.prediction import predict

    columns = predict(Parameters.benchmark(), current)
    pairs = {
        "delta_a_mu": "delta_a_mu",
        "delta_n_eff": "delta_n_eff",
        "ccfr_160": "trident_ratio_ccfr",
        "charm2": "trident_ratio_charm2",
        "na64mu": "na64mu_yield",
    }
    for here, there in pairs.items():
        assert values[here][1, 1] == pytest.approx(float(columns[there]), rel=1e-9), here
    loglike = -0.5 * values["borexino"][1, 1] ** 2
    assert loglike == pytest.approx(float(columns["loglike_borexino_be7"]), rel=1e-9)


def test_everything_drawn_has_a_label(values):
    assert set(gx_mzp_figure._TERMS) <= set(values)
    for column in values.values():
        assert column.shape == (3, 3) and np.all(np.isfinite(column))


def test_figure_is_drawn(monkeypatch, tmp_path):
    monkeypatch.setattr(gx_mzp_figure, "_SIZE", (24, 20))
    figure = gx_mzp_figure.gx_mzp()
    figure.savefig(tmp_path / "plane.png", dpi=40)
    text = " ".join(t.get_text() for t in figure.axes[0].texts)
    for name in (
        "BaBar",
        "CMS",
        "Belle II",
        "NA64e",
        "NA64μ",
        "Borexino",
        "CCFR",
        "CHARM",
        "white",
    ):
        assert name in text
    assert "not verified" in text and "2023" in text and "2025" in text

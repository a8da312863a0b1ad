"""Planes of two parameters, and the figure of Delta N_eff drawn from one."""

import numpy as np
import pytest
from lmltdm_jax.inference.neff_figure import neff, neff_plane
from lmltdm_jax.inference.planes import Axis, evaluate

from lmltdm_jax import InputError, Parameters
from lmltdm_jax.observables.n_eff import delta_n_eff

pytestmark = pytest.mark.fast
BENCHMARK = Parameters.benchmark()


def test_rows_are_y_and_columns_are_x():
    x, y = Axis.spaced("m_zp", 5e-3, 5e-2, 5), Axis("g_x", np.array([1e-5, 1e-3]))

    def function(p):
        return {"ratio": p.m_zp / p.g_x, "pair": p.to_vector()[:2]}

    values = evaluate(function, x, y, BENCHMARK)
    assert values["pair"].shape == (2, 5, 2)
    np.testing.assert_allclose(values["pair"][1, 3], [x.values[3], y.values[1]])
    np.testing.assert_allclose(values["ratio"], x.values / y.values[:, None])
    with pytest.raises(InputError, match="m_zp"):
        evaluate(function, Axis("m_zp", np.array([-1.0])), y, BENCHMARK)


def test_figure_of_n_eff():
    plane = neff_plane(size=12)
    assert plane.delta_n_eff.shape == plane.delta_a_mu.shape == (18, 12)
    expected = delta_n_eff(plane.m_zp, plane.g_x[:, None])
    np.testing.assert_allclose(plane.delta_n_eff, expected, rtol=1e-12)
    slope = np.diff(np.log(plane.delta_a_mu), axis=0) / np.diff(np.log(plane.g_x))[:, None]
    # The Z' loop goes like g^2 and is positive; from g = 1e-6 down the dark Higgs is what is left.
    np.testing.assert_allclose(slope[plane.g_x[:-1] > 1e-5], 2.0, atol=1e-2)
    labels = [text.get_text() for text in neff(plane).legends[0].get_texts()]
    assert len(labels) == 4 and "0.2" in labels[0]

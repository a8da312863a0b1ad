"""Signal strength of the 125 GeV Higgs."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.higgs_signal_strength import HiggsSignalStrength
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.likelihoods.total import Likelihood
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.higgs_signal_strength import higgs_signal_strength
from lmltdm_jax.parameters import Parameters
from lmltdm_jax.widths import build_widths

pytestmark = pytest.mark.fast

GOLDEN = json.loads((Path(__file__).parent / "golden" / "gm2_widths.json").read_text())
INPUTS = GOLDEN["inputs"]
SM = StandardModel.load("talk2024").replace(
    m_h2=INPUTS["mH2"], v_h=INPUTS["vH"], gamma_h2_sm=INPUTS["Gam_SM"]
)


def strength(params):
    point = build_point(params, SM)
    return higgs_signal_strength(point, build_widths(point))


@pytest.mark.parametrize("row", GOLDEN["scalar_widths"])
def test_from_the_widths_of_the_reference(row):
    g_x = row["mZp"] / (0.4 * row["vPhi"])
    params = Parameters(row["mZp"], g_x, row["st"], row["mX"], row["mH1"], 0.4, row["lamPhiX"])
    cos2 = 1.0 - row["st"] ** 2
    known = cos2 * INPUTS["Gam_SM"]
    dark = sum(row["H2"][name] for name in ("H1H1", "ZpZp", "XX"))
    assert float(strength(params)) == pytest.approx(cos2 * known / (known + dark), rel=1e-6)


def test_without_a_dark_sector_it_is_the_square_of_the_cosine():
    # v_phi = m_zp/(g_x q_phi) large: nothing couples to H1 but the mixing.
    params = Parameters(0.5, 1e-9, 0.3, 100.0, 100.0, 0.4, 1e-12)
    assert float(strength(params)) == pytest.approx(1.0 - 0.3**2, rel=1e-6)


def test_slope():
    def value(sin_theta):
        return strength(Parameters.benchmark().replace(sin_theta=sin_theta))

    for sin_theta in (1e-4, 6e-3, 0.1):
        h = 1e-5 * sin_theta
        numeric = (value(sin_theta + h) - value(sin_theta - h)) / (2.0 * h)
        assert float(jax.grad(value)(sin_theta)) == pytest.approx(float(numeric), rel=1e-5)


def test_term():
    """Not constraining where BR(H -> inv) is not, decisive at a large mixing."""
    data = Measurement.load("higgs_signal_strength", "mu_pdg2026")
    likelihood = Likelihood.from_preset("talk2024")
    names = [term.name for term in likelihood.term_list]
    alone = jax.jit(likelihood.with_terms(HiggsSignalStrength(data)).without(*names))
    point = Parameters.benchmark()
    values = np.array([float(alone(point.replace(sin_theta=s))) for s in (1e-4, 1e-3, 0.1)])
    assert values[0] == pytest.approx(-0.5 * (0.03 / 0.04) ** 2, abs=2e-3)
    assert abs(values[1] - values[0]) < 0.1
    assert values[2] < -50.0

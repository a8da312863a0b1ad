"""NA62's K+ -> pi+ nu nubar as a bound on continuous spectra."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from lmltdm_jax import Parameters
from lmltdm_jax.constants import HBAR_GEV_S
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.base import Context
from lmltdm_jax.likelihoods.na62_kpinunu import Na62Nunu, share_inside
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.kaon_to_pion import kplus_to_piplus
from lmltdm_jax.observables.line_shape import dgamma_dq2
from lmltdm_jax.widths import build_widths

pytestmark = pytest.mark.fast
SM = StandardModel.load("pdg2026")
TERM = Na62Nunu.load()


def params(**changes):
    return Parameters(0.0115, 5e-4, 6e-3, 0.05, 1.0, 0.4, 0.04).replace(**changes)


def of(function):
    def run(vector):
        point = build_point(Parameters.from_vector(vector), SM)
        return function(Context(point, build_widths(point), None))  # type: ignore[arg-type]

    return jax.jit(run)


predict, loglike = of(TERM.prediction), of(TERM.loglike)
slope = jax.jit(jax.grad(loglike))


def test_share_of_the_standard_model():
    """Sharp edges and adaptive quadrature; 0.196 + 0.413."""
    end, top = (SM.m_kplus - SM.m_piplus) ** 2, (SM.m_kplus + SM.m_piplus) ** 2

    def shape(q2):
        return ((q2 - end) * (q2 - top)) ** 1.5 / (1.0 - q2 / 0.892**2) ** 2

    inside = quad(shape, 0.0, 0.010)[0] + quad(shape, 0.026, 0.068)[0]
    assert TERM.sm_share == pytest.approx(inside / quad(shape, 0.0, end)[0], rel=0.02)


def test_regions_are_smeared():
    q2 = np.array([-0.02, 0.005, 0.010, 0.018, 0.026, 0.05, 0.068, 0.1])
    expected = [0.0, 1.0, 0.5, 0.0, 0.5, 1.0, 0.5, 0.0]
    share = share_inside(q2, TERM.regions, TERM.resolution)
    np.testing.assert_allclose(share, expected, atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{}, {"m_h1": 0.6, "lambda_phix": 0.02}, {"m_h1": 3.0, "lambda_phix": 0.5}]
)
def test_prediction_is_the_integral_over_the_regions(changes):
    """Off shell; an edge of a region falls between nodes, which resolve it to 1 %."""
    point = build_point(params(**changes), SM)
    decay = kplus_to_piplus(SM)
    rate = jax.jit(
        lambda q2: (
            dgamma_dq2(point, decay, q2)
            * share_inside(jnp.reshape(q2, (1,)), TERM.regions, TERM.resolution)[0]
        )
    )
    edges = [4 * 0.0115**2, 4 * 0.05**2, 0.015, 0.02, 0.03, 0.06, 0.075]
    total = sum(
        quad(lambda s: float(rate(s)), a, b, epsrel=1e-7, limit=200)[0]
        for a, b in itertools.pairwise(sorted(edges))
    )
    expected = total * SM.tau_kplus / HBAR_GEV_S / TERM.sm_share
    excess = float(predict(point.params.to_vector())) - TERM.standard_model.value
    assert excess == pytest.approx(expected, rel=0.01)
    assert expected > 1e-11


def test_off_shell_decays_count_and_a_line_does_not():
    """An H1 of 0.6 GeV with Gamma/m = 0.02 is excluded; a narrow one on shell is no business."""
    nothing = float(loglike(params(m_x=0.3, m_h1=2.0).to_vector()))
    assert float(loglike(params(m_h1=0.6, lambda_phix=0.02).to_vector())) < nothing - 2.0
    narrow = params(m_h1=0.2, lambda_phix=1e-6, q_phi=0.01, sin_theta=1e-5)
    assert float(predict(narrow.to_vector())) == pytest.approx(TERM.standard_model.value, rel=1e-4)


def test_gradient_is_that_of_differences():
    """2 %: differences move the nodes across the regions' edges, the derivative does not."""
    vector = np.asarray(params(m_h1=0.8).to_vector())
    gradient = slope(vector)
    for k in (0, 2, 3, 4, 6):
        step = np.zeros(8)
        step[k] = 1e-5 * vector[k]
        change = float(loglike(vector + step) - loglike(vector - step)) / (2.0 * step[k])
        assert float(gradient[k]) == pytest.approx(change, rel=0.02)


@pytest.mark.parametrize("offset", [-1e-4, 0.0, 1e-4])
def test_finite_where_phase_space_closes(offset):
    vector = params(m_x=0.5 * (SM.m_kplus - SM.m_piplus) + offset, m_zp=0.2).to_vector()
    assert np.all(np.isfinite(slope(vector)))

"""Primordial helium: the published fit and its term."""

import jax
import numpy as np
import pytest

from lmltdm_jax import InputError, Parameters
from lmltdm_jax.likelihoods.base import Context
from lmltdm_jax.likelihoods.helium import Helium
from lmltdm_jax.likelihoods.n_eff import NEff
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.helium import FIT_ERROR, helium_fraction
from lmltdm_jax.observables.n_eff import n_eff
from lmltdm_jax.widths import build_widths

pytestmark = pytest.mark.fast


def test_fit_against_networks():
    """Standard Model: arXiv:2601.22238 quotes 0.2467(2), PRyMordial gives 0.24688."""
    assert helium_fraction(0.0224, 3.044) == pytest.approx(0.2467, abs=FIT_ERROR)
    # dY_p/dN_eff is 0.013 and dY_p/d(omega_b) 0.4 in every network
    assert jax.grad(helium_fraction, 1)(0.0224, 3.044) == pytest.approx(0.0137, abs=5e-4)
    assert jax.grad(helium_fraction, 0)(0.0224, 3.044) == pytest.approx(0.44, abs=0.03)


def test_term(talk2024, current):
    likelihood = talk2024.with_terms(Helium.load())
    term = likelihood.term_list[-1]
    point = build_point(Parameters.benchmark(), likelihood.sm)

    class Found:
        n_eff = n_eff(point.params.m_zp, point.params.g_x)
        delta_n_eff = n_eff - 3.044

    context = Context(point, build_widths(point), Found)
    # 0.06 + 15 % of thermal history, times 0.0134; fit; measurement
    sigma = np.hypot(np.hypot(0.0013, FIT_ERROR), 0.0134 * 0.06)
    expected = (helium_fraction(0.0224, Found.n_eff) - 0.2458) / sigma
    assert float(term.pull(context)) == pytest.approx(float(expected), rel=0.02)
    assert np.isfinite(term.loglike(context))
    with pytest.raises(InputError, match="the primordial helium abundance"):
        likelihood.without("hubble").with_terms(NEff.load("cmb_bbn_2026"))
    assert current.with_terms(Helium.load())

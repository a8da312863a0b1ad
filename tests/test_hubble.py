"""(N_eff, H0) plane with a local H0, and the rule that no observation counts twice."""

import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.stats import multivariate_normal, norm

from lmltdm_jax import InputError, Likelihood
from lmltdm_jax.likelihoods.hubble import Hubble
from lmltdm_jax.likelihoods.n_eff import NEff
from lmltdm_jax.observables.hubble import h0_preferred, planck_plane

LOCAL = {
    "talk_local": (73.2, 1.3),
    "shoes_2022": (73.04, 1.04),
    "distance_network_2026": (73.5, 0.81),
}


def marginal(n_eff, h0, error, theory):
    """L(N_eff) by brute force: integral over H0 and over the error of the predicted N_eff."""
    plane = planck_plane()
    cov = plane.slope * plane.n_eff_error**2
    h0_variance = plane.scatter**2 + plane.slope**2 * plane.n_eff_error**2
    cmb = multivariate_normal(
        [plane.n_eff, plane.h0], [[plane.n_eff_error**2, cov], [cov, h0_variance]]
    )

    def integrand(h, z):
        return cmb.pdf([n_eff + theory * z, h]) * norm.pdf(h, h0, error) * norm.pdf(z)

    return dblquad(integrand, -6, 6, 60, 80, epsabs=1e-14, epsrel=1e-8)[0]


@pytest.mark.parametrize("key", LOCAL)
def test_the_gaussian_is_the_marginal_of_the_plane(key):
    data = Hubble.load(key).measurement
    theory = 0.06
    points = np.array([3.0, 3.3, 3.5])
    exact = np.log([marginal(n, *LOCAL[key], theory) for n in points])
    pulls = (points - data.value) / np.hypot(data.error_up, theory)
    np.testing.assert_allclose(np.diff(exact), np.diff(-0.5 * pulls**2), rtol=1e-5)


def test_planck_times_shoes():
    # 3.42 +- 0.13 from (2.99 +- 0.17, 67.3 +- 1.1), correlation 0.92, and 73.04 +- 1.04
    data = Hubble.load("shoes_2022").measurement
    assert data.value == pytest.approx(3.42, abs=0.01)
    assert data.error_up == pytest.approx(0.13, abs=0.005)
    assert data.status == "unverified"  # the mean H0 of the plane


def test_preferred_h0():
    assert float(h0_preferred(2.99)) == pytest.approx(67.3)
    assert float(h0_preferred(3.99) - h0_preferred(2.99)) == pytest.approx(6.0, abs=0.01)


def test_one_observation_counts_once(talk2024, current):
    for other in ("planck18", "act_dr6", "cmb_bbn_2026"):
        with pytest.raises(InputError, match="'hubble' and 'n_eff' both contain Planck's N_eff"):
            talk2024.with_terms(NEff.load(other))
        assert talk2024.without("hubble").with_terms(NEff.load(other))
    with pytest.raises(InputError, match="count it twice"):
        current.with_terms(Hubble.load("distance_network_2026"))
    second = NEff(NEff.load("planck18").measurement, name="again")
    with pytest.raises(InputError, match="'n_eff' and 'again'"):
        current.with_terms(second)
    with pytest.raises(InputError, match="both contain"):
        Likelihood("mine", (second, *current.term_list), current.sm, current.settings, "pdg2026")


def test_a_term_of_the_same_name_replaces(talk2024, current):
    terms = {t.name: t for t in current.with_terms(NEff.load("cmb_bbn_2026")).term_list}
    assert terms["n_eff"].measurement.key == "cmb_bbn_2026"
    terms = {t.name: t for t in talk2024.with_terms(Hubble.load("shoes_2022")).term_list}
    assert "shoes_2022" in terms["hubble"].measurement.key

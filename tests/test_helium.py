"""Y_p of the published fit against another code, and the term made of it."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmltdm_jax import InputError
from lmltdm_jax.likelihoods.helium import Helium
from lmltdm_jax.likelihoods.n_eff import NEff
from lmltdm_jax.observables.helium import helium_fit, helium_fraction
from lmltdm_jax.observables.n_eff import n_eff_theory_error

pytestmark = pytest.mark.fast
OMEGA_B, TAU = 0.0224, 879.4
PRIMAT = {0.0: 0.247200, 0.25: 0.250524, 1.0: 0.259841, 1.5: 0.265571, 2.0: 0.270966}
"""{Delta N: Y_p} of PRIMAT 2021 (arXiv:2011.11320) at OMEGA_B, TAU, from the table in CAMB."""
PARTHENOPE = {-2.0: 0.21493, -1.0: 0.23205}
"""Of PArThENoPE 2017 at omega_b = 0.02196, tau_n = 880.2 s, from the same place."""


def test_against_primat():
    error = helium_fit()["error"]
    shifts = {dn: helium_fraction(3.044 + dn, OMEGA_B, TAU) - y for dn, y in PRIMAT.items()}
    assert all(abs(shifts[dn]) < error for dn in (0.0, 0.25, 1.0))
    assert abs(shifts[1.0] - shifts[0.0]) < 2e-5
    assert abs(shifts[2.0]) < 1.2e-3
    # the baryon density, away from the centre: PRIMAT at 0.02 and 0.025
    ends = [helium_fraction(3.044, omega_b, TAU) for omega_b in (0.02, 0.025)]
    assert ends[1] - ends[0] == pytest.approx(0.248249 - 0.246097, abs=1.5e-4)


def test_against_the_code_it_was_fitted_to():
    for dn, expected in PARTHENOPE.items():
        assert helium_fraction(3.046 + dn, 0.02196, 880.2) == pytest.approx(expected, abs=1e-3)


def context(n_eff, m_zp=0.0115):
    n_eff = jnp.asarray(n_eff, float)
    error = n_eff_theory_error(jnp.asarray(m_zp), n_eff - 3.044)
    return SimpleNamespace(observables=SimpleNamespace(n_eff=n_eff, n_eff_theory_error=error))


def test_term():
    term = Helium.load()
    assert float(term.prediction(context(3.044))) == pytest.approx(0.2463, abs=2e-4)
    # tau_n: 0.728 x 0.44/878 x 0.246 = 9e-5, omega_b: 4e-5, both small beside the fit
    assert term.fixed_theory_error() == pytest.approx(np.hypot(7e-4, 1e-4), rel=0.01)
    # 0.06 in N_eff is 8e-4 in Y_p
    assert float(term.theory_error(context(3.4))) == pytest.approx(0.06 * 0.0130, rel=0.03)
    assert abs(float(term.pull(context(3.044)))) < 0.5
    assert float(term.loglike(context(3.5))) < float(term.loglike(context(3.044)))
    assert term.measurement.status == "unverified"  # the fit


@pytest.mark.parametrize("n_eff", [2.9, 3.044, 3.5, 8.0])
def test_gradient(n_eff):
    def loglike(n):
        return Helium.load().loglike(context(n))

    slope = jax.jit(jax.grad(loglike))(n_eff)
    numeric = (loglike(n_eff + 1e-4) - loglike(n_eff - 1e-4)) / 2e-4
    assert float(slope) == pytest.approx(float(numeric), rel=1e-4, abs=1e-6)


def test_helium_counts_once(talk2024, current):
    assert talk2024.with_terms(Helium.load()) and current.with_terms(Helium.load())
    with pytest.raises(InputError, match="'n_eff' and 'helium' both contain the primordial helium"):
        current.with_terms(NEff.load("cmb_bbn_2026"), Helium.load())

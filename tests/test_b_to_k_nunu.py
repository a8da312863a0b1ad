"""SM B+ -> K+ nu nubar."""

import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from lmltdm_jax.constants import HBAR_GEV_S
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.observables.b_to_k_nunu import (
    br_bplus_kplus_nunu_sm,
    c_nu,
    dbr_dq2_sm,
    inami_lim_x0,
)
from lmltdm_jax.observables.form_factors import (
    central_coefficients,
    coefficient_covariance,
    f_plus,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "flavour.json").read_text())
INPUTS = GOLDEN["inputs"]["SM"]
SM = StandardModel.load("talk2024").replace(
    g_f=INPUTS["GF"],
    alpha_em_mz_inv=INPUTS["alpha_inv"],
    x_t=INPUTS["Xt"],
    sin2_theta_w=INPUTS["sw2"],
    v_tb_v_ts_nunu=INPUTS["VtbVts"],
    m_bplus=GOLDEN["inputs"]["mBp"],
    m_kplus=GOLDEN["inputs"]["mKp"],
    tau_bplus=GOLDEN["inputs"]["tauBp"],
)


def test_branching_fraction_agrees_with_the_reference_and_belle2():
    value = float(br_bplus_kplus_nunu_sm(SM))
    assert value == pytest.approx(GOLDEN["sm"]["br"], rel=1e-10)
    assert value == pytest.approx(4.967e-6, rel=1e-3)


def test_shipped_inputs_give_the_same():
    value = float(br_bplus_kplus_nunu_sm(StandardModel.load("talk2024")))
    assert value == pytest.approx(4.97e-6, rel=5e-3)


def test_spectrum_agrees_with_the_reference():
    spectrum = np.asarray(dbr_dq2_sm(SM, jnp.array(GOLDEN["sm"]["q2"])))
    np.testing.assert_allclose(spectrum, GOLDEN["sm"]["dbr_dq2"], rtol=1e-10, atol=1e-20)


def test_integral_equals_adaptive_quadrature():
    end = (SM.m_bplus - SM.m_kplus) ** 2
    total, _ = quad(lambda q2: float(dbr_dq2_sm(SM, q2)), 0.0, end, epsrel=1e-11)
    assert float(br_bplus_kplus_nunu_sm(SM)) == pytest.approx(total, rel=1e-9)


def test_rate_follows_from_the_four_fermion_coefficient():
    """C_nu (s_L gamma b_L)(nu_L gamma nu_L) = (C_nu/4)(V-A)(V-A): a semileptonic rate.

    G_F V/sqrt2 (V-A)(V-A) gives dGamma/dq2 = (G_F V)^2 p^3 f_+^2/(24 pi^3) per flavour.
    """
    q2 = 7.0
    m_b, m_k = SM.m_bplus, SM.m_kplus
    momentum = math.sqrt((m_b**2 + m_k**2 - q2) ** 2 - 4 * m_b**2 * m_k**2) / (2 * m_b)
    g_f_v = math.sqrt(2.0) * c_nu(SM) / 4.0
    per_flavour = g_f_v**2 * momentum**3 * float(f_plus(q2)) ** 2 / (24 * math.pi**3)
    expected = 3.0 * per_flavour * SM.tau_bplus / HBAR_GEV_S
    assert float(dbr_dq2_sm(SM, q2)) == pytest.approx(expected, rel=1e-12)


def test_inami_lim_function_is_behind_x_t():
    """X_t = 1.468 is X_0 of the MSbar top mass (163 GeV) within its 2 % of corrections.

    The talk prints x_t/8 (x_t+2)/(x_t-1) + ... with 1/8 on the first term only; without the common
    factor the function would be far off.
    """
    x_t = (163.0 / 80.37) ** 2
    assert float(inami_lim_x0(x_t)) == pytest.approx(SM.x_t, rel=0.03)
    slip = x_t / 8 * (x_t + 2) / (x_t - 1) + (3 * x_t - 6) / (x_t - 1) ** 2 * math.log(x_t)
    assert abs(slip / SM.x_t - 1.0) > 0.15


def test_form_factor_error():
    """2.6e-7 from the lattice covariance alone."""
    slope = jax.grad(lambda a: br_bplus_kplus_nunu_sm(SM, lambda q2: f_plus(q2, a)))(
        jnp.array(central_coefficients())
    )
    error = math.sqrt(float(slope @ coefficient_covariance() @ slope))
    assert error == pytest.approx(2.6e-7, rel=0.05)

"""Standard Model inputs that float: form factors, A_0, log-normal inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmltdm_jax import InputError, Likelihood, Parameters
from lmltdm_jax.inputs import StandardModel, input_table
from lmltdm_jax.likelihoods.nuisances import FORM_FACTORS, known_nuisances, shifted
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.b_to_k import br_bplus_kplus_np, gamma_b_to_k_h1
from lmltdm_jax.observables.b_to_k_nunu import br_bplus_kplus_nunu_sm
from lmltdm_jax.observables.b_to_kstar import br_b0_kstar0_np
from lmltdm_jax.observables.form_factors import (
    coefficient_covariance,
    f_plus,
    f_zero,
    shifted_coefficients,
)
from lmltdm_jax.observables.kaon_to_pion import br_kl_pi0_h1, br_kplus_piplus_h1
from lmltdm_jax.widths import build_widths

pytestmark = pytest.mark.fast
SM = StandardModel.load("pdg2026")


def rates(sm):
    point = build_point(Parameters.benchmark(), sm)
    widths = build_widths(point)
    return br_bplus_kplus_np(point, widths), br_b0_kstar0_np(point, widths)


def move(**z):
    return shifted(SM, "pdg2026", {name: jnp.asarray(value) for name, value in z.items()})


def test_whitened_directions_have_the_published_covariance():
    jacobian = np.asarray(jax.jacobian(shifted_coefficients)(jnp.zeros(5)))
    expected = np.zeros((8, 8))
    expected[:5, :5] = coefficient_covariance()[:5, :5]
    np.testing.assert_allclose(jacobian @ jacobian.T, expected, rtol=1e-10, atol=1e-15)


def test_form_factors_carry_their_error_to_rates():
    """One sigma along all directions, added in quadrature, is the propagated covariance."""
    central = float(br_bplus_kplus_nunu_sm(SM))
    shifts = [float(br_bplus_kplus_nunu_sm(move(**{n: 0.01}))) - central for n in FORM_FACTORS]
    slope = jax.grad(lambda a: br_bplus_kplus_nunu_sm(SM, lambda q2: f_plus(q2, a)))(
        shifted_coefficients(jnp.zeros(5))
    )
    expected = np.sqrt(slope @ coefficient_covariance() @ slope)
    assert 100.0 * np.linalg.norm(shifts) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("q2", [0.01, 4.4, 20.0])
def test_two_body_rate_follows_the_scalar_form_factor(q2):
    sm = move(ff_bk_1=1.0, ff_bk_3=-2.0)
    ratio = f_zero(q2, shifted_coefficients(sm.bk_whitened)) / f_zero(q2)
    params = Parameters.benchmark().replace(m_h1=q2**0.5)
    moved, central = (gamma_b_to_k_h1(build_point(params, s)) for s in (sm, SM))
    assert float(moved / central) == pytest.approx(float(ratio) ** 2, rel=1e-9)
    assert abs(float(ratio) - 1.0) > 1e-3


def test_a_zero_and_kappa_scale_what_they_should():
    bk, bkstar = rates(SM)
    moved_bk, moved_bkstar = rates(move(a0_bkstar=1.0))
    assert float(moved_bk / bk) == pytest.approx(1.0, rel=1e-12)
    assert float(moved_bkstar / bkstar) == pytest.approx(1.1**2, rel=1e-12)
    entry = input_table("pdg2026")["kappa_sb"]
    factor = (1.0 + entry["error"] / entry["value"]) ** 2
    for moved, central in zip(rates(move(kappa_sb=1.0)), (bk, bkstar), strict=True):
        assert float(moved / central) == pytest.approx(factor, rel=1e-9)


def test_kaons_follow_the_top_loop_of_b_mesons():
    """The same factor on both couplings; V_td moves kaons only."""
    moved = move(kappa_sb=1.0)
    factor = float(moved.kappa_sb / SM.kappa_sb)
    assert factor > 1.05
    params = Parameters.benchmark().replace(m_h1=0.2)

    def ratios(sm):
        rates = br_kplus_piplus_h1, br_kl_pi0_h1, gamma_b_to_k_h1
        points = build_point(params, sm), build_point(params, SM)
        return [float(rate(points[0]) / rate(points[1])) for rate in rates]

    assert ratios(moved) == pytest.approx([factor**2] * 3, rel=1e-12)
    real = input_table("pdg2026")["v_ts_v_td_re"]
    shift = (1.0 + real["error"] / real["value"]) ** 2
    _, kl, b_meson = ratios(move(v_ts_v_td_re=1.0))
    assert kl == pytest.approx(shift, rel=1e-12)
    assert b_meson == 1.0


def test_kappa_is_computed_from_the_other_inputs():
    loop = 3.0 * 2.0**0.5 * SM.g_f * SM.m_t**2 * SM.v_ts_v_tb * SM.m_b
    assert SM.kappa_sb == pytest.approx(loop / (16.0 * np.pi**2 * SM.v_h), rel=2e-4)


def test_only_known_inputs_float():
    likelihood = Likelihood.from_preset("current")
    assert set(likelihood.nuisance_names) <= set(known_nuisances("pdg2026"))
    free = likelihood.with_nuisances("kappa_sb", *FORM_FACTORS)
    assert free.nuisance_names == ("kappa_sb", *FORM_FACTORS)
    with pytest.raises(InputError, match="unknown nuisance 'm_graviton'"):
        likelihood.with_nuisances("m_graviton")

"""What users rely on: public names and output columns. A change here is a line in CHANGELOG.md."""

import inspect

import pytest
from lmltdm_jax.inference import batch

import lmltdm_jax
from lmltdm_jax.likelihoods.presets import preset_names
from lmltdm_jax.parameters import PARAMETER_NAMES
from lmltdm_jax.prediction import output_columns

pytestmark = pytest.mark.fast

PUBLIC_NAMES = [
    "PARAMETER_TABLE",
    "Context",
    "GaussianTerm",
    "InputError",
    "Likelihood",
    "LmltdmError",
    "Measurement",
    "Parameters",
    "Term",
    "UpperLimitTerm",
    "ZpFermionParameters",
    "ZpScalarParameters",
    "predict",
]
OBSERVABLES = [
    "delta_a_mu",
    "kinetic_mixing",
    "n_eff",
    "delta_n_eff",
    "br_bplus_kplus_np",
    "br_bplus_kplus_nunu_sm",
    "br_bplus_kplus_inv",
    "br_h2_inv",
    "gamma_h1",
    "gamma_zp",
    "br_h1_inv",
    "omega_h2",
    "sigmav_cmb_cm3_s",
    "p_ann_cm3_s_gev",
    "br_bplus_kplus_np_zero_width",
    "br_b0_kstar0_np",
    "br_kplus_piplus_h1",
    "br_kl_pi0_h1",
    "kappa_sb",
    "trident_ratio_ccfr",
    "trident_ratio_charm2",
    "borexino_be7_ratio",
    "na64mu_yield",
    "sigma_si_cm2",
    "t_nu_over_t_gamma",
    "eta_nu",
    "h0_preferred",
    "omega_fraction_nunu",
    "omega_fraction_ee",
    "omega_fraction_mumu",
    "omega_fraction_tautau",
    "omega_fraction_hadrons",
    "omega_fraction_zpzp",
    "omega_fraction_h1h1",
    "omega_fraction_h1h2",
    "omega_fraction_h2h2",
    "omega_fraction_zph1",
    "omega_fraction_zph2",
    "x_freezeout",
    "sigmav_fo_cm3_s",
    "sigmav_today_cm3_s",
]
TERMS = [
    "muon_g2",
    "belle2_br",
    "higgs_invisible",
    "hubble",
    "relic_density",
    "cmb_annihilation",
    "ccfr_trident",
]
CURRENT_TERMS = [
    *({"belle2_br": "belle2_shape", "hubble": "n_eff"}.get(name, name) for name in TERMS),
    "belle_kstar_nunu",
    "babar_k_x",
    "babar_kstar_x",
    "na62_kpi_x",
    "na62_pi0_invisible",
    "na62_kpinunu",
    "e949_kpi_x",
    "koto_kpi0_x",
    "babar_4mu",
    "cms_4mu",
    "belle2_invisible",
    "na64e_invisible",
    "white_dwarf",
    "charm2_trident",
    "borexino_be7",
    "na64mu",
    "cresst3_si",
    "darkside50_si",
    "xenon1t_si",
    "perturbativity",
    "unitarity",
    "vacuum_stability",
    "h1_width",
    "higgs_signal_strength",
    "lep_h1_invisible",
    "lhcb_bk_mumu",
    "lhcb_bkstar_mumu",
]


def test_public_names():
    assert lmltdm_jax.__all__ == PUBLIC_NAMES
    for name in PUBLIC_NAMES:
        assert getattr(lmltdm_jax, name).__doc__ or name == "PARAMETER_TABLE"


def test_parameters_and_presets():
    names = "m_zp g_x sin_theta m_x m_h1 q_phi lambda_phix q_x"
    assert list(PARAMETER_NAMES) == names.split()
    assert preset_names() == ["talk2024", "current"]


def test_output_columns(talk2024, current):
    for likelihood, names in ((talk2024, TERMS), (current, CURRENT_TERMS)):
        expected = [*OBSERVABLES, "loglike", *(f"loglike_{term}" for term in names)]
        assert output_columns(likelihood) == expected
        couplings = ["lambda_relic_low", "lambda_relic_high"]
        assert output_columns(likelihood, relic_coupling=True) == [*expected, *couplings]


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (lmltdm_jax.predict, ["params", "preset", "relic_coupling"]),
        (batch.evaluate, ["params", "preset", "progress", "relic_coupling"]),
        (lmltdm_jax.Likelihood.from_preset, ["name"]),
        (lmltdm_jax.Likelihood.report, ["self", "params", "nuisances"]),
        (lmltdm_jax.Likelihood.terms, ["self", "params", "nuisances"]),
    ],
)
def test_signatures(function, arguments):
    assert list(inspect.signature(function).parameters) == arguments

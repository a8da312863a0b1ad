"""Our transcription of Belle II's workspace against ln L of the complete published one.

The references are absolute ln L of pyhf 0.7.6 for the complete file (5 channels, 30 bins, 232
parameters; SHA-256 9ec0d563197912e03e31de202f04fea10babe39a10de99b9770d9292df285ab3), from
corpora/pyhf/belle2_knunu_combined/test.json of github.com/flatppl/flatppl-testsuite (commit
69c0bfc). Eleven of its nuisances, and some shapes of others, are not in ours.
"""

import functools
import math

import numpy as np
import pyhf
import pytest

from lmltdm_jax.likelihoods.belle2_data import belle2_workspace

# pyhf 0.7 calls a deprecated part of jsonschema.
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")

LEFT_OUT = 11
"""corr_lumi_c1, corr_pid_c1..c7, PID_corr0..2_1_had: unit normals."""

# The complete file's nuisances in the order of its alternating shifts; "mu" is not shifted.
ORDER = """corr_KLeff_c1 corr_contW_c1 corr_lumi_c1 corr_neutralGamma_c1 corr_neutralUnmatched_c1
corr_pid_c1 corr_pid_c2 corr_pid_c3 corr_pid_c4 corr_pid_c5 corr_pid_c6 corr_pid_c7
corr_trackingEff_c1 corr_DKL_c1 corr_KLKL_c1 corr_KLKS_c1 corr_bb_c1 corr_br_c1 corr_br_c2
corr_br_c3 corr_br_c4 corr_br_c5 corr_br_c6 corr_br_c7 corr_br_c8 corr_br_c9 corr_exoticD_c1
corr_nnbar_c1 corr_bdt_c1 corr_ff_c1 corr_ff_c2 corr_ff_c3 corr_contD_c1 KL_1_had NEE_1_had
PID_corr0_1_had PID_corr1_1_had PID_corr2_1_had gbc_1_had mu mu_bkg_ccbar mu_bkg_charged
mu_bkg_ddbar mu_bkg_mixed mu_bkg_ssbar mu_bkg_taupair mu_bkg_uubar nBB norm_bbbar_1_had
norm_ccbar_1_had norm_qqbar_1_had norm_sgn_1_had""".split()
SHIFTED = {name: 0.5 * (-1) ** i for i, name in enumerate(ORDER) if name != "mu"}


@functools.cache
def model_and_data():
    workspace = pyhf.Workspace(belle2_workspace())
    model = workspace.model()
    return model, workspace.data(model)


def loglike(**changes):
    """ln L of our workspace, with the constraint of what is left out at its shift."""
    model, data = model_and_data()
    values = np.array(model.config.suggested_init())
    left_out = -0.5 * LEFT_OUT * math.log(2.0 * math.pi)
    for name, value in changes.items():
        if name in model.config.par_order:
            values[model.config.par_slice(name)] = value
        else:
            left_out -= 0.5 * value**2
    return float(model.logpdf(values, data)[0]) + left_out


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, -127.21182488859057),
        ({"mu": 0.5}, -136.724765413002),
        ({"mu": 1.5}, -118.74875703814962),
        ({"KL_1_had": -1.5}, -129.72403700626185),
        ({"KL_1_had": 1.5}, -127.32899112342957),
    ],
)
def test_same_where_what_is_left_out_is_zero(changes, expected):
    """Templates, data, statistical errors and one shape; measured: 2e-9."""
    assert loglike(**changes) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(
    ("sign", "expected", "excess"),
    [(-1, -333.33616340313694, 2.37), (1, -329.0455338511921, -2.30)],
)
def test_what_is_left_out(sign, expected, excess):
    """All 51 nuisances half a standard deviation off at once: 1 % of a change of 200 in ln L."""
    shifted = loglike(**{name: sign * value for name, value in SHIFTED.items()})
    assert shifted - expected == pytest.approx(excess, abs=0.01)

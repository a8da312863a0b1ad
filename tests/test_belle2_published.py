"""The shipped workspace is the one Belle II published, number by number.

Hash and absolute ln L (pyhf 0.7.6; 5 channels, 30 bins, 232 parameters) are those of the published
file in corpora/pyhf/belle2_knunu_combined/test.json of github.com/flatppl/flatppl-testsuite (commit
69c0bfc).
"""

import functools
import hashlib
import json

import numpy as np
import pyhf
import pytest

from lmltdm_jax.likelihoods.belle2_data import belle2_workspace

# pyhf 0.7 calls a deprecated part of jsonschema.
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")

# Its nuisances in the order of its alternating shifts; "mu" is not shifted.
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
    """ln L with every parameter at its start but for ``changes``."""
    model, data = model_and_data()
    values = np.array(model.config.suggested_init())
    for name, value in changes.items():
        values[model.config.par_slice(name)] = value
    return float(model.logpdf(values, data)[0])


@pytest.mark.fast
def test_every_number_is_the_published_one():
    """SHA-256 of the document without white space and with its keys sorted."""
    text = json.dumps(belle2_workspace(), sort_keys=True, separators=(",", ":"))
    expected = "dd3e53bd634a0291f9f1f10cbf1e585a2c6a4d402e223f28dc133d44716d3fe7"
    assert hashlib.sha256(text.encode()).hexdigest() == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, -127.21182488859057),
        ({"mu": 0.5}, -136.724765413002),
        ({"mu": 1.5}, -118.74875703814962),
        ({"KL_1_had": -1.5}, -129.72403700626185),
        ({"KL_1_had": 1.5}, -127.32899112342957),
        ({name: -value for name, value in SHIFTED.items()}, -333.33616340313694),
        (SHIFTED, -329.0455338511921),
    ],
)
def test_loglike(changes, expected):
    assert loglike(**changes) == pytest.approx(expected, abs=1e-10)

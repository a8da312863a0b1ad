"""Differentiable likelihood engine for the gauged U(1)_{Lmu-Ltau} model (arXiv:2401.10112)."""

from pathlib import Path as _Path

from lmltdm_jax import _precision as _precision
from lmltdm_jax.errors import InputError, LmltdmError
from lmltdm_jax.likelihoods.base import Context, GaussianTerm, Term, UpperLimitTerm
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.likelihoods.total import Likelihood
from lmltdm_jax.parameters import PARAMETER_TABLE, Parameters
from lmltdm_jax.prediction import predict
from lmltdm_jax.zp_only import ZpFermionParameters, ZpScalarParameters

_here = _Path(__file__).resolve().parent
if (_here.parent / "pyproject.toml").is_file() and not (_here / "inference").exists():
    # Bare checkout: the folder inference/ at the root is the package lmltdm_jax.inference.
    __path__.append(str(_here.parent))

__version__ = "0.1.0"

__all__ = [
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

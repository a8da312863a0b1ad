"""The models by name: what ``--model`` accepts."""

from __future__ import annotations

from lmltdm_jax.errors import InputError
from lmltdm_jax.parameters import Parameters, ParameterSet
from lmltdm_jax.zp_only import ZpFermionParameters, ZpScalarParameters

MODELS: dict[str, type[ParameterSet]] = {
    cls.model: cls for cls in (Parameters, ZpScalarParameters, ZpFermionParameters)
}


def find_model(name: str) -> type[ParameterSet]:
    """Parameter class of a model; raises :class:`InputError` naming the known ones."""
    if name not in MODELS:
        raise InputError(f"unknown model '{name}'; known: {', '.join(MODELS)}")
    return MODELS[name]

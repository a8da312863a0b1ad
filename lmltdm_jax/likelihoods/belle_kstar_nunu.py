"""Belle's limit on B0 -> K*0 nu nubar, Standard Model plus new physics."""

import dataclasses

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, UpperLimitTerm
from lmltdm_jax.likelihoods.measurement import Measurement


class BelleKstarNunu(UpperLimitTerm):
    """Data: ``data/measurements/belle_kstar_nunu.toml``; no q2 shape, no form factor error.

    The limit is on the sum: what the Standard Model takes is no longer there for new physics.
    """

    measurement: Measurement
    _: dataclasses.KW_ONLY
    standard_model: Measurement
    name: str = eqx.field(static=True, default="belle_kstar_nunu")

    def prediction(self, context: Context) -> jax.Array:
        assert self.standard_model.value is not None
        return context.observables.br_b0_kstar0_np + self.standard_model.value

"""BR(H2 -> invisible): half-Gaussian from the quoted 95 % CL limit."""

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, UpperLimitTerm
from lmltdm_jax.likelihoods.measurement import Measurement


class HiggsInvisible(UpperLimitTerm):
    """Data: ``data/measurements/higgs_invisible.toml``."""

    measurement: Measurement
    name: str = eqx.field(static=True, default="higgs_invisible")

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.br_h2_inv

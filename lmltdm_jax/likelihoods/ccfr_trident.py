"""CCFR neutrino trident rate over the SM."""

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement


class CcfrTrident(GaussianTerm):
    """Data: ``data/measurements/ccfr_trident.toml``; prediction: ``observables/trident.py``."""

    measurement: Measurement
    name: str = eqx.field(static=True, default="ccfr_trident")

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.trident_ratio_ccfr

"""CHARM-II neutrino trident rate over the SM."""

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement


class Charm2Trident(GaussianTerm):
    """Data: ``data/measurements/charm2_trident.toml``; prediction: ``observables/trident.py``."""

    measurement: Measurement
    name: str = eqx.field(static=True, default="charm2_trident")

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.trident_ratio_charm2

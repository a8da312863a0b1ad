"""Muon g-2: a Gaussian in Delta a_mu = a_mu(experiment) - a_mu(SM)."""

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement


class MuonG2(GaussianTerm):
    """Data: ``data/measurements/muon_g2.toml``; prediction: ``observables/muon_g2.py``."""

    measurement: Measurement
    name: str = eqx.field(static=True, default="muon_g2")

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.delta_a_mu

"""Signal strength of the 125 GeV Higgs."""

from __future__ import annotations

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement


class HiggsSignalStrength(GaussianTerm):
    """Gaussian; data: ``data/measurements/higgs_signal_strength.toml``."""

    measurement: Measurement
    name: str = eqx.field(static=True, default="higgs_signal_strength")

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.higgs_signal_strength

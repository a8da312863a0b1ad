"""CMB bound on annihilation at recombination: half-Gaussian in p_ann."""

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, UpperLimitTerm
from lmltdm_jax.likelihoods.measurement import Measurement


class CmbAnnihilation(UpperLimitTerm):
    """Data: ``data/measurements/cmb_annihilation.toml``, in cm^3 s^-1 GeV^-1."""

    measurement: Measurement
    name: str = eqx.field(static=True, default="cmb_annihilation")

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.p_ann_cm3_s_gev

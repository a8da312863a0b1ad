"""N_eff from the CMB, alone or with primordial abundances."""

from __future__ import annotations

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement


class NEff(GaussianTerm):
    """Gaussian in N_eff; data: ``data/measurements/n_eff.toml``.

    The error of the thermal history is a nuisance with a Gaussian prior, integrated out: it adds in
    quadrature and, because it varies over parameter space, in the normalisation.
    """

    measurement: Measurement
    name: str = eqx.field(static=True, default="n_eff")

    @classmethod
    def load(cls, key: str) -> NEff:
        """``"planck18"``, ``"act_dr6"``, ``"act_dr6_bbn"`` or ``"cmb_bbn_2026"``."""
        return cls(Measurement.load("n_eff", key))

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.n_eff

    def theory_error(self, context: Context) -> jax.Array:
        return context.observables.n_eff_theory_error

"""Primordial helium, with Y_p from a fit at constant N_eff."""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.observables.helium import FIT_ERROR, helium_fraction
from lmltdm_jax.observables.n_eff import N_EFF_SM, n_eff_theory_error


class Helium(GaussianTerm):
    """Data: ``data/measurements/helium.toml``. In no preset: add it with ``with_terms``.

    The fit knows one N_eff for all times. With a light Z' the extra energy appears partly during
    nucleosynthesis and T_nu changes: an estimate, not a bound to quote (see
    :mod:`lmltdm_jax.observables.helium`).
    """

    measurement: Measurement
    _: dataclasses.KW_ONLY
    omega_b: Measurement
    name: str = eqx.field(static=True, default="helium")

    @classmethod
    def load(cls, key: str = "lbt_2026") -> Helium:
        """With the measured Y_p of that key and Planck's baryon density."""
        omega_b = Measurement.load("helium", "omega_b_planck18")
        return cls(Measurement.load("helium", key), omega_b=omega_b)

    def prediction(self, context: Context) -> jax.Array:
        return self._of_n_eff(context.observables.n_eff)

    def _of_n_eff(self, n_eff: jax.Array) -> jax.Array:
        assert self.omega_b.value is not None
        return helium_fraction(self.omega_b.value, n_eff)

    def fixed_theory_error(self) -> float:
        """The fit's error and that of the baryon density, in quadrature."""
        w, error = self.omega_b.value, self.omega_b.error_up
        assert w is not None and error is not None
        slope = (helium_fraction(w + error, N_EFF_SM) - helium_fraction(w - error, N_EFF_SM)) / 2
        return math.hypot(FIT_ERROR, slope)

    def theory_error(self, context: Context) -> jax.Array:
        """Of the thermal history, through the slope dY_p/dN_eff."""
        o = context.observables
        slope = jax.jvp(self._of_n_eff, (o.n_eff,), (jnp.ones_like(o.n_eff),))[1]
        return slope * n_eff_theory_error(context.point.params.m_zp, o.delta_n_eff)

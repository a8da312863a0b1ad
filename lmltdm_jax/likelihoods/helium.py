"""Primordial helium: a Gaussian in Y_p, of one's own choice, in no preset."""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.observables.helium import helium_fit, helium_fraction
from lmltdm_jax.observables.n_eff import N_EFF_SM


class Helium(GaussianTerm):
    """Data: ``data/measurements/helium.toml``; prediction: ``observables/helium.py``.

    In no preset: the fit takes the N_eff of today for that of nucleosynthesis, which a Z' between
    1 and 30 MeV belies. Errors in quadrature: the fit, omega_b, tau_n (constant) and the thermal
    history's N_eff.
    """

    measurement: Measurement
    _: dataclasses.KW_ONLY
    omega_b: Measurement
    tau_n: Measurement
    name: str = eqx.field(static=True, default="helium")

    @classmethod
    def load(cls, key: str = "lbt_2026") -> Helium:
        """The measurement of that key with Planck's omega_b and PDG's tau_n.

        Status "unverified" unless the formula, too, was seen in its source.
        """
        measurement = Measurement.load("helium", key)
        if helium_fit()["status"] != "checked":
            measurement = dataclasses.replace(measurement, status="unverified")
        return cls(
            measurement,
            omega_b=Measurement.load("helium", "omega_b_planck18"),
            tau_n=Measurement.load("helium", "tau_n_pdg2026"),
        )

    def prediction(self, context: Context) -> jax.Array:
        return self._y_p(context.observables.n_eff)

    def fixed_theory_error(self) -> float:
        """Of the fit, omega_b and tau_n, at the N_eff of the Standard Model."""
        (omega_b, omega_error), (tau_n, tau_error) = map(_symmetric, (self.omega_b, self.tau_n))
        # Python floats: a number also while jax traces
        centre = helium_fraction(N_EFF_SM, omega_b, tau_n)
        shifts = (
            helium_fraction(N_EFF_SM, omega_b + omega_error, tau_n) - centre,
            helium_fraction(N_EFF_SM, omega_b, tau_n + tau_error) - centre,
        )
        return math.hypot(helium_fit()["error"], *shifts)

    def theory_error(self, context: Context) -> jax.Array:
        observables = context.observables
        slope = jax.grad(self._y_p)(observables.n_eff)
        return slope * observables.n_eff_theory_error

    def _y_p(self, n_eff: jax.Array) -> jax.Array:
        y_p = helium_fraction(n_eff, _symmetric(self.omega_b)[0], _symmetric(self.tau_n)[0])
        return jnp.asarray(y_p)


def _symmetric(m: Measurement) -> tuple[float, float]:
    """Value and the larger of its errors."""
    assert m.value is not None and m.error_up is not None and m.error_down is not None
    return m.value, max(m.error_up, m.error_down)

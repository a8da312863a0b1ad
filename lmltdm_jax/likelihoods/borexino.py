"""Rate of 7Be solar neutrinos in Borexino against the Standard Solar Model."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.likelihoods.base import Context, Term
from lmltdm_jax.likelihoods.measurement import Measurement


class BorexinoBe7(Term):
    """Gaussian in ln(rate): rate = expected x ``borexino_be7_ratio``, both errors log-normal.

    The solar flux is positive and multiplies everything, so its error is log-normal and cannot be
    escaped by a large signal; ln L = -ln(rate/measured)^2/(2 [e_exp^2 + e_flux^2]) with relative
    errors, the experimental one of the side the rate is on. Exact after integration over the flux.
    Data: ``data/measurements/borexino.toml``.
    """

    measurement: Measurement
    _: dataclasses.KW_ONLY
    expected: Measurement
    """the same rate without Z', from a solar model with oscillations"""
    name: str = eqx.field(static=True, default="borexino_be7")

    def prediction(self, context: Context) -> jax.Array:
        assert self.expected.value is not None
        return self.expected.value * context.observables.borexino_be7_ratio

    def pull(self, context: Context) -> jax.Array:
        m, flux = self.measurement, self.expected
        assert m.value is not None and flux.value is not None and flux.error_up is not None
        log_ratio = jnp.log(self.prediction(context) / m.value)
        error = jnp.where(log_ratio > 0.0, m.error_up, m.error_down) / m.value
        return log_ratio / jnp.hypot(error, flux.error_up / flux.value)

    def loglike(self, context: Context) -> jax.Array:
        return -0.5 * self.pull(context) ** 2

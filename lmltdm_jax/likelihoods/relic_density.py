"""Relic density: a Gaussian in Omega h^2 with a theory error in quadrature."""

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement


class RelicDensity(GaussianTerm):
    """Data: ``data/measurements/relic_density.toml``.

    ``relative_theory_error`` (3 % by default) is taken of the measured value, not of the
    prediction: the pull keeps growing far from the shell, where a sampler needs a gradient.
    ``varying_error`` adds, in quadrature, that of :mod:`..observables.relic_theory_error`: large
    near poles and thresholds where X decouples kinetically, and with Z' in the bath.
    """

    measurement: Measurement
    relative_theory_error: float = eqx.field(static=True, default=0.03)
    varying_error: bool = eqx.field(static=True, default=False)
    name: str = eqx.field(static=True, default="relic_density")

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.omega_h2

    def fixed_theory_error(self) -> float:
        value = self.measurement.value
        assert value is not None
        return self.relative_theory_error * value

    def theory_error(self, context: Context) -> jax.Array:
        if not self.varying_error:
            return super().theory_error(context)
        return context.observables.omega_h2_relative_error * self.measurement.value

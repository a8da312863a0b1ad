"""Relic density: a Gaussian in Omega h^2 with a theory error in quadrature."""

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement


class RelicDensity(GaussianTerm):
    """Data: ``data/measurements/relic_density.toml``.

    ``relative_theory_error`` (3 % by default) is taken of the measured value, not of the
    prediction: the width of the shell does not depend on the parameters and the pull keeps
    growing far away from it, where a sampler needs a gradient.
    """

    measurement: Measurement
    relative_theory_error: float = eqx.field(static=True, default=0.03)
    name: str = eqx.field(static=True, default="relic_density")

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.omega_h2

    def fixed_theory_error(self) -> float:
        value = self.measurement.value
        assert value is not None
        return self.relative_theory_error * value

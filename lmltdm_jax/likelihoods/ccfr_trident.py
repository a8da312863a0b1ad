"""CCFR neutrino trident rate over the SM."""

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.numerics.quadrature import gauss_legendre


class CcfrTrident(GaussianTerm):
    """Data: ``data/measurements/ccfr_trident.toml``; prediction: ``observables/trident.py``."""

    measurement: Measurement
    name: str = eqx.field(static=True, default="ccfr_trident")

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.trident_ratio_ccfr


class CcfrTridentBeam(CcfrTrident):
    """The same, averaged over the effective beam energy: R flat between R(160) and R(100 GeV).

    160 GeV is the mean energy of CCFR; 100 GeV reproduces the published curve within 4.5 % in g_x,
    where 160 GeV is 5 to 16 % weaker. ln L = ln int_0^1 dz exp{-[R(z) - data]^2/(2 sigma^2)},
    R(z) = R(160) + z [R(100) - R(160)], as pull and prediction at z = 1/2.
    """

    def prediction(self, context: Context) -> jax.Array:
        o = context.observables
        return 0.5 * (o.trident_ratio_ccfr + o.trident_ratio_ccfr_100gev)

    def loglike(self, context: Context) -> jax.Array:
        o, m = context.observables, self.measurement
        nodes, weights = gauss_legendre(8)
        shift = o.trident_ratio_ccfr_100gev - o.trident_ratio_ccfr
        ratio = o.trident_ratio_ccfr + nodes * shift
        sigma = jnp.where(ratio > m.value, m.error_up, m.error_down)
        exponent = -0.5 * ((ratio - m.value) / sigma) ** 2
        return jax.scipy.special.logsumexp(exponent, b=jnp.asarray(weights))

"""NA64mu: no event seen. Normalisation not verified."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.likelihoods.base import Context, Term
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.observables.na64mu import setup


class Na64Mu(Term):
    """Poisson probability of no event, profiled over a log-normal efficiency.

    ln L = -min_z [s f^z + z^2/2], s = ``na64mu_yield``, f = ``efficiency_factor``. The minimum is
    at z = -w/l, l = ln f, w = W(s l^2) with Lambert's W, where ln L = -(w + w^2/2)/l^2: -s for a
    small signal, ~ -ln(s)^2/(2 l^2) for a large one. NORMALISATION NOT VERIFIED: the efficiency is
    anchored to a limit that circulates without a source, see ``data/na64mu/setup.toml``, and f = 2
    (a factor 1.4 in g_x) is our own doubt, not NA64's. Data: ``data/measurements/na64mu.toml``.
    """

    measurement: Measurement
    name: str = eqx.field(static=True, default="na64mu")

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.na64mu_yield

    def pull(self, context: Context) -> jax.Array:
        """sqrt(-2 ln L): the standard deviations of a Gaussian with this ln L."""
        return jnp.sqrt(jnp.maximum(-2.0 * self.loglike(context), 1e-30))

    def loglike(self, context: Context) -> jax.Array:
        squared = math.log(setup()["efficiency_factor"]) ** 2
        w = lambert_w(self.prediction(context) * squared)
        return -(w + 0.5 * w**2) / squared


def lambert_w(y: jax.Array) -> jax.Array:
    """W with W exp(W) = y for y > 0, 1e-13 relative (Iacono, Boyd, Adv. Comput. Math. 43 1403)."""
    y = jnp.maximum(y, 1e-200)
    log = jnp.log1p(y)
    w = log * (1.0 - jnp.log1p(log) / (2.0 + log))
    for _ in range(3):
        w = w / (1.0 + w) * (1.0 + jnp.log(y / w))
    return w

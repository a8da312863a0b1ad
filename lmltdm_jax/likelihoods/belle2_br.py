"""Belle II B+ -> K+ nu nu as one branching fraction, as in the talk.

The excess is not one number: the shape in q^2 decides between two- and three-body decays, and this
term does not know it.
"""

import equinox as eqx
import jax

from lmltdm_jax.likelihoods.base import Context, GaussianTerm
from lmltdm_jax.likelihoods.measurement import Measurement


class Belle2NewPhysicsRate(GaussianTerm):
    """The talk's (1.8 +- 0.7)e-5 on the new-physics part of BR(B+ -> K+ inv)."""

    measurement: Measurement
    name: str = eqx.field(static=True, default="belle2_br")

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.br_bplus_kplus_np

"""Direct searches for X scattering off nuclei: limit curves in m_x."""

from __future__ import annotations

from typing import Self

import jax

from lmltdm_jax.likelihoods.base import Context
from lmltdm_jax.likelihoods.limit_curve import LimitCurve, LimitCurveTerm, curve_entry
from lmltdm_jax.numerics.fence import fence
from lmltdm_jax.observables.direct_detection import Nucleus, sigma_si


class DirectDetection(LimitCurveTerm):
    """Upper limit on sigma_SI per nucleon, with the momentum transfer of the search's own target.

    The local density is all X, whatever its relic density: where X is less than all dark matter the
    limit is too strong. The lightest mass of any nuclear-recoil curve here is 0.17 GeV: nothing is
    said below ('no bound' of the talk), where no limits from electron recoils were found as tables.
    """

    target: Nucleus

    @classmethod
    def load(cls, name: str) -> Self:
        """The term of a shipped curve, with its name."""
        curve, entry = LimitCurve.load(name), curve_entry(name)
        target = Nucleus(entry["target_charge"], entry["target_mass_number"])
        return cls(measurement=curve.measurement, curve=curve, name=name, target=target)

    def rate(self, context: Context) -> jax.Array:
        return fence(sigma_si(fence(context.point), self.target))

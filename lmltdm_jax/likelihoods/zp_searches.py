"""Searches for the Z' itself: limit curves in m_zp, for the Z' of this model and its decays."""

from __future__ import annotations

from typing import Self

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.errors import InputError
from lmltdm_jax.likelihoods.base import Context
from lmltdm_jax.likelihoods.limit_curve import LimitCurve, LimitCurveTerm, curve_entry
from lmltdm_jax.numerics.fence import fence

FINAL_STATES = ("mumu", "invisible", "any")


class ZpSearch(LimitCurveTerm):
    """Upper limit on g_x (or |eps|) as a curve in m_zp: BaBar, CMS, Belle II, NA64e, white dwarfs.

    Events go as coupling^2 x BR of the final state, so that the prediction is
    (coupling/limit)^power x BR/(BR that the published limit assumes); the narrow width
    Gamma/m <= g_x^2/(4 pi) keeps production and decay apart. ``final_state`` of the curve's file:

    - ``mumu``: BaBar and CMS assume decays to mu, tau and neutrinos alone. Z' -> X X* takes from
      all of them: the ratio is 1 - BR(X X*), which needs no threshold factor and is exact.
    - ``invisible``: limits for BR = 1; the ratio is BR(nu nu) + BR(X X*).
    - ``any``: nothing decays (an off-shell Z'); 1.
    """

    final_state: str = eqx.field(static=True)

    @classmethod
    def load(cls, name: str) -> Self:
        """The term of a shipped curve, with its name."""
        curve, final_state = LimitCurve.load(name), curve_entry(name)["final_state"]
        if final_state not in FINAL_STATES:
            raise InputError(f"{name}: final_state is one of {', '.join(FINAL_STATES)}")
        return cls(measurement=curve.measurement, curve=curve, name=name, final_state=final_state)

    def share(self, context: Context) -> jax.Array:
        """BR of the final state over the one that the published limit assumes."""
        zp = context.widths.zp
        if self.final_state == "mumu":
            return 1.0 - zp.xx / zp.total
        return zp.br_invisible if self.final_state == "invisible" else jnp.ones(())

    def rate(self, context: Context) -> jax.Array:
        """The limited coupling: g_x, or |eps(m_zp^2)|, which is what an electron beam sees."""
        if self.curve.observable != "kinetic_mixing":
            return super().rate(context)
        eps = context.point.kinetic_mixing
        return jnp.hypot(jnp.real(eps), jnp.imag(eps))

    def prediction(self, context: Context) -> jax.Array:
        mass = jnp.asarray(context.point.params.m_zp, float)
        # Between the widths and each curve: else all curves become one fusion with all widths.
        mass, rate, share = fence((mass, self.rate(context), self.share(context)))
        return self.curve.relative_rate(mass, rate) * share

"""Searches for a peak of missing mass in B -> K X, B -> K* X, K+ -> pi+ X and K_L -> pi0 X.

Each bounds the rate of one narrow state X that is not seen: here H1 on its mass shell, times the
share of it that is invisible or lives long enough, times the share of its line that is a peak. An
H1 as broad as the search's mass window, and H1 off shell, are not what these searches looked for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.base import Context, Term
from lmltdm_jax.likelihoods.limit_curve import (
    LimitCurve,
    LimitCurveTerm,
    Segment,
    curve_entry,
    curve_provenance,
    group_means,
    read_rows,
)
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.numerics.interpolate import Spline
from lmltdm_jax.observables.b_to_k import bplus_to_kplus
from lmltdm_jax.observables.b_to_kstar import b0_to_kstar0
from lmltdm_jax.observables.h1_escape import line_share, unseen_fraction
from lmltdm_jax.observables.kaon_to_pion import kl_to_pi0, kplus_to_piplus
from lmltdm_jax.observables.line_shape import Transition

_TRANSITIONS: dict[str, Callable[[StandardModel], Transition]] = {
    "br_bplus_kplus_h1": bplus_to_kplus,
    "br_b0_kstar0_h1": b0_to_kstar0,
    "br_kplus_piplus_h1": kplus_to_piplus,
    "br_kl_pi0_h1": kl_to_pi0,
}


_DATA = {"unit": "sigma", "value": 0.0, "error_up": 1.0, "error_down": 1.0}


class PeakSearch(eqx.Module):
    """What decides whether an H1 of a decay is seen as an invisible peak."""

    observable: str = eqx.field(static=True)
    """BR of the decay: a field of ``Observables``"""
    parent_momentum: float = eqx.field(static=True)
    """of the decaying meson in the laboratory [GeV]"""
    flight_length: float = eqx.field(static=True)
    """from the decay to where a decay of H1 is no longer seen [m]"""
    mass_window: float = eqx.field(static=True)
    """half width of the peak in missing mass [GeV]"""

    @classmethod
    def of(cls, entry: dict[str, Any]) -> PeakSearch:
        """From the keys of the same names."""
        keys = "observable", "parent_momentum", "flight_length", "mass_window"
        return cls(*(entry[key] for key in keys))

    def rate(self, context: Context) -> jax.Array:
        """BR of the decay into an H1 that counts."""
        point, widths = context.point, context.widths
        transition = _TRANSITIONS[self.observable](point.sm)
        unseen = unseen_fraction(
            point, widths, transition, self.parent_momentum, self.flight_length
        )
        peak = line_share(widths.h1.total, self.mass_window)
        return getattr(context.observables, self.observable) * unseen * peak


class MesonToH1Limit(LimitCurveTerm):
    """A limit on the branching fraction as a curve in m_h1: ``data/limit_curves``."""

    search: PeakSearch

    @classmethod
    def load(cls, name: str) -> Self:
        """The term of a shipped curve, with its name."""
        curve = LimitCurve.load(name)
        search = PeakSearch.of(curve_entry(name))
        return cls(measurement=curve.measurement, curve=curve, name=name, search=search)

    def rate(self, context: Context) -> jax.Array:
        return self.search.rate(context)


class MesonToH1BestFit(Term):
    """A best fit b(m_h1) of the branching fraction B and its error e, from ``data/limit_curves``.

    ln L = [b^2 - (B - b)^2]/(2 e^2), 0 for no signal: a best fit above zero is a mild preference,
    up to (b/e)^2/2. The upper error is used on both sides, because the lower ends at B = 0. Fades
    at the ends of the range as :class:`LimitCurve` does. The prediction is (B - b)/e, data 0 +- 1.
    """

    measurement: Measurement
    search: PeakSearch
    error: Segment
    best: Spline
    """best fit over its error, in ln mass"""
    name: str = eqx.field(static=True)

    @classmethod
    def load(cls, name: str) -> Self:
        """The term of a shipped table (mass, best fit, upper 1 sigma end), with its name."""
        entry = curve_entry(name)
        rows = read_rows(resources.files("lmltdm_jax.data") / "limit_curves" / f"{name}.csv")
        mass, best, upper = rows.T
        per_knot, opened = entry.get("points_per_knot", 1), bool(entry.get("open_below"))
        error = Segment.fit(mass, upper - best, per_knot, entry.get("edge", 0.03), opened)
        ratio = Spline.fit(*group_means(np.log(mass), best / (upper - best), per_knot))
        return cls(
            measurement=Measurement(**_DATA | curve_provenance(name, entry)),
            search=PeakSearch.of(entry),
            error=error,
            best=ratio,
            name=name,
        )

    def _scaled(self, context: Context) -> tuple[jax.Array, jax.Array, jax.Array]:
        """B/e, b/e and the weight of the range."""
        log_mass = jnp.log(jnp.asarray(context.point.params.m_h1, float))
        knots = self.best.knots
        best = self.best(jnp.clip(log_mass, knots[0], knots[-1]))
        rate = self.search.rate(context) / self.error.limit(log_mass)
        return rate, best, self.error.weight(log_mass)

    def prediction(self, context: Context) -> jax.Array:
        rate, best, weight = self._scaled(context)
        return weight * (rate - best)

    def pull(self, context: Context) -> jax.Array:
        return self.prediction(context)

    def loglike(self, context: Context) -> jax.Array:
        rate, best, weight = self._scaled(context)
        return weight**2 * rate * (best - 0.5 * rate)

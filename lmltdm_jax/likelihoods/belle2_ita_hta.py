"""Belle II B+ -> K+ nu nu as two branching fractions, inclusive and hadronic tag; no q2 shape."""

from __future__ import annotations

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.likelihoods.base import Context, Term
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.numerics.safe import safe_sqrt


class Belle2ItaHta(Term):
    """Sum of two asymmetric Gaussians in BR(B+ -> K+ inv), correlations left out.

    The error on the prediction's side is used. ``measurement`` is the combination of both, for
    display and for the pull, which is that against the best common rate.
    """

    measurement: Measurement
    _: dataclasses.KW_ONLY
    inclusive: Measurement
    hadronic: Measurement
    name: str = eqx.field(static=True, default="belle2_ita_hta")

    @classmethod
    def load(cls) -> Belle2ItaHta:
        """The term with the shipped data."""
        load = functools.partial(Measurement.load, "belle2_bknunu")
        return cls.of(load("br_ita_2024"), load("br_hta_2024"))

    @classmethod
    def of(cls, inclusive: Measurement, hadronic: Measurement) -> Belle2ItaHta:
        """The term of two measurements whose intervals overlap between their values."""
        return cls(_combination(inclusive, hadronic), inclusive=inclusive, hadronic=hadronic)

    def prediction(self, context: Context) -> jax.Array:
        return context.observables.br_bplus_kplus_inv

    def pull(self, context: Context) -> jax.Array:
        value, best = self.prediction(context), jnp.asarray(self.measurement.value)
        distance = self._chi2(value) - self._chi2(best)
        return jnp.sign(value - best) * safe_sqrt(distance)

    def loglike(self, context: Context) -> jax.Array:
        return -0.5 * self._chi2(self.prediction(context))

    def _chi2(self, value: jax.Array) -> jax.Array:
        return sum(
            ((value - m.value) / jnp.where(value > m.value, m.error_up, m.error_down)) ** 2
            for m in (self.inclusive, self.hadronic)
        )


def _combination(inclusive: Measurement, hadronic: Measurement) -> Measurement:
    """Weighted mean with the errors that face each other."""
    low, high = sorted((inclusive, hadronic), key=lambda m: m.value or 0.0)
    assert low.value and low.error_up and low.error_down
    assert high.value and high.error_up and high.error_down
    weights = low.error_up**-2, high.error_down**-2
    value = (weights[0] * low.value + weights[1] * high.value) / sum(weights)
    return dataclasses.replace(
        inclusive,
        key=f"{inclusive.key}_x_{hadronic.key}",
        quantity="BR(B+ -> K+ nu nubar), both tags, SM q2 shape assumed",
        value=value,
        error_up=(low.error_up**-2 + high.error_up**-2) ** -0.5,
        error_down=(low.error_down**-2 + high.error_down**-2) ** -0.5,
        data_sets=(*inclusive.data_sets, *hadronic.data_sets),
        note="derived: weighted mean",
    )

"""What a likelihood term is, and the two shapes most of them have.

A term reads the shared :class:`Context` and returns numbers; it never computes an observable that
another term also needs. A new constraint is one file beside this one, see CONTRIBUTING.md.
"""

from __future__ import annotations

import abc
import itertools
from collections.abc import Sequence
from statistics import NormalDist

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.errors import InputError
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.model import Point
from lmltdm_jax.observables.compute import Observables
from lmltdm_jax.widths import Widths


class Context(eqx.Module):
    """Everything a term may read: the point, its widths and the observables, computed once."""

    point: Point
    widths: Widths
    observables: Observables
    nuisances: dict[str, jax.Array] = eqx.field(default_factory=dict)
    """Unit normals that float, by name; terms read those of their ``nuisance_names``"""


class Term(eqx.Module):
    """One likelihood term. All methods are pure functions of the context, jit and grad safe."""

    measurement: eqx.AbstractVar[Measurement]
    name: eqx.AbstractVar[str]

    def measurements(self) -> list[Measurement]:
        """The data, and other numbers that the term holds (a rate expected without new physics)."""
        return [value for value in vars(self).values() if isinstance(value, Measurement)]

    @property
    def data_sets(self) -> frozenset[str]:
        """Observations in this term that no other term of a likelihood may hold, too.

        A term that reads more than its ``measurement`` adds what the rest was made from.
        """
        return frozenset(self.measurement.data_sets)

    @property
    def nuisance_names(self) -> tuple[str, ...]:
        """Nuisances of the experiment that the term takes from :attr:`Context.nuisances`.

        Each is a unit normal whose prior the whole likelihood adds; one that is not given is 0.
        """
        return ()

    @abc.abstractmethod
    def prediction(self, context: Context) -> jax.Array:
        """The model's value of the measured quantity, in the measurement's unit."""

    @abc.abstractmethod
    def pull(self, context: Context) -> jax.Array:
        """(prediction - data)/sigma; the signed number of standard deviations."""

    @abc.abstractmethod
    def loglike(self, context: Context) -> jax.Array:
        """ln L up to a constant that does not depend on the parameters."""


class GaussianTerm(Term):
    """Gaussian in the prediction, two-sided errors, optional theory errors in quadrature.

    With different errors up and down the one on the prediction's side is used, so ln L and its
    first derivative are continuous at the measured value.
    """

    def fixed_theory_error(self) -> float:
        """Theory error that is the same everywhere; 0 unless a term says otherwise."""
        return 0.0

    def theory_error(self, context: Context) -> jax.Array:
        """Theory error that varies over parameter space; 0 unless a term says otherwise."""
        return jnp.zeros(())

    def _residual(self, context: Context) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Prediction - data, sigma without and with the varying error; one prediction for all."""
        m, prediction = self.measurement, self.prediction(context)
        error = jnp.where(prediction > m.value, m.error_up, m.error_down)
        fixed = jnp.hypot(error, self.fixed_theory_error())
        return prediction - m.value, fixed, jnp.hypot(fixed, self.theory_error(context))

    def pull(self, context: Context) -> jax.Array:
        difference, _, total = self._residual(context)
        return difference / total

    def loglike(self, context: Context) -> jax.Array:
        difference, fixed, total = self._residual(context)
        # The second term is the normalisation: an error that varies must not come for free.
        return -0.5 * (difference / total) ** 2 - jnp.log(total / fixed)


def check_no_double_counting(terms: Sequence[Term]) -> None:
    """Raises InputError naming the first two terms that hold the same observations."""
    for a, b in itertools.combinations(terms, 2):
        if shared := sorted(a.data_sets & b.data_sets):
            raise InputError(
                f"terms '{a.name}' and '{b.name}' both contain {', '.join(shared)}: their product "
                f"would count it twice; drop one of them, e.g. with without('{a.name}')"
            )


def limit_quantile(confidence_level: float) -> float:
    """z of the one mapping from an upper limit to a likelihood: ln L = -(z rate/limit)^2/2.

    z is the two-sided quantile (1.645 at 90 %, 1.96 at 95 %): a flat prior on the positive rate
    then puts ``confidence_level`` of the posterior below the limit. ``rate`` is what the number of
    signal events is proportional to; a limit on a coupling g with rate ~ g^n enters as
    (g/g_limit)^n. The half-Gaussian has its maximum at no signal: whether an experiment saw more or
    less than it expected is not known from a limit alone. Smooth, no hard cut.
    """
    return NormalDist().inv_cdf(0.5 * (1.0 + confidence_level))


class UpperLimitTerm(Term):
    """Half-Gaussian with its quoted quantile at the limit, see :func:`limit_quantile`."""

    def pull(self, context: Context) -> jax.Array:
        m = self.measurement
        assert m.limit is not None
        return self.prediction(context) * (limit_quantile(m.confidence_level) / m.limit)

    def loglike(self, context: Context) -> jax.Array:
        return -0.5 * self.pull(context) ** 2

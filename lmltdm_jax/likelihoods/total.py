"""The combined likelihood: parameters (and nuisances) to one number, its terms and a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax._precision import require_x64
from lmltdm_jax.errors import InputError
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.base import Context, Term, check_no_double_counting
from lmltdm_jax.likelihoods.nuisances import check_nuisances, in_range, shifted
from lmltdm_jax.likelihoods.presets import load_preset
from lmltdm_jax.model import Point, build_point
from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.observables import compute
from lmltdm_jax.observables.compute import Observables, ObservableSettings, compute_observables
from lmltdm_jax.parameters import ParameterSet, in_domain
from lmltdm_jax.widths import build_widths

Nuisances = Mapping[str, jax.Array]


class Evaluation(eqx.Module):
    """One point evaluated: the total, each term, each pull, and the observables behind them."""

    loglike: jax.Array
    terms: dict[str, jax.Array]
    predictions: dict[str, jax.Array]
    pulls: dict[str, jax.Array]
    observables: Observables


class Likelihood(eqx.Module):
    """Sum of likelihood terms over observables that are computed once per point.

    One likelihood serves all models: the class of the parameters says which one, and every term
    applies to it. Where a model has no signal (a decay to H1 without an H1) a term gives what it
    gives for the Standard Model, so that likelihoods of different models compare.

    Calling it is pure: ``jax.jit``, ``jax.vmap`` and ``jax.grad`` all work. A point outside the
    physical domain gives -inf, with zero gradient, not NaN.
    """

    name: str = eqx.field(static=True)
    term_list: tuple[Term, ...]
    sm: StandardModel
    settings: ObservableSettings = eqx.field(static=True)
    inputs: str = eqx.field(static=True)
    """Input set of ``sm``, which has the errors of nuisances"""
    nuisance_names: tuple[str, ...] = eqx.field(static=True, default=())
    """SM inputs (:mod:`.nuisances`) and nuisances of terms that float, as unit normals z"""

    def __check_init__(self) -> None:
        # Runs for every likelihood that is built or copied with other terms.
        check_no_double_counting(self.term_list)
        check_nuisances(self.nuisance_names, self.inputs, self._nuisances_of_terms())

    # By identity, so that jax.jit(likelihood) works although terms hold arrays.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    @classmethod
    def from_preset(cls, name: str) -> Likelihood:
        """Likelihood of a named preset; raises InputError for an unknown name."""
        require_x64()
        preset = load_preset(name)
        return cls(
            name=preset.name,
            term_list=preset.terms,
            sm=StandardModel.load(preset.inputs),
            settings=preset.settings,
            inputs=preset.inputs,
            nuisance_names=preset.nuisances,
        )

    def without(self, *names: str) -> Likelihood:
        """A copy with terms switched off; their own nuisances must not float any more."""
        for name in names:
            self._check_term(name)
        kept = tuple(term for term in self.term_list if term.name not in names)
        return dataclasses.replace(self, term_list=kept)

    def with_terms(self, *terms: Term) -> Likelihood:
        """A copy with terms added; a term with the name of an existing one replaces it.

        Raises:
            InputError: two terms of the result hold the same observations (``Term.data_sets``).
        """
        new = {term.name: term for term in self.term_list} | {term.name: term for term in terms}
        return dataclasses.replace(self, term_list=tuple(new.values()))

    def with_nuisances(self, *names: str) -> Likelihood:
        """A copy in which exactly these SM inputs and nuisances of terms float; none freezes all.

        Raises:
            InputError: a name that neither
                :func:`lmltdm_jax.likelihoods.nuisances.known_nuisances` nor a term's
                ``nuisance_names`` has.
        """
        return dataclasses.replace(self, nuisance_names=names)

    def __call__(self, params: ParameterSet, nuisances: Nuisances | None = None) -> jax.Array:
        """ln L of one point, unit-normal priors of the given nuisances included."""
        return self.evaluate(params, nuisances).loglike

    def terms(
        self, params: ParameterSet, nuisances: Nuisances | None = None
    ) -> dict[str, jax.Array]:
        """ln L of each term by name."""
        return self.evaluate(params, nuisances).terms

    def evaluate(
        self,
        params: ParameterSet,
        nuisances: Nuisances | None = None,
        relic: compute.Relic | None = None,
    ) -> Evaluation:
        """Everything about one point (scalars). ``nuisances`` maps names to unit normals (0).

        ``relic``: :meth:`relic` of the point, computed here if not given.

        ln L is -inf outside the domain of the parameters, and where a nuisance is further out than
        :data:`lmltdm_jax.likelihoods.nuisances.LARGEST`.
        """
        given = dict(nuisances or {})
        physical = in_domain(params) & in_range(given)
        nuisances = _safe(given)
        point = self._point(params, nuisances)
        widths = build_widths(point)
        observables = compute_observables(point, widths, self.settings, relic)
        context = Context(point, widths, observables, nuisances)
        terms = {
            term.name: jnp.where(physical, term.loglike(context), -jnp.inf)
            for term in self.term_list
        }
        prior = sum((-0.5 * jnp.asarray(z) ** 2 for z in given.values()), jnp.zeros(()))
        return Evaluation(
            loglike=sum(terms.values(), prior),
            terms=terms,
            predictions={term.name: term.prediction(context) for term in self.term_list},
            pulls={term.name: term.pull(context) for term in self.term_list},
            observables=observables,
        )

    def relic(self, params: ParameterSet, nuisances: Nuisances | None = None) -> compute.Relic:
        """Omega h2 of :meth:`evaluate` and its theory error, without the rest and a domain."""
        point = self._point(params, _safe(nuisances or {}))
        return compute.relic(point, build_widths(point))

    def report(self, params: ParameterSet, nuisances: Nuisances | None = None) -> Report:
        """Table of term, prediction, data, pull and gradient norm of one validated point."""
        params.validate()
        evaluation, norms = _evaluation_and_gradient_norms(self, params, nuisances)
        rows = tuple(
            ReportRow(
                term=term.name,
                prediction=float(evaluation.predictions[term.name]),
                data=str(term.measurement),
                pull=float(evaluation.pulls[term.name]),
                loglike=float(evaluation.terms[term.name]),
                gradient_norm=float(norms[term.name]),
                status=_status(term),
            )
            for term in self.term_list
        )
        return Report(self.name, float(evaluation.loglike), rows)

    def _point(self, params: ParameterSet, nuisances: dict[str, jax.Array]) -> Point:
        # Outside the domain the formulas divide by zero: evaluate a safe point there instead, so
        # that no NaN enters the gradient; its likelihood is overwritten.
        physical = in_domain(params)
        safe = jax.tree.map(
            lambda value, fallback: jnp.where(physical, value, fallback),
            params,
            params.benchmark(),
        )
        return build_point(safe, self._standard_model(nuisances))

    def _standard_model(self, nuisances: dict[str, jax.Array]) -> StandardModel:
        for name in nuisances:
            if name not in self.nuisance_names:
                known = ", ".join(self.nuisance_names) or "none"
                raise InputError(f"unknown nuisance '{name}' for '{self.name}'; known: {known}")
        of_terms = self._nuisances_of_terms()
        inputs = {name: z for name, z in nuisances.items() if name not in of_terms}
        return shifted(self.sm, self.inputs, inputs)

    def _nuisances_of_terms(self) -> tuple[str, ...]:
        return tuple(name for term in self.term_list for name in term.nuisance_names)

    def _check_term(self, name: str) -> None:
        known = [term.name for term in self.term_list]
        if name not in known:
            raise InputError(f"unknown term '{name}' in '{self.name}'; known: {', '.join(known)}")


def _safe(nuisances: Nuisances) -> dict[str, jax.Array]:
    """All zero if one of them is out of range: the likelihood there is overwritten."""
    inside = in_range(nuisances)
    return {name: jnp.where(inside, z, 0.0) for name, z in nuisances.items()}


@top_level_jit
def evaluate_jit(likelihood, params, nuisances):
    return likelihood.evaluate(params, nuisances)


@top_level_jit
def _evaluation_and_gradient_norms(likelihood, params, nuisances):
    """The evaluation, and norms of d(ln L_term)/d(ln parameter) (d/d parameter on a linear scale).

    Forward mode: one program for both, and fewer parameters than terms.
    """
    vector = params.to_vector()

    def terms(v):
        evaluation = likelihood.evaluate(params.from_vector(v), nuisances)
        return evaluation.terms, evaluation

    rows, evaluation = jax.jacfwd(terms, has_aux=True)(vector)
    scale = jnp.where(np.array([i.scale == "log" for i in params.table]), vector, 1.0)
    return evaluation, {name: jnp.linalg.norm(row * scale) for name, row in rows.items()}


def _status(term: Term) -> str:
    """``checked`` if every number behind the term is."""
    checked = all(m.status == "checked" for m in term.measurements())
    return "checked" if checked else "unverified"


@dataclasses.dataclass(frozen=True)
class ReportRow:
    """One term of a :class:`Report`."""

    term: str
    prediction: float
    data: str
    pull: float
    loglike: float
    gradient_norm: float
    status: str


@dataclasses.dataclass(frozen=True)
class Report:
    """Which term says what about a point; prints as a table."""

    likelihood: str
    loglike: float
    rows: tuple[ReportRow, ...]

    def __str__(self) -> str:
        head = f"{'term':<18}{'prediction':>12}  {'data':<26}{'pull':>9}{'ln L':>11}{'|grad|':>10}"
        lines = [f"{self.likelihood}: ln L = {self.loglike:.4f}", head, "-" * len(head)]
        for r in self.rows:
            mark = " *" if r.status != "checked" else ""
            lines.append(
                f"{r.term:<18}{r.prediction:>12.4g}  {r.data:<26}{r.pull:>+9.2f}"
                f"{r.loglike:>11.3f}{r.gradient_norm:>10.2g}{mark}"
            )
        if any(r.status != "checked" for r in self.rows):
            lines.append(
                "* a number behind this term was not seen in its source: see its data file"
            )
        return "\n".join(lines)

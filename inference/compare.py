"""Models against each other on one preset: evidence, best fit and pulls of each kind of solution.

Every model is explored as ``lmltdm fit`` does before its chains start; ln Z of a kind of solution
is that of the model plus ln of its share of the posterior. Priors are those of the parameter
tables: ln Z counts what of them is left, and moves with their ranges. The best fit starts from the
best weighted draws. The Standard Model has no parameter, and no dark matter whose density could be
predicted: its chi2 is that of all other terms, to be set beside ``chi2_without_relic``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from lmltdm_jax.errors import InputError
from lmltdm_jax.likelihoods.total import Likelihood, evaluate_jit
from lmltdm_jax.models import MODELS
from lmltdm_jax.zp_only import ZpScalarParameters

from .best_fit import best_fit
from .fit import FitSettings, build_target, explore
from .minimise import chi2_of
from .posterior import kinds
from .progress import Progress, silent
from .target import Target

RELIC = "relic_density"
_STARTS = 64
"""Weighted draws of each kind from which its best fit is sought."""
_RESOLVED = 0.5
"""Largest relative error of a share from which an evidence is quoted."""
_DECOUPLED = ZpScalarParameters(m_zp=0.4, g_x=1e-12, m_x=1.0, q_x=1.0)
"""A Z' that nothing feels: every other observable is that of the Standard Model."""


@dataclasses.dataclass(frozen=True)
class Solution:
    """One kind of solution of a model; the Standard Model has no evidence and no parameters."""

    model: str
    kind: str
    log_z: float | None
    """None where too few weighted draws are of the kind"""
    log_z_error: float | None
    share: float | None
    """of the model's posterior"""
    chi2: float
    """-2 ln L at the best fit, constraints of nuisances included"""
    chi2_without_relic: float
    """the same less what the relic density adds"""
    best: dict[str, float]
    pulls: dict[str, float]
    """of every term at the best fit"""


def compare(
    likelihood: Likelihood,
    settings: FitSettings,
    seed: int = 0,
    folder: Path | None = None,
    progress: Callable[[str], Progress] = lambda model: silent,
) -> Iterator[Solution]:
    """The Standard Model, then every model, kind by kind.

    Args:
        likelihood: of a preset, or your own.
        settings: sizes of the exploration, ``fit.FULL`` or ``fit.QUICK``.
        seed: the same seed gives the same numbers.
        folder: keeps what was explored in a folder a model; resumes there.
        progress: of a model's name, what :func:`fit.run` tells.

    Raises:
        InputError: the folder is that of another run, or cannot be written.
    """
    yield standard_model(likelihood)
    for model in MODELS.values():
        target = build_target(likelihood, model=model)
        below = None if folder is None else folder / model.model
        yield from solutions(target, settings, seed, below, progress(model.model))


def standard_model(likelihood: Likelihood) -> Solution:
    """Nuisances at their measured values; without the relic density, which has no prediction."""
    others = likelihood.without(*(t.name for t in likelihood.term_list if t.name == RELIC))
    evaluation = evaluate_jit(others, _DECOUPLED, {})
    chi2 = -2.0 * float(sum(evaluation.terms.values()))
    pulls = {name: float(pull) for name, pull in evaluation.pulls.items()}
    return Solution("standard-model", "", None, None, None, chi2, chi2, {}, pulls)


def solutions(
    target: Target,
    settings: FitSettings,
    seed: int,
    folder: Path | None,
    progress: Progress,
) -> Iterator[Solution]:
    """Both kinds of solution of one model; a kind without a weighted draw is left out."""
    learned = explore(target, settings, seed, folder, progress)
    weighted = learned.importance
    prior = target.coordinates.prior
    chi2 = chi2_of(target, weighted.points)
    for number, (kind, inside) in enumerate(kinds(target, weighted.points.y).items()):
        if not np.any(inside & (weighted.weights > 0.0)):
            continue
        progress("best fit", number / 2, kind)
        rows = np.flatnonzero(inside)
        rows = rows[np.argsort(chi2[rows])[:_STARTS]]
        y = best_fit(target, weighted.points.y[rows], partial(_of_kind, target, kind))
        params, nuisances = prior.physical(target.coordinates.to_box_many(y))
        evaluation = evaluate_jit(target.likelihood, params, nuisances)
        constraints = sum(float(z) ** 2 for z in nuisances.values())
        total = constraints - 2.0 * float(sum(evaluation.terms.values()))
        share, error = weighted.share(inside)
        resolved = error < _RESOLVED * share
        yield Solution(
            model=prior.model.model,
            kind=kind,
            log_z=weighted.log_z + float(np.log(share)) if resolved else None,
            log_z_error=(
                float(np.hypot(weighted.log_z_error, error / share)) if resolved else None
            ),
            share=share,
            chi2=total,
            chi2_without_relic=total + 2.0 * float(evaluation.terms.get(RELIC, 0.0)),
            best={k: float(v) for k, v in target.coordinates.values(y).items()},
            pulls={name: float(pull) for name, pull in evaluation.pulls.items()},
        )
    progress("best fit", 1.0, "")


def _of_kind(target: Target, kind: str, y: np.ndarray) -> np.ndarray:
    return kinds(target, y)[kind]


def write(found: list[Solution], folder: Path) -> Path:
    """``compare.json`` in ``folder``; raises InputError if it cannot be written."""
    path = folder / "compare.json"
    try:
        text = json.dumps([dataclasses.asdict(s) for s in found], indent=2)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return path

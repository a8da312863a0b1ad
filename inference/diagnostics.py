"""Results of a fit: ArviZ file, convergence, quantiles. Only this file knows ArviZ's versions."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lmltdm_jax.errors import InputError
from lmltdm_jax.prediction import observable_columns

from .fit import Fit

with warnings.catch_warnings():
    # 0.23 announces on import that 1.0 will be different.
    warnings.simplefilter("ignore", FutureWarning)
    import arviz

R_HAT_MAX, ESS_MIN, DIVERGENCES_MAX = 1.01, 400.0, 1e-3
"""A fit has converged if every parameter's r_hat and bulk and tail ess, and the share of divergent
transitions, are within these (Vehtari et al., Bayesian Anal. 16 (2021) 667)."""


def parameters(fit: Fit) -> dict[str, np.ndarray]:
    """Sampled parameters (physical units) and nuisances, arrays (chains, draws)."""
    coordinates = fit.target.coordinates
    x = np.asarray(coordinates.to_box_many(fit.draws.y))
    params, nuisances = coordinates.prior.physical(x)
    values = {info.name: getattr(params, info.name) for info in coordinates.prior.parameters}
    return {name: np.asarray(value) for name, value in (values | dict(nuisances)).items()}


def to_arviz(fit: Fit) -> Any:
    """ArviZ object with groups posterior (observables included), sample_stats, log_likelihood.

    An InferenceData with ArviZ 0.23, a DataTree with 1.x.
    """
    draws = fit.draws
    names = observable_columns(fit.target.coordinates.prior.model)
    observables = {name: fit.columns[name] for name in names}
    terms = {
        name.removeprefix("loglike_"): column
        for name, column in fit.columns.items()
        if name.startswith("loglike_")
    }
    groups = {
        "posterior": parameters(fit) | observables,
        "sample_stats": {
            "diverging": fit.statistic("diverging"),
            "n_steps": fit.statistic("num_steps"),
            "acceptance_rate": fit.statistic("acceptance"),
            "energy": fit.statistic("energy"),
            "lp": draws.log_prior + draws.log_likelihood,
        },
        "log_likelihood": terms,
    }
    if int(arviz.__version__.split(".")[0]) >= 1:
        return arviz.from_dict(groups)
    return arviz.from_dict(**groups)  # pyright: ignore[reportCallIssue]


def summarize(fit: Fit) -> dict[str, Any]:
    """The content of ``summary.json``."""
    table = {}
    for name, draws in parameters(fit).items():
        q05, q50, q95 = np.quantile(draws, (0.05, 0.5, 0.95))
        table[name] = {
            "mean": float(draws.mean()),
            "sd": float(draws.std()),
            "q05": float(q05),
            "q50": float(q50),
            "q95": float(q95),
            "ess_bulk": float(arviz.ess(draws, method="bulk")),
            "ess_tail": float(arviz.ess(draws, method="tail")),
            "r_hat": float(arviz.rhat(draws)),
        }
    diverging = fit.statistic("diverging")
    summary = {
        "likelihood": fit.target.likelihood.name,
        "model": fit.target.coordinates.prior.model.model,
        "seed": fit.seed,
        "parameters": table,
        "divergences": int(diverging.sum()),
        "n_samples": int(diverging.size),
        "chains": int(diverging.shape[0]),
        "log_evidence": fit.learned.importance.log_z,
        "log_evidence_error": fit.learned.importance.log_z_error,
        "log_evidence_tempering": fit.tempered.log_z,
        "importance_efficiency": fit.learned.importance.efficiency,
        "complete": fit.complete,
        "wall_s": fit.wall_s,
    }
    summary["reasons"] = reasons = not_converged(summary)
    summary["converged"] = not reasons
    return summary


def not_converged(summary: dict[str, Any]) -> list[str]:
    """Why the draws must not be quoted, in words; empty if they have converged."""
    table = summary["parameters"]
    reasons = []
    worst = max(table, key=lambda name: _or_inf(table[name]["r_hat"]))
    if not table[worst]["r_hat"] <= R_HAT_MAX:
        reasons.append(f"r_hat of {worst} is {table[worst]['r_hat']:.3f} (limit {R_HAT_MAX})")
    ess = {name: min(row["ess_bulk"], row["ess_tail"]) for name, row in table.items()}
    least = min(ess, key=lambda name: ess[name])
    if not ess[least] >= ESS_MIN:
        reasons.append(f"effective sample size of {least} is {ess[least]:.0f} (least {ESS_MIN:g})")
    share = summary["divergences"] / summary["n_samples"]
    if share > DIVERGENCES_MAX:
        reasons.append(f"{share:.2%} of the transitions diverged (limit {DIVERGENCES_MAX:.1%})")
    if not summary["complete"]:
        reasons.append("the run was interrupted")
    return reasons


def _or_inf(value: float) -> float:
    return value if np.isfinite(value) else np.inf


def write(fit: Fit, folder: Path) -> dict[str, Any]:
    """``posterior.nc`` and ``summary.json`` in ``folder``; returns the summary.

    Raises:
        InputError: they cannot be written.
    """
    summary = summarize(fit)
    # HDF5 refuses to overwrite a file that is open, as in the notebook beside a second fit.
    hidden = folder / f".posterior.{os.getpid()}.nc"
    try:
        to_arviz(fit).to_netcdf(str(hidden))
        os.replace(hidden, folder / "posterior.nc")
        text = json.dumps(summary, indent=2)
        (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from None
    finally:
        hidden.unlink(missing_ok=True)
    return summary

"""``summary.json``: quantiles of the draws, and whether the chains have converged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from lmltdm_jax.errors import InputError

from .convergence import DIVERGENCES_MAX, ESS_MIN, R_HAT_MAX, mixing
from .posterior import Posterior


def summarize(posterior: Posterior) -> dict[str, Any]:
    """The content of ``summary.json``."""
    table = {}
    for name, draws in posterior.parameters.items():
        q05, q50, q95 = np.quantile(draws, (0.05, 0.5, 0.95))
        table[name] = {
            "mean": float(draws.mean()),
            "sd": float(draws.std()),
            "q05": float(q05),
            "q50": float(q50),
            "q95": float(q95),
        } | mixing(draws)._asdict()
    diverging = posterior.statistics["diverging"]
    run = dataclasses.asdict(posterior.run)
    summary = {
        "likelihood": posterior.likelihood,
        "model": posterior.prior.model.model,
        "preset_hash": posterior.preset_hash,
        "versions": posterior.versions,
        "seed": run.pop("seed"),
        "parameters": table,
        "weighted": {name: posterior.weighted.summary(name) for name in table},
        "weighted_ess": posterior.weighted.effective,
        "divergences": int(diverging.sum()),
        "n_samples": int(diverging.size),
        "chains": int(diverging.shape[0]),
        **run,
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


def write(summary: dict[str, Any], folder: Path) -> Path:
    """``summary.json`` in ``folder``; raises InputError if it cannot be written."""
    path = folder / "summary.json"
    try:
        path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return path

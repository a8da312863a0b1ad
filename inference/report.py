"""``report.md``: what a fit found, in words, tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lmltdm_jax.errors import InputError

from .posterior import Posterior

_TWO_BODY = "Two-body B → K H1 (m_h1 < m_B − m_K)"
_BELOW_POLE = "Annihilation below the pole of the Z' (m_zp > 2 m_dm)"


def verdict(summary: dict[str, Any]) -> str:
    """One sentence: converged, or not and why."""
    if summary["converged"]:
        return "The chains have converged."
    return "NOT CONVERGED, do not quote these numbers: " + "; ".join(summary["reasons"]) + "."


def text(posterior: Posterior, summary: dict[str, Any]) -> str:
    """The report as Markdown."""
    run, model = posterior.run, posterior.prior.model
    share = run.share
    software = ", ".join(f"{name} {version}" for name, version in posterior.versions.items())
    units = {info.name: info.unit for info in model.table}
    k = "" if run.pareto_k is None else f", Pareto k = {run.pareto_k:.2f}"
    k += "" if run.evidence_is_reliable else ": **not reliable**"
    kind = _TWO_BODY if model.has_dark_higgs else _BELOW_POLE
    lines = [
        f"# Fit of `{posterior.likelihood}`, model `{model.model}`",
        "",
        f"**{verdict(summary)}**",
        "",
        f"{summary['n_samples']} draws of {summary['chains']} chains, seed {run.seed}, "
        f"{run.wall_s:.0f} s, {summary['divergences']} divergent transitions.",
        "",
        f"Preset hash `{posterior.preset_hash}`; {software}.",
        "",
        f"Evidence: ln Z = {run.log_evidence:.3f} ± {run.log_evidence_error:.3f} "
        f"from {run.importance_draws} weighted draws of the learned density "
        f"({run.importance_efficiency:.1%} of them count{k}); tempering alone says "
        f"{run.log_evidence_tempering:.2f}, which was up to 1.3 too low in other runs.",
        "",
        f"{kind}: {share['draws']:.1%} of the draws, ({share['weighted']:.1%} ± "
        f"{share['error']:.1%}) of the weighted draws.",
        "",
        "| parameter | unit | mean | sd | 5 % | median | 95 % | ess bulk | ess tail | r_hat |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for parameter, row in summary["parameters"].items():
        numbers = " | ".join(f"{row[k]:.4g}" for k in ("mean", "sd", "q05", "q50", "q95"))
        quality = f"{row['ess_bulk']:.0f} | {row['ess_tail']:.0f} | {row['r_hat']:.3f}"
        lines.append(f"| {parameter} | {units.get(parameter, '')} | {numbers} | {quality} |")
    lines += [
        "",
        f"The same from {len(posterior.weighted.weights)} weighted draws, worth "
        f"{posterior.weighted.effective:.0f} independent ones (`chains/weighted`, group `weighted` "
        "of `posterior.nc`). "
        + (
            "Where both agree, these are the more precise."
            if run.evidence_is_reliable
            else "**Not reliable**: use the chains."
        ),
        "",
        "| parameter | mean | sd | 5 % | median | 95 % |",
        "|---|---|---|---|---|---|",
    ]
    for parameter, row in summary["weighted"].items():
        numbers = " | ".join(f"{row[k]:.4g}" for k in ("mean", "sd", "q05", "q50", "q95"))
        lines.append(f"| {parameter} | {numbers} |")
    lines += ["", "| term | measured | median pull | mean ln L |", "|---|---|---|---|"]
    for term, measured in posterior.measurements.items():
        pull = np.median(posterior.pulls[term])
        mean = np.mean(posterior.log_likelihoods[term])
        lines.append(f"| {term} | {measured} | {pull:+.2f} | {mean:.2f} |")
    lines.append("")
    for title in ("corner", "predictive", "trace"):
        lines.append(f"![{title}]({title}.png)")
    return "\n".join(lines) + "\n"


def write(posterior: Posterior, summary: dict[str, Any], folder: Path) -> Path:
    """``report.md`` in ``folder``; raises InputError if it cannot be written."""
    path = folder / "report.md"
    try:
        path.write_text(text(posterior, summary), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return path

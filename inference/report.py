"""``report.md``: what a fit found, in words, tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lmltdm_jax import __version__
from lmltdm_jax.errors import InputError

from .fit import Fit

_TWO_BODY = "Two-body B → K H1 (m_h1 < m_B − m_K)"
_BELOW_POLE = "Annihilation below the pole of the Z' (m_zp > 2 m_dm)"


def verdict(summary: dict[str, Any]) -> str:
    """One sentence: converged, or not and why."""
    if summary["converged"]:
        return "The chains have converged."
    return "NOT CONVERGED, do not quote these numbers: " + "; ".join(summary["reasons"]) + "."


def lobes(fit: Fit) -> dict[str, float]:
    """Share of the posterior in the first of a model's two kinds of solution.

    With a dark Higgs a two-body B -> K H1 (m_h1 < m_B - m_K); without one, annihilation below the
    pole, m_zp > 2 m_dm. ``draws`` of the chains, ``weighted`` draws of the learned density with its
    ``error``: two estimates that agree where the chains have found the weights of the modes.
    """
    sm, coordinates = fit.target.likelihood.sm, fit.target.coordinates
    prior = coordinates.prior
    limit = float(sm.m_bplus - sm.m_kplus)

    def first_kind(y: np.ndarray) -> np.ndarray:
        params, _ = prior.physical(np.asarray(coordinates.to_box_many(y)))
        p = params.as_dark_higgs()
        return np.asarray(p.m_h1 < limit if prior.model.has_dark_higgs else p.m_zp > 2.0 * p.m_x)

    weighted = fit.learned.importance
    share, error = weighted.share(first_kind(weighted.points.y))
    return {"draws": float(np.mean(first_kind(fit.draws.y))), "weighted": share, "error": error}


def text(fit: Fit, summary: dict[str, Any]) -> str:
    """The report as Markdown."""
    name, share = fit.target.likelihood.name, lobes(fit)
    model = fit.target.coordinates.prior.model
    units = {info.name: info.unit for info in model.table}
    kind = _TWO_BODY if model.has_dark_higgs else _BELOW_POLE
    lines = [
        f"# Fit of `{name}`, model `{model.model}`",
        "",
        f"**{verdict(summary)}**",
        "",
        f"{summary['n_samples']} draws of {summary['chains']} chains, seed {fit.seed}, "
        f"{summary['wall_s']:.0f} s, {summary['divergences']} divergent transitions; "
        f"lmltdm_jax {__version__}.",
        "",
        f"Evidence: ln Z = {summary['log_evidence']:.2f} ± {summary['log_evidence_error']:.2f} "
        f"from {len(fit.learned.importance.weights)} weighted draws of the learned density "
        f"({summary['importance_efficiency']:.1%} of them count); tempering alone says "
        f"{summary['log_evidence_tempering']:.2f}, with a scatter of some 0.3 from seed to seed.",
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
    lines += ["", "| term | measured | median pull | mean ln L |", "|---|---|---|---|"]
    columns = fit.columns
    for term in fit.target.likelihood.term_list:
        pull = np.median(columns[f"pull_{term.name}"])
        mean = np.mean(columns[f"loglike_{term.name}"])
        lines.append(f"| {term.name} | {term.measurement} | {pull:+.2f} | {mean:.2f} |")
    lines.append("")
    for title in ("corner", "predictive", "trace"):
        lines.append(f"![{title}]({title}.png)")
    return "\n".join(lines) + "\n"


def write(fit: Fit, summary: dict[str, Any], folder: Path) -> Path:
    """``report.md`` in ``folder``; raises InputError if it cannot be written."""
    path = folder / "report.md"
    try:
        path.write_text(text(fit, summary), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return path

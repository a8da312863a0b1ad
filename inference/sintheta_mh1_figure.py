"""The plane (m_h1, sin theta): Belle II's B+ -> K+ nu nu against K, K* and Higgs-invisible data."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import chi2

from lmltdm_jax.likelihoods.base import GaussianTerm, Term, limit_quantile
from lmltdm_jax.likelihoods.total import Likelihood
from lmltdm_jax.parameters import Parameters

from .batch import evaluate
from .figures import new_figure

MASSES = (0.03, 12.0)
ANGLES = (1e-5, 0.1)
_SIZE = (240, 110)
_BAND_PARAMETERS = 2
_MEASURED_LEVEL = 0.90
"""Confidence level at which a rate that was measured excludes, beside limits of 90 and 95 %."""
_LIMITS = {
    # terms: label, colour, where the label stands (m_h1 [GeV], sin theta)
    ("na62_kpi_x", "e949_kpi_x", "na62_pi0_invisible"): ("K⁺→π⁺X", "#b36b10", (0.034, 2.2e-4)),
    ("koto_kpi0_x",): (r"$K_L$→π⁰X", "#7a4a8f", (0.034, 1.1e-3)),
    ("babar_k_x", "babar_kstar_x"): ("B→K⁽*⁾X, BaBar recast", "#3f7f4f", (0.4, 1.6e-2)),
    ("belle_kstar_nunu",): ("B⁰→K*⁰νν̄", "#8c1d18", (0.4, 3.2e-2)),
    ("higgs_invisible",): ("H→inv", "#5f5f5f", (0.04, 6.0e-2)),
    ("na62_kpinunu",): ("K⁺→π⁺νν̄", "#c2185b", (0.275, 8.0e-2)),
}


def sintheta_mh1() -> Figure:
    """Every other parameter is the talk's point; shaded is excluded at the quoted level, or at 90 %
    by a rate that was measured (K+ -> pi+ nu nubar), counted from the best point of the plane.

    The band of Belle II is that of its q2-shape likelihood, 68 and 95 % for two parameters,
    counted from the best point of the plane.
    """
    masses, angles = np.geomspace(*MASSES, _SIZE[0]), np.geomspace(*ANGLES, _SIZE[1])
    grid = np.meshgrid(masses, angles)
    likelihood = Likelihood.from_preset("current")
    params = Parameters.benchmark().replace(m_h1=grid[0], sin_theta=grid[1])
    columns = evaluate(params, likelihood)
    figure = new_figure(9.5, 6.5)
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", xlim=MASSES, ylim=ANGLES)
    belle2 = columns["loglike_belle2_shape"]
    distance = 2.0 * (belle2.max() - belle2)
    levels = [0.0, *chi2.ppf((0.683, 0.954), _BAND_PARAMETERS)]
    axes.contourf(masses, angles, distance, levels, colors=["#1f5a94", "#a9c6e3"], alpha=0.75)
    terms = {term.name: term for term in likelihood.term_list}
    for names, (label, colour, place) in _LIMITS.items():
        used = np.max([_used(terms[name], columns[f"loglike_{name}"]) for name in names], axis=0)
        axes.contourf(masses, angles, used, [1.0, np.inf], colors=[colour], alpha=0.13)
        axes.contour(masses, angles, used, [1.0], colors=colour, linewidths=1.3)
        axes.text(*place, label, color=colour, fontsize=9, weight="bold")
    star = Parameters.benchmark()
    axes.plot(star.m_h1, star.sin_theta, "*", ms=17, color="black", mec="white", zorder=9)
    best = np.unravel_index(np.argmax(belle2), belle2.shape)
    axes.plot(masses[best[1]], angles[best[0]], "x", color="white", ms=8, mew=2)
    axes.set(xlabel=r"$m_{H_1}$ [GeV]", ylabel=r"$\sin\theta$")
    axes.set_title(
        "Belle II B⁺→K⁺νν̄ (blue: 68, 95 %; cross: best) and exclusions; star: the talk's point",
        fontsize=11,
    )
    return figure


def _used(term: Term, loglike: np.ndarray) -> np.ndarray:
    """-2 ln L over its value on the limit: 1 where the level of exclusion is reached."""
    if isinstance(term, GaussianTerm):
        return 2.0 * (loglike.max() - loglike) / limit_quantile(_MEASURED_LEVEL) ** 2
    return -2.0 * loglike / limit_quantile(term.measurement.confidence_level) ** 2

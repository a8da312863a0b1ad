"""Figures of a fit: corner, posterior predictive against the measurements, traces."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from lmltdm_jax.errors import InputError

from .posterior import Posterior
from .weighted import quantile

_COLOUR, _DATA = "#1f5a94", "#c44e2b"
_BINS = 3.3
"""Along an axis, for one independent draw; n**(1/4) as many for n (Scott's rule in a plane)."""
_OUTSIDE = 5e-4
"""Share of the posterior beyond either end of an axis."""


def write(posterior: Posterior, folder: Path) -> list[Path]:
    """``corner.png``, ``predictive.png`` and ``trace.png`` in ``folder``.

    Raises:
        InputError: they cannot be written.
    """
    paths = []
    for draw in (corner, predictive, trace):
        paths.append(save(draw(posterior), folder / f"{draw.__name__}.png"))
    return paths


def save(figure: Figure, path: Path) -> Path:
    """The figure as PNG; raises InputError if it cannot be written."""
    try:
        figure.savefig(path, dpi=130)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def new_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def corner(posterior: Posterior) -> Figure:
    """Marginals of all pairs from the weighted draws, and the chains' draws over them."""
    prior = posterior.prior
    d = prior.dimension
    draws = posterior.box.reshape(-1, d)
    x, weights = posterior.weighted_box, posterior.weighted.weights
    ends = [quantile(column, (_OUTSIDE, 1.0 - _OUTSIDE), weights) for column in x.T]
    span = np.transpose(ends)
    bins = max(10, round(_BINS * posterior.weighted.effective**0.25))
    span = span + 0.05 * (span[1] - span[0]) * np.array([[-1.0], [1.0]])
    figure = new_figure(1.55 * d + 0.6, 1.55 * d + 0.6)
    axes = figure.subplots(d, d, squeeze=False)
    for i in range(d):
        for j in range(d):
            ax = axes[i, j]
            if j > i:
                ax.axis("off")
                continue
            ax.tick_params(labelsize=7)
            ax.locator_params(nbins=4)
            ax.set_xlim(*span[:, j])
            if i == j:
                drawn = {"bins": np.linspace(span[0, i], span[1, i], bins + 1), "density": True}
                ax.hist(x[:, i], weights=weights, color=_COLOUR, alpha=0.75, **drawn)
                ax.hist(draws[:, i], color=_DATA, histtype="step", lw=0.8, **drawn)
                ax.set_yticks([])
            else:
                _pair(ax, x[:, [j, i]], weights, span[:, [j, i]], bins)
                ax.plot(draws[:, j], draws[:, i], ",", color=_DATA, alpha=0.5, rasterized=True)
                ax.set_ylim(*span[:, i])
            if i == d - 1:
                ax.set_xlabel(prior.labels[j], fontsize=9)
                ax.tick_params(axis="x", rotation=45)
            else:
                ax.set_xticklabels([])
            if j == 0 and i > 0:
                ax.set_ylabel(prior.labels[i], fontsize=9)
            elif j > 0:
                ax.set_yticklabels([])
    reliable = "" if posterior.run.evidence_is_reliable else ", not reliable"
    figure.suptitle(
        f"{posterior.title}. Blue: weighted draws, worth {posterior.weighted.effective:.0f} "
        f"independent ones{reliable}, 68 and 95 %. Red: {len(draws)} draws of the chains",
        fontsize=11,
    )
    return figure


def _pair(ax, xy: np.ndarray, weights: np.ndarray, span: np.ndarray, bins: int) -> None:
    """Regions of least area that hold 68 and 95 % of weighted points xy (n, 2); span (2, 2) has
    the lower ends, then the upper."""
    counts, x_edges, y_edges = np.histogram2d(
        xy[:, 0], xy[:, 1], bins, range=span.T.tolist(), weights=weights
    )
    smooth = gaussian_filter(counts, 0.8)
    ordered = np.sort(smooth.ravel())[::-1]
    inside = np.searchsorted(np.cumsum(ordered), np.array([0.954, 0.683]) * ordered.sum())
    levels = np.unique(ordered[inside])
    centres = 0.5 * (x_edges[1:] + x_edges[:-1]), 0.5 * (y_edges[1:] + y_edges[:-1])
    top = smooth.max() * 1.001
    if levels.size == 2 and levels[-1] < top:
        ax.contourf(*centres, smooth.T, [*levels, top], colors=["#a9c6e3", _COLOUR], alpha=0.8)


def predictive(posterior: Posterior) -> Figure:
    """Pulls of every term over the posterior: how well each measurement is met."""
    terms = posterior.measurements
    figure = new_figure(7.5, 0.52 * len(terms) + 1.2)
    ax = figure.subplots()
    ax.axvspan(-2, 2, color="0.94")
    ax.axvspan(-1, 1, color="0.88")
    ax.axvline(0, color=_DATA, lw=1)
    for row, term in enumerate(terms):
        pulls = posterior.pulls[term]
        low, left, middle, right, high = np.quantile(pulls, (0.025, 0.16, 0.5, 0.84, 0.975))
        ax.plot([low, high], [row, row], color=_COLOUR, lw=1.2)
        ax.plot([left, right], [row, row], color=_COLOUR, lw=5, solid_capstyle="butt")
        ax.plot(middle, row, "o", color="white", mec=_COLOUR, ms=5)
    ax.set_yticks(range(len(terms)), [f"{t}\n{data}" for t, data in terms.items()], fontsize=8)
    ax.set_ylim(len(terms) - 0.5, -0.5)
    ax.set_xlabel("pull, (prediction - measured)/sigma; for a limit: sigmas used up")
    ax.set_title(f"{posterior.title}: posterior (median, 68 %, 95 %)", fontsize=11)
    return figure


def trace(posterior: Posterior) -> Figure:
    """Every chain against the draw number, one panel a parameter."""
    prior, x = posterior.prior, posterior.box
    figure = new_figure(8.5, 1.15 * prior.dimension + 0.6)
    axes = figure.subplots(prior.dimension, 1, sharex=True, squeeze=False)[:, 0]
    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, len(x)))
    for i, ax in enumerate(axes):
        for chain, colour in zip(x, colours, strict=True):
            ax.plot(chain[:, i], lw=0.5, alpha=0.7, color=colour)
        ax.set_ylabel(prior.labels[i], fontsize=8)
        ax.tick_params(labelsize=7)
    axes[-1].set_xlabel("draw")
    figure.suptitle(f"{len(x)} chains", fontsize=11)
    return figure

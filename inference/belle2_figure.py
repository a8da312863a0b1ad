"""Belle II's B+ -> K+ nu nu data beside the best Standard Model, two- and three-body signals."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from lmltdm_jax.likelihoods.belle2_data import belle2_workspace, signal_bins
from lmltdm_jax.likelihoods.histfactory import HistFactory

from .belle2_hypotheses import Hypothesis
from .figures import new_figure

_Q2_REC = ("−1–4", "4–8", "8–25")
_ETA = ("0.92–0.94", "0.94–0.96", "0.96–0.98", "0.98–1")
"""Bins of the inclusive tag, arXiv:2311.14647. The workspace has the first one last."""
_COLOURS = ("0.25", "#c44e2b", "#2c8a57", "#1f5a94")
_STYLES = ("-", "-", "--", "-")
_B_PAIRS = ("charged", "mixed", "bbbar_1_had")


def belle2(model: HistFactory, hypotheses: list[Hypothesis]) -> Figure:
    """Events of every bin with signal: above data and backgrounds, below what is left.

    Below, the backgrounds of the fit with the Standard Model are subtracted from data and
    hypotheses alike, so that a hypothesis that moves its backgrounds shows that too. Bars are the
    square root of the events.
    """
    bins = signal_bins(model)
    inclusive = sum(size for name, size in model.channels if name.endswith("_Y4S"))
    groups = np.roll(bins[:inclusive], len(_Q2_REC)), bins[inclusive:]
    b_pairs, others = _backgrounds(model, hypotheses[0].cells)
    figure = new_figure(11.5, 7.6)
    axes = figure.subplots(
        2, 2, width_ratios=[2.2, 1.0], height_ratios=[1.0, 1.3], sharex="col", squeeze=False
    )
    for column, group in enumerate(groups):
        x = np.arange(len(group))
        data = model.observed[group]
        above, below = axes[:, column]
        above.bar(x, others[group], 1.0, color="#d9d2c5", label="continuum, ττ")
        above.bar(x, b_pairs[group], 1.0, others[group], color="#a9c6e3", label="B pairs")
        signal = hypotheses[0].cells[0][group]
        bottom = (others + b_pairs)[group]
        above.bar(x, signal, 1.0, bottom, color="#e5a03b", label="SM signal")
        above.errorbar(x, data, np.sqrt(data), fmt="o", color="black", ms=3.5, label="data")
        below.errorbar(x, data - bottom, np.sqrt(data), fmt="o", color="black", ms=3.5)
        edges = np.arange(len(group) + 1) - 0.5
        for hypothesis, colour, style in zip(hypotheses, _COLOURS, _STYLES, strict=True):
            expected = hypothesis.cells.sum(axis=0)[group] - bottom
            label = f"{hypothesis.name}: −2 ln L = {hypothesis.chi2:.1f}"
            below.stairs(
                expected, edges, baseline=None, color=colour, ls=style, lw=1.6, label=label
            )
        below.axhline(0.0, color="0.6", lw=0.8)
        above.set_xlim(edges[0], edges[-1])
    _label(axes, len(groups[1]))
    handles, labels = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _label(axes: np.ndarray, hadronic_bins: int) -> None:
    axes[0, 0].set_title("inclusive tag, on resonance", fontsize=11, pad=18)
    axes[0, 1].set_title("hadronic tag", fontsize=11, pad=18)
    axes[0, 0].set_ylabel("events")
    axes[1, 0].set_ylabel("events less backgrounds of the SM fit")
    ticks = [q2 for _ in _ETA for q2 in _Q2_REC]
    axes[1, 0].set_xticks(range(len(ticks)), ticks, rotation=60, fontsize=8)
    axes[1, 0].set_xlabel(r"$q^2_\mathrm{rec}$ [GeV$^2$] in bins of $\eta(\mathrm{BDT}_2)$")
    for k, eta in enumerate(_ETA):
        axes[0, 0].text(
            (2 * k + 1) / (2 * len(_ETA)),
            1.01,
            f"η {eta}",
            ha="center",
            va="bottom",
            transform=axes[0, 0].transAxes,
            fontsize=9,
        )
    for ax in axes[:, 0]:
        for k in range(1, len(_ETA)):
            ax.axvline(3 * k - 0.5, color="0.75", lw=0.7)
    axes[1, 1].set_xticks(range(hadronic_bins), range(1, hadronic_bins + 1), fontsize=8)
    axes[1, 1].set_xlabel("bin of BDTh")
    axes[0, 1].legend(fontsize=8.5)


def _backgrounds(model: HistFactory, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B pairs, everything else) expected in every bin."""
    names = {channel["name"]: channel["samples"] for channel in belle2_workspace()["channels"]}
    is_b_pair = np.zeros(cells.shape, dtype=bool)
    first = 0
    for channel, size in model.channels:
        samples = [sample["name"] for sample in names[channel]]
        background = [name for name in samples if not name.startswith(("signal", "sgn"))]
        for slot, name in enumerate(background, start=1):
            is_b_pair[slot, first : first + size] = name in _B_PAIRS
        first += size
    b_pairs = np.where(is_b_pair, cells, 0.0).sum(axis=0)
    return b_pairs, cells[1:].sum(axis=0) - b_pairs

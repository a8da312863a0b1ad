"""Figure of a comparison of models: the pull of every term at every best fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .compare import Solution
from .figures import new_figure, save

_LIMIT = 4.0
"""Standard deviations at the ends of the colours."""
_SHOWN = 0.05
"""Least pull of a term that is shown."""


def write(found: Sequence[Solution], preset: str, folder: Path) -> Path:
    """``compare.png`` in ``folder``."""
    return save(figure(found, preset), folder / "compare.png")


def figure(found: Sequence[Solution], preset: str) -> Figure:
    """Terms down, solutions across; terms that nothing pulls are left out."""
    every = list(dict.fromkeys(name for solution in found for name in solution.pulls))
    terms = [t for t in every if any(abs(s.pulls.get(t, 0.0)) >= _SHOWN for s in found)]
    pulls = np.array([[s.pulls.get(term, np.nan) for s in found] for term in terms])
    drawn = new_figure(2.8 + 1.3 * len(found), 2.0 + 0.3 * len(terms))
    axes = drawn.subplots()
    image = axes.imshow(
        pulls, cmap=matplotlib.colormaps["RdBu_r"], vmin=-_LIMIT, vmax=_LIMIT, aspect="auto"
    )
    for (row, column), pull in np.ndenumerate(pulls):
        if np.isfinite(pull):
            colour = "white" if abs(pull) > 0.6 * _LIMIT else "black"
            axes.text(
                column,
                row,
                f"{round(pull, 1) + 0.0:+.1f}",
                ha="center",
                va="center",
                color=colour,
                size=8,
            )
    axes.set_yticks(range(len(terms)), terms, size=8)
    axes.set_xticks(range(len(found)), [_label(s) for s in found], size=8)
    axes.xaxis.tick_top()
    rest = len(every) - len(terms)
    others = f"; left out, below {_SHOWN} everywhere: {rest}" if rest else ""
    drawn.suptitle(f"{preset}: pulls at the best fits{others}", size=10)
    drawn.colorbar(image, ax=axes, label="pull [standard deviations]", shrink=0.6)
    return drawn


def _label(solution: Solution) -> str:
    lines = [solution.model, solution.kind]
    if solution.log_z is not None:
        lines.append(f"ln Z = {solution.log_z:.3f} ± {solution.log_z_error:.3f}")
    lines.append(f"χ² = {solution.chi2:.2f}")
    return "\n".join(line for line in lines if line)

"""``profile.png``: Delta chi2 over one or two parameters, and the pulls at the best fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import new_figure, save
from .fisher import Errors
from .profile import Profile
from .profile_output import ONE_PARAMETER, best_parameters, intervals

CLIP = 20.0
"""Delta chi2 above which the map has one colour."""
TWO_PARAMETERS = (2.30, 6.18, 11.83)
"""Delta chi2 of 68.3, 95.4 and 99.7 % for two parameters."""
_COLOUR, _DATA = "#1f5a94", "#c44e2b"
_PULLS = 12
"""Terms whose pulls are shown, at most: the strongest."""
_FORECASTS = ("#2ca02c", "#8e44ad", "#d4a017", "#000000")


def write(profile: Profile, errors: dict[str, Errors], folder: Path) -> Path:
    """``profile.png`` in ``folder``."""
    return save(figure(profile, errors), folder / "profile.png")


def figure(profile: Profile, errors: dict[str, Errors]) -> Figure:
    """The profile on the left, the pull of every term on the right."""
    drawn = new_figure(12.5, 5.6)
    left, right = drawn.subplots(1, 2, width_ratios=(1.7, 1.0))
    prior = profile.grid.prior
    for axis, name in zip((left.xaxis, left.yaxis), profile.grid.names, strict=False):
        info = prior.parameters[prior.names.index(name)]
        unit = f" [{info.unit}]" if info.unit else ""
        axis.set_label_text(f"${info.latex}${unit}")
    if prior.is_log[profile.grid.axes[0]]:
        left.set_xscale("log")
    if len(profile.grid.names) == 1:
        _line(left, profile)
    else:
        _plane(left, profile)
        _ellipses(left, profile, errors)
    left.legend(loc="lower left" if len(profile.grid.names) == 2 else "best", fontsize=9)
    _pulls(right, profile)
    title = f"{profile.target.likelihood.name}, {prior.model.model}"
    drawn.suptitle(f"{title}: profile likelihood, best χ² = {profile.best.chi2[0]:.2f}")
    return drawn


def _marks(profile: Profile) -> list[tuple[Any, str, str]]:
    """(point, marker, label) of the best fit and the benchmark."""
    benchmark = profile.grid.prior.model.benchmark()
    return [(best_parameters(profile), "*", "best fit"), (benchmark, "P", "benchmark")]


def _line(axes: Axes, profile: Profile) -> None:
    grid, name = profile.grid, profile.grid.names[0]
    axes.plot(grid.values(0), profile.delta_chi2, color=_COLOUR, lw=1.8)
    axes.set(xlim=grid.prior.ranges[grid.axes[0]], ylim=(0.0, CLIP), ylabel="Δχ²")
    for sigma, level in enumerate((1.0, 4.0, 9.0), 1):
        axes.axhline(level, color="0.6", lw=0.8, ls="--")
        axes.annotate(f"{sigma}σ", (1.005, level), xycoords=("axes fraction", "data"), va="center")
    for rise, alpha in zip(reversed(ONE_PARAMETER.values()), (0.10, 0.18), strict=True):
        for low, high in intervals(profile, rise):
            axes.axvspan(low, high, color=_COLOUR, alpha=alpha, lw=0)
    for point, marker, label in _marks(profile):
        axes.plot(getattr(point, name), 0.4, marker, ms=12, color="black", mec="white", label=label)


def _plane(axes: Axes, profile: Profile) -> None:
    grid = profile.grid
    if grid.prior.is_log[grid.axes[1]]:
        axes.set_yscale("log")
    x, y, z = grid.values(0), grid.values(1), profile.delta_chi2.T
    colours = matplotlib.colormaps["Blues_r"]
    mesh = axes.pcolormesh(x, y, z, vmin=0.0, vmax=CLIP, cmap=colours, shading="nearest")
    axes.figure.colorbar(mesh, ax=axes, extend="max", label="Δχ²", pad=0.01)
    styles: Any = {"colors": _DATA, "linestyles": ["-", "--", ":"], "linewidths": 1.5}
    lines = axes.contour(x, y, z, TWO_PARAMETERS, **styles)
    sigmas = {level: f"{i}σ" for i, level in enumerate(TWO_PARAMETERS, 1)}
    axes.clabel(lines, fmt=sigmas, fontsize=9)
    ends = [grid.prior.ranges[axis] for axis in grid.axes]
    for point, marker, label in _marks(profile):
        place = [getattr(point, name) for name in grid.names]
        axes.plot(*place, marker, ms=14, color="black", mec="white", label=label, ls="", zorder=9)
    axes.set(xlim=ends[0], ylim=ends[1])


def _ellipses(axes: Axes, profile: Profile, errors: dict[str, Errors]) -> None:
    """One and two standard deviations that each forecast would leave, if it constrains both."""
    grid = profile.grid
    centre = profile.target.coordinates.to_box_many(profile.best.y[0])[grid.axes]
    angle = np.linspace(0.0, 2.0 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    for colour, (name, each) in zip(_FORECASTS, list(errors.items())[1:], strict=False):
        if not np.isfinite(each.sigma[grid.axes]).all():
            continue
        factor = np.linalg.cholesky(each.covariance[np.ix_(grid.axes, grid.axes)])
        for level, label in zip(TWO_PARAMETERS[:2], (f"with {name}", None), strict=True):
            place = centre[:, None] + np.sqrt(level) * factor @ circle
            x, y = np.where(grid.prior.is_log[grid.axes, None], 10.0**place, place)
            axes.plot(x, y, color=colour, lw=1.3, label=label)


def _pulls(axes: Axes, profile: Profile) -> None:
    every = profile.target.likelihood.term_list
    sizes = np.array([profile.columns[f"pull_{term.name}"] for term in every])
    strongest = np.argsort(-np.abs(sizes), kind="stable")
    shown = np.sort(strongest[:_PULLS])
    terms, pulls = [every[row] for row in shown], sizes[shown]
    axes.axvspan(-2, 2, color="0.94")
    axes.axvspan(-1, 1, color="0.88")
    axes.axvline(0, color="0.4", lw=1)
    axes.barh(range(len(terms)), pulls, height=0.55, color=_COLOUR)
    labels = [f"{term.name}\n{term.measurement}" for term in terms]
    axes.set_yticks(range(len(terms)), labels, fontsize=8)
    reach = max(2.6, 1.1 * float(np.abs(pulls).max()))
    axes.set(xlim=(-reach, reach), ylim=(len(terms) - 0.5, -0.5))
    axes.set_xlabel("pull at the best fit; for a limit: sigmas used up")
    others = sizes[strongest[_PULLS:]]
    if len(others):
        axes.set_title(f"not shown: {len(others)} up to {np.abs(others[0]):.2f}", fontsize=9)

"""The plane (m_zp, g_x): g-2 and Delta N_eff bands, every search for the Z', the benchmark."""

from __future__ import annotations

from importlib import resources
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.borexino import BorexinoBe7
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.likelihoods.presets import load_preset
from lmltdm_jax.likelihoods.zp_searches import ZpSearch
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.borexino import borexino_be7_ratio
from lmltdm_jax.observables.muon_g2 import delta_a_mu
from lmltdm_jax.observables.n_eff import delta_n_eff
from lmltdm_jax.observables.na64mu import na64mu_yield
from lmltdm_jax.observables.trident import (
    trident_ratio_ccfr,
    trident_ratio_ccfr_100gev,
    trident_ratio_charm2,
)
from lmltdm_jax.parameters import Parameters
from lmltdm_jax.widths import build_widths

from .figures import new_figure
from .neff_figure import hubble_range
from .planes import Axis, evaluate

MASSES = (2e-3, 80.0)
COUPLINGS = (3e-5, 0.1)
_SIZE = (220, 180)

_TERMS = {
    # name: (label, colour, where the label stands: m_zp [GeV], g_x)
    "babar_4mu": ("BaBar 4μ", "#3f7f4f", (0.235, 3.9e-2)),
    "cms_4mu": ("CMS 4μ", "#8a5a2b", (12.0, 1.6e-2)),
    "belle2_invisible": ("Belle II inv. (2018)", "#7a4a8f", (0.012, 7.2e-2)),
    "na64e_invisible": ("NA64e", "#b0527a", (2.25e-3, 2.2e-3)),
    "white_dwarf": ("white dwarfs", "#5f5f5f", (6.2e-3, 2.4e-3)),
}


def columns(masses: np.ndarray, couplings: np.ndarray) -> dict[str, np.ndarray]:
    """Everything drawn, on the grid (couplings, masses); other parameters: the benchmark's."""
    terms = [t for t in load_preset("current").terms if isinstance(t, ZpSearch)]
    load = Measurement.load
    borexino = BorexinoBe7(
        load("borexino", "be7_rate_2017"), expected=load("borexino", "be7_expected_b16_gs98")
    )
    sm = StandardModel.load("pdg2026")

    def one(p: Parameters) -> dict[str, jax.Array]:
        point = build_point(p, sm)
        widths = build_widths(point)
        ratio = borexino_be7_ratio(point)
        # Only what these terms read.
        context: Any = SimpleNamespace(
            point=point, widths=widths, observables=SimpleNamespace(borexino_be7_ratio=ratio)
        )
        return {term.name: term.prediction(context) for term in terms} | {
            "delta_a_mu": delta_a_mu(point),
            "delta_n_eff": delta_n_eff(p.m_zp, p.g_x),
            "ccfr_160": trident_ratio_ccfr(point),
            "ccfr_100": trident_ratio_ccfr_100gev(point),
            "charm2": trident_ratio_charm2(point),
            "borexino": borexino.pull(context),
            "na64mu": na64mu_yield(point, widths),
        }

    plane = Axis("m_zp", masses), Axis("g_x", couplings)
    return evaluate(one, *plane, Parameters.benchmark())


def gx_mzp() -> Figure:
    """Lines are the quoted confidence levels; shaded is excluded, dashed is not verified."""
    masses, couplings = (np.geomspace(*MASSES, _SIZE[0]), np.geomspace(*COUPLINGS, _SIZE[1]))
    values = columns(masses, couplings)
    figure = new_figure(10.5, 7.0)
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", xlim=MASSES, ylim=COUPLINGS)
    plane = _Plane(axes, masses, couplings)
    _bands(plane, values)
    for name, (label, colour, place) in _TERMS.items():
        plane.excluded(values[name], 1.0, label, colour, place)
    _tridents(plane, values)
    orange, blue = "#b36b10", "#2b6c8f"
    plane.excluded(values["borexino"], 2.0, "Borexino ⁷Be (2σ)", orange, (2.25e-3, 1.45e-4), 38)
    plane.line(*_table("borexino", "talk_rescaled"), orange, ":")
    axes.text(0.3, 1.08e-2, "B−L rescaled (talk)", color=orange, fontsize=8, rotation=38)
    events = Measurement.load("na64mu", "events_2024").limit
    axes.contour(masses, couplings, values["na64mu"], [events], colors=blue, linestyles="--")
    plane.point_at("NA64μ, normalisation not verified", blue, (0.05, 2.6e-4), (0.03, 5.7e-4))
    star = Parameters.benchmark()
    axes.plot(star.m_zp, star.g_x, "*", ms=17, color="black", mec="white", zorder=9)
    axes.set(xlabel=r"$m_{Z'}$ [GeV]", ylabel=r"$g_X$")
    axes.set_title(
        "Searches for the Z′ at their quoted confidence level (star: benchmark of the talk)",
        fontsize=11,
    )
    return figure


class _Plane:
    """The axes and the grid."""

    def __init__(self, axes: Axes, masses: np.ndarray, couplings: np.ndarray):
        self.axes, self.masses, self.couplings = axes, masses, couplings

    def excluded(
        self,
        values: np.ndarray,
        level: float,
        label: str | None,
        colour: str,
        place: tuple[float, float] = (1.0, 1.0),
        rotation: float = 0.0,
    ) -> None:
        """Shade where ``values`` is above ``level``, and its edge."""
        grid = self.masses, self.couplings
        self.axes.contourf(*grid, values, [level, np.inf], colors=[colour], alpha=0.13)
        self.axes.contour(*grid, values, [level], colors=colour, linewidths=1.3)
        if label:
            style: Any = {"fontsize": 9, "weight": "bold", "rotation": rotation, "zorder": 8}
            self.axes.text(*place, label, color=colour, **style)

    def point_at(
        self, label: str, colour: str, place: tuple[float, float], target: tuple[float, float]
    ) -> None:
        """A label with a thin line to its curve."""
        arrow: Any = {"arrowstyle": "-", "color": colour, "lw": 0.8, "relpos": (0.0, 0.5)}
        style: Any = {"fontsize": 8.5, "zorder": 8, "va": "center"}
        self.axes.annotate(label, target, place, color=colour, arrowprops=arrow, **style)

    def line(self, mass: np.ndarray, g_x: np.ndarray, colour: str, style: str) -> None:
        self.axes.plot(mass, g_x, color=colour, ls=style, lw=1.3)


def _bands(plane: _Plane, values: dict[str, np.ndarray]) -> None:
    """g-2 within two standard deviations, and Delta N_eff."""
    grid = plane.masses, plane.couplings
    talk = Measurement.load("muon_g2", "delta_a_mu_2023_wp2020")
    today = Measurement.load("muon_g2", "delta_a_mu_2025_wp2025")
    axes = plane.axes
    for m, colour, alpha in ((talk, "#d3402f", 0.35), (today, "#3b6fc4", 0.13)):
        assert m.value is not None and m.error_up is not None
        edges = m.value - 2.0 * m.error_up, m.value + 2.0 * m.error_up
        axes.contourf(*grid, values["delta_a_mu"], edges, colors=[colour], alpha=alpha, zorder=1.5)
    axes.contour(*grid, values["delta_a_mu"], [edges[1]], colors="#3b6fc4", linewidths=1.2)
    text = "g−2 of 2023, SM of 2020 (2σ)"
    axes.text(1.15, 5.5e-3, text, color="#a52a1c", fontsize=8.5, rotation=42)
    below = "g−2 of 2025, SM of 2025: allowed below (2σ)"
    plane.point_at(below, "#2a55a0", (0.05, 1.65e-4), (0.022, 4.35e-4))
    low, high = hubble_range()
    teal: Any = {"colors": ["#53b7b0"], "alpha": 0.55, "zorder": 1.5}
    axes.contourf(*grid, values["delta_n_eff"], [low, high], **teal)
    text = f"ΔN$_{{eff}}$ = {low:g}–{high:g}"
    axes.text(1.02e-2, 4.2e-5, text, color="#1f7a74", fontsize=9, rotation=90, va="bottom")


def _tridents(plane: _Plane, values: dict[str, np.ndarray]) -> None:
    """Two standard deviations above the measured ratio; CCFR for both beams and as published."""
    ccfr, charm2 = (
        Measurement.load(f"{name}_trident", key)
        for name, key in (("ccfr", "ccfr_1991"), ("charm2", "charm2_1990"))
    )
    levels = []
    for m in (ccfr, charm2):
        assert m.value is not None and m.error_up is not None
        levels.append(m.value + 2.0 * m.error_up)
    grid, red = (plane.masses, plane.couplings), "#8c1d18"
    plane.excluded(values["ccfr_160"], levels[0], None, red)
    plane.axes.contour(
        *grid, values["ccfr_100"], [levels[0]], colors=red, linewidths=1.0, linestyles="-."
    )
    plane.line(*_table("trident", "ccfr_published"), red, ":")
    text = "CCFR: 160 GeV (line), 100 GeV (dash-dotted), published (dotted)"
    plane.point_at(text, red, (0.4, 6.2e-4), (0.16, 1.4e-3))
    plane.axes.contour(
        *grid, values["charm2"], [levels[1]], colors="#556b2f", linewidths=1.2, linestyles="-."
    )
    plane.point_at("CHARM-II", "#556b2f", (0.4, 4.1e-4), (0.10, 1.55e-3))


def _table(folder: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    path = resources.files("lmltdm_jax.data") / folder / f"{name}.csv"
    with path.open(encoding="utf-8") as stream:
        mass, g_x = np.loadtxt(stream, delimiter=",").T
    return mass, g_x

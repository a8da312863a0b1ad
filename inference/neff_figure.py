"""Delta N_eff over (m_Z', g_X) with the range that eases the Hubble tension and muon g-2."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.measurement import Measurement, measurement_table
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.muon_g2 import delta_a_mu
from lmltdm_jax.observables.n_eff import delta_n_eff
from lmltdm_jax.parameters import Parameters

from .figures import new_figure
from .planes import Axis, evaluate

_HUBBLE, _G2_2023, _G2_2025 = "#1d7a4c", "#d98a1f", "#8c2d6b"
_SCALE = LogNorm(0.01, 5.0)
_SHADES = LinearSegmentedColormap.from_list("shades", ["white", "#cfd6de", "#6f7d8c"])
_TICKS = (2, 5, 10, 20, 50, 100, 200)  # MeV
_ZOOM = ((4.0, 40.0), (5e-5, 4e-3))  # MeV, 1


class NEffPlane(NamedTuple):
    """Masses and couplings, (n,) and (k,); predictions of shape (k, n)."""

    m_zp: np.ndarray
    g_x: np.ndarray
    delta_n_eff: np.ndarray
    delta_a_mu: np.ndarray


def neff_plane(size: int = 240) -> NEffPlane:
    """1.1 MeV (where Z' -> e+ e- closes) to 200 MeV, g_X from 1e-10 to 1e-2, loop mixing.

    What else g-2 depends on, the dark Higgs, is at the benchmark and does not show.
    """
    x = Axis.spaced("m_zp", 1.1e-3, 0.2, size)
    y = Axis.spaced("g_x", 1e-10, 1e-2, 3 * size // 2)
    sm = StandardModel.load("pdg2026")

    def predict(p: Parameters):
        return delta_n_eff(p.m_zp, p.g_x), delta_a_mu(build_point(p, sm))

    return NEffPlane(x.values, y.values, *evaluate(predict, x, y, Parameters.benchmark()))


def neff(plane: NEffPlane) -> Figure:
    """The plane as computed, and the part of it around the talk's point."""
    figure = new_figure(12.0, 5.9)
    whole, zoom = figure.subplots(1, 2)
    for ax in (whole, zoom):
        _draw(ax, plane)
    whole.set_title("1.1 to 200 MeV, kinetic mixing from the muon-tau loop", fontsize=11)
    zoom.set_title("around the talk's point (star)", fontsize=11)
    zoom.set_xlim(*_ZOOM[0])
    zoom.set_ylim(*_ZOOM[1])
    figure.colorbar(
        ScalarMappable(_SCALE, _SHADES),
        ax=[whole, zoom],
        extend="both",
        label=r"$\Delta N_\mathrm{eff}$",
        pad=0.01,
    )
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, fontsize=9)
    return figure


def _draw(ax: Axes, plane: NEffPlane) -> None:
    m = 1e3 * plane.m_zp
    low, high = hubble_range()
    shown = np.clip(plane.delta_n_eff, _SCALE.vmin, _SCALE.vmax)
    ax.pcolormesh(
        m, plane.g_x, shown, norm=_SCALE, cmap=_SHADES, shading="gouraud", rasterized=True
    )
    band = {"levels": [low, high], "colors": _HUBBLE}
    ax.contourf(m, plane.g_x, plane.delta_n_eff, **band, alpha=0.4)
    ax.contour(m, plane.g_x, plane.delta_n_eff, **band, linewidths=1.0)
    old, new = (Measurement.load("muon_g2", key) for key in _G2_KEYS)
    for sigmas, alpha in ((2, 0.35), (1, 0.55)):
        levels = [_edge(old, -sigmas), _edge(old, sigmas)]
        ax.contourf(m, plane.g_x, plane.delta_a_mu, levels, colors=_G2_2023, alpha=alpha)
    edges = [_edge(new, 1), _edge(new, 2)]
    ax.contour(m, plane.g_x, plane.delta_a_mu, edges, colors=_G2_2025, linestyles=["--", "-"])
    star = Parameters.benchmark()
    ax.plot(
        1e3 * float(star.m_zp), float(star.g_x), "*", ms=15, color="white", mec="black", zorder=5
    )
    ax.set(xscale="log", yscale="log", xlabel=r"$m_{Z'}$ [MeV]", ylabel=r"$g_X$")
    ax.set_xticks(_TICKS, [str(tick) for tick in _TICKS])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlim(m[0], m[-1])


_G2_KEYS = ("delta_a_mu_2023_wp2020", "delta_a_mu_2025_wp2025")


def _edge(measurement: Measurement, sigmas: float) -> float:
    assert measurement.value is not None and measurement.error_up is not None
    return measurement.value + sigmas * measurement.error_up


def hubble_range() -> tuple[float, float]:
    """Delta N_eff that the talk says eases the Hubble tension; a band, not a likelihood."""
    entry = measurement_table("n_eff")["talk_hubble"]
    return entry["delta_n_eff_low"], entry["delta_n_eff_high"]


def _legend() -> list:
    low, high = hubble_range()
    return [
        Patch(
            color=_HUBBLE, alpha=0.5, label=rf"${low} < \Delta N_\mathrm{{eff}} < {high}$ (talk)"
        ),
        Patch(color=_G2_2023, alpha=0.7, label=r"$g-2$ of 2023 (WP2020), 1 and 2 σ"),
        Line2D([], [], color=_G2_2025, ls="--", label=r"$g-2$ of 2025 (WP2025), upper 1 σ"),
        Line2D([], [], color=_G2_2025, label="its upper 2 σ: allowed below"),
    ]

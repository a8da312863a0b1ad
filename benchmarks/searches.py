"""Every search beside flavour and cosmology: time of its likelihood, and of scipy for the same.

    python benchmarks/searches.py [--points 2048] [--difference]

Microseconds of CPU time a point, one process, float64, draws of the prior; set the number of cores
outside (``taskset -c 0``). Ours: observables of a search and its ln L, in lanes of 32, less what
the point and its widths cost. scipy and numpy, in the same run, in brackets times our value:

- curves: ``numpy.interp`` of ln limit over ln mass, all points in one call, rate and widths given.
- mass and lifetime: ``RegularGridInterpolator`` likewise.
- tridents, Borexino: ``scipy.integrate.quad``, a point a call; NA64mu: the cross section by
  numpy's quadrature, a point a call (ours has a table of it). The largest relative difference to
  ours is printed.

``--difference``: the preset `current` with these terms and without, one program each.
"""

import argparse
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from engine import prior_draws
from rich.console import Console
from rich.table import Table
from scipy.integrate import quad
from scipy.interpolate import CubicSpline, RegularGridInterpolator
from timing import batched, microseconds

from lmltdm_jax import Likelihood, Parameters
from lmltdm_jax.constants import HBAR_GEV_S
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.kinetic_mixing import kinetic_mixing
from lmltdm_jax.likelihoods.h1_searches import H1ToMuMu
from lmltdm_jax.likelihoods.limit_curve import LimitCurveTerm
from lmltdm_jax.likelihoods.presets import load_preset
from lmltdm_jax.likelihoods.theory import THEORY_TERMS
from lmltdm_jax.model import Point, build_point
from lmltdm_jax.numerics.fence import fence
from lmltdm_jax.observables import borexino, na64mu, trident
from lmltdm_jax.observables.b_to_k import gamma_b_to_k_h1
from lmltdm_jax.observables.b_to_kstar import gamma_b0_to_kstar0_h1
from lmltdm_jax.observables.h1_escape import br_h1_invisible
from lmltdm_jax.observables.higgs_signal_strength import higgs_signal_strength
from lmltdm_jax.observables.kaon_to_pion import br_kl_pi0_h1, br_kplus_piplus_h1
from lmltdm_jax.widths import Widths, build_widths

SM = StandardModel.load("pdg2026")
TERMS = {term.name: term for term in load_preset("current").terms}
GROUPS = {
    "curves on g_x (5)": "babar_4mu cms_4mu belle2_invisible na64e_invisible white_dwarf",
    "tridents (3 kernels)": "ccfr_trident charm2_trident",
    "Borexino": "borexino_be7",
    "NA64mu": "na64mu",
    "direct detection (3)": "cresst3_si darkside50_si xenon1t_si",
    "kaons, curves (4)": "na62_kpi_x na62_pi0_invisible e949_kpi_x koto_kpi0_x",
    "LEP, curve": "lep_h1_invisible",
    "LHCb, mass and lifetime (2)": "lhcb_bk_mumu lhcb_bkstar_mumu",
    "theory, H signal strength": " ".join(
        [*(t.key() for t in THEORY_TERMS), "higgs_signal_strength"]
    ),
}
KERNELS = ("ccfr_fe_160", "ccfr_fe_100", "charm2_glass_24")
PEER_POINTS = 64


def observables(point: Point, widths: Widths) -> Any:
    """Those that these terms read; the compiler drops what a group does not need."""
    return SimpleNamespace(
        trident_ratio_ccfr=trident.trident_ratio_ccfr(point),
        trident_ratio_ccfr_100gev=trident.trident_ratio_ccfr_100gev(point),
        trident_ratio_charm2=trident.trident_ratio_charm2(point),
        borexino_be7_ratio=borexino.borexino_be7_ratio(point),
        na64mu_yield=na64mu.na64mu_yield(point, widths),
        br_bplus_kplus_h1=SM.tau_bplus / HBAR_GEV_S * gamma_b_to_k_h1(point),
        br_b0_kstar0_h1=SM.tau_b0 / HBAR_GEV_S * gamma_b0_to_kstar0_h1(point),
        br_kplus_piplus_h1=br_kplus_piplus_h1(point),
        br_kl_pi0_h1=br_kl_pi0_h1(point),
        br_h1_inv=br_h1_invisible(widths),
        higgs_signal_strength=higgs_signal_strength(point, widths),
    )


def loglike(names: list[str]) -> Callable[[jax.Array], jax.Array]:
    """ln L of the named terms at a vector; of none: the point and its widths, all of them used."""

    def sum_of_terms(vector):
        point = build_point(Parameters.from_vector(vector), SM)
        point, widths = fence((point, build_widths(point)))
        context: Any = SimpleNamespace(
            point=point, widths=widths, observables=observables(point, widths), nuisances={}
        )
        used = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(widths)) + point.v_phi
        return 1e-300 * used + sum((TERMS[n].loglike(context) for n in names), jnp.zeros(()))

    return sum_of_terms


def interpolated(names: list[str], mass: dict[str, np.ndarray]) -> float:
    """numpy on the raw tables."""
    curves = [term.curve for term in map(TERMS.get, names) if isinstance(term, LimitCurveTerm)]
    tables = [
        (c, np.log(np.array([row for row in c.raw if row[0] > 0 and row[1] > 0]).T)) for c in curves
    ]
    rate = np.full(len(mass["m_zp"]), 1e-3)

    def all_curves():
        return sum(
            (rate / np.exp(np.interp(np.log(mass[c.mass]), *table))) ** c.power
            for c, table in tables
        )

    return microseconds(all_curves, len(rate))


def gridded(names: list[str], mass: np.ndarray) -> float:
    """scipy on the grids of the stretches."""
    stretches = [s for n in names if isinstance(t := TERMS[n], H1ToMuMu) for s in t.stretches]
    tables = []
    for s in stretches:
        nodes = tuple(int(size) - 2 for size in s.grid.coefficients.shape[:2])
        axes = [
            np.linspace(*ends, n) for ends, n in zip((s.masses, s.lifetimes), nodes, strict=True)
        ]
        values = np.array(
            [s.grid(jnp.full(nodes[1], m), jnp.array(axes[1]))[:, 0] for m in axes[0]]
        )
        tables.append(RegularGridInterpolator(axes, values, bounds_error=False, fill_value=50.0))
    at = np.stack([mass, np.zeros_like(mass)], axis=1)
    return microseconds(lambda: sum(1e-9 / np.exp(table(at)) for table in tables), len(mass))


def trident_by_quad(m_zp: float, g_x: float) -> list[float]:
    """The three ratios, with a spline of the kernel over ln K2."""
    found = []
    v2, g_v, g_a = 1.0 / (math.sqrt(2.0) * SM.g_f), 0.5 + 2.0 * SM.sin2_theta_w, 0.5
    for kernel in KERNELS:
        k2, _, h_v, h_a = trident._kernel(kernel)
        ends = math.log(k2[0]), math.log(k2[-1])
        vector, axial = (_spline(kernel, i, k2, h) for i, h in enumerate((h_v, h_a)))

        def new(x, m2=m_zp**2, h=vector):
            exchange = v2 * g_x**2 / (m2 + math.exp(x))
            return math.exp(x + h(x)) * exchange * (2.0 * g_v + exchange)

        def standard(x, v=vector, a=axial):
            return math.exp(x) * (g_v**2 * math.exp(v(x)) + g_a**2 * math.exp(a(x)))

        both = [quad(f, *ends, epsrel=1e-4, limit=200)[0] for f in (new, standard)]
        found.append(1.0 + both[0] / both[1])
    return found


_SPLINES: dict[tuple[str, int], CubicSpline] = {}


def _spline(kernel: str, i: int, k2: np.ndarray, h: np.ndarray) -> CubicSpline:
    if (kernel, i) not in _SPLINES:
        _SPLINES[kernel, i] = CubicSpline(np.log(k2), np.log(h))
    return _SPLINES[kernel, i]


def borexino_by_quad(m_zp: float, g_x: float) -> float:
    """Recoil spectrum of SM + Z' over that of the SM."""
    energy, shares = borexino._source()
    m_e, s2 = SM.m_e, SM.sin2_theta_w
    t_max = 2.0 * energy**2 / (m_e + 2.0 * energy)
    g_e = SM.electric_charge * float(jnp.real(kinetic_mixing(jnp.zeros(()), g_x, SM)))

    def rate(coupling):
        def spectrum(t):
            total = 0.0
            unit = g_e * coupling / (2 * math.sqrt(2.0) * SM.g_f * (m_zp**2 + 2 * m_e * t))
            for share, q, left in zip(shares, (0, 1, -1), (0.5, -0.5, -0.5), strict=True):
                g_l, g_r = s2 + left + q * unit, s2 + q * unit
                y = t / energy
                total += share * (g_l**2 + g_r**2 * (1 - y) ** 2 - g_l * g_r * m_e * y / energy)
            return total

        return quad(spectrum, 0.0, t_max, epsrel=1e-6)[0]

    return rate(g_x) / rate(0.0)


def one_by_one(function: Callable, ours: Callable, points: np.ndarray) -> tuple[float, float]:
    """Microseconds a point, and the largest relative difference to ours."""
    some = points[:PEER_POINTS]
    found = np.array([function(p[0], p[1]) for p in some]).reshape(len(some), -1)
    mine = np.asarray(jax.jit(jax.vmap(ours))(some)).reshape(len(some), -1)
    difference = float(np.max(np.abs(found / mine - 1.0)))
    return microseconds(lambda: [function(p[0], p[1]) for p in some], len(some), 2), difference


def peers(points: np.ndarray) -> dict[str, tuple[float, float | None]]:
    """(microseconds, difference) by group."""
    mass = {"m_zp": points[:, 0], "m_x": points[:, 3], "m_h1": points[:, 4]}

    def at(vector):
        return build_point(Parameters.from_vector(vector), SM)

    def tridents(vector):
        point = at(vector)
        return jnp.stack([trident._ratio(point, kernel) for kernel in KERNELS])

    def events(vector):
        point = at(vector)
        widths = build_widths(point)
        return na64mu.na64mu_yield(point, widths) / (point.params.g_x**2 * widths.zp.br_invisible)

    s = na64mu.setup()
    scale = s["efficiency"] * s["muons"] * s["nuclei_per_cm3"] * s["length_cm"]
    found: dict[str, tuple[float, float | None]] = {
        "tridents (3 kernels)": one_by_one(trident_by_quad, tridents, points),
        "Borexino": one_by_one(
            borexino_by_quad, lambda v: borexino.borexino_be7_ratio(at(v)), points
        ),
        "NA64mu": one_by_one(lambda m, _: scale * na64mu.cross_section(m, SM), events, points),
    }
    for group in ("curves on g_x (5)", "direct detection (3)", "kaons, curves (4)", "LEP, curve"):
        found[group] = interpolated(GROUPS[group].split(), mass), None
    group = "LHCb, mass and lifetime (2)"
    found[group] = gridded(GROUPS[group].split(), mass["m_h1"]), None
    return found


def preset_difference(points: np.ndarray) -> tuple[float, float]:
    """Microseconds of ln L of `current`, and of the same without these terms."""
    full = Likelihood.from_preset("current")
    names = " ".join(GROUPS.values()).split()
    both = (full, full.without(*names))
    return tuple(batched(lambda v, p=p: p(Parameters.from_vector(v)), points) for p in both)


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1e3 else f"{value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=2048)
    parser.add_argument("--difference", action="store_true")
    arguments = parser.parse_args()
    points = prior_draws(arguments.points)
    table = Table(
        title=f"microseconds a point; {jax.devices()[0].device_kind}, jax {jax.__version__}"
    )
    for heading in ("", "value", "value+grad", "scipy, numpy", "difference"):
        table.add_column(heading, justify="right" if heading else "left")
    theirs = peers(points)
    nothing = loglike([])
    base = batched(nothing, points)
    for name, terms in GROUPS.items():
        # A tenth of a microsecond is what repeated runs of the same program differ by.
        value = max(batched(loglike(terms.split()), points) - base, 0.1)
        peer, difference = theirs.get(name, (None, None))
        table.add_row(
            name,
            short(value),
            "",
            "" if peer is None else f"{short(peer)} ({short(peer / value)})",
            "" if difference is None else f"{difference:.0e}",
        )
    every = loglike(" ".join(GROUPS.values()).split())
    value = batched(every, points) - base
    gradient_base = batched(jax.value_and_grad(nothing), points)
    gradient = batched(jax.value_and_grad(every), points) - gradient_base
    table.add_row("all of them", short(value), short(gradient))
    table.add_row("point and widths", short(base), short(gradient_base))
    if arguments.difference:
        full, without = preset_difference(points)
        table.add_row("current; without them", f"{short(full)}; {short(without)}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()

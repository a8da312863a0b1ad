"""Energy injection by X X* annihilation at recombination."""

from __future__ import annotations

import functools
from importlib import resources
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.constants import GEV_INV2_TO_CM3_S
from lmltdm_jax.model import Point
from lmltdm_jax.numerics.interpolate import Spline, SplineRows
from lmltdm_jax.numerics.quadrature import gauss_legendre
from lmltdm_jax.numerics.safe import safe_divide, safe_sqrt
from lmltdm_jax.observables.annihilation import Hadrons
from lmltdm_jax.observables.thermal_average import annihilation
from lmltdm_jax.widths import Widths

RELATIVE_VELOCITY = 1e-8
"""v/c between X and X* at recombination; s-wave rates do not depend on it."""

_BOX_POINTS = 4
_PAD_STEPS = np.array([0.5, 1.0, 1.5, 2.0])


class CmbAnnihilation(eqx.Module):
    """Annihilation at v -> 0, with the factor 1/2 of a complex scalar or Dirac fermion.

    n_X = n_X* = rho/(2 m_x), so the power per volume is 2 m_x n_X n_X* <sigma v> =
    rho^2 (<sigma v>/2)/m_x: half of that of a self-conjugate particle with the same cross section,
    for which the bound on p_ann is quoted.
    """

    sigmav_cm3_s: jax.Array
    """<sigma v>/2 of one X X* pair, all final states (neutrinos too) [cm^3/s]"""
    p_ann_cm3_s_gev: jax.Array
    """sum_i f_i <sigma v>_i/(2 m_x) [cm^3 s^-1 GeV^-1]"""


class EfficiencyTables(NamedTuple):
    """f_eff over ln E, E the energy of one particle of the pair [GeV]."""

    electrons: Spline
    photons: Spline
    muons: Spline
    pions: Spline
    neutral_pions: Spline


def _padded(energy: np.ndarray, f: np.ndarray) -> Spline:
    """Spline that levels off at its end values within half an e-fold outside the table."""
    ln_e = np.log(energy)
    x = np.concatenate([ln_e[0] - _PAD_STEPS[::-1], ln_e, ln_e[-1] + _PAD_STEPS])
    ones = np.ones(_PAD_STEPS.size)
    return Spline.fit(x, np.concatenate([f[0] * ones, f, f[-1] * ones]))


@functools.cache
def efficiency_tables() -> EfficiencyTables:
    """f_eff tables (arXiv:1506.03811; ``data/cmb_annihilation/SOURCE.toml``).

    e and gamma 5e-6 to 6e3 GeV, mu 0.106 to 10 GeV, pi 0.14 to 10 GeV; constant outside, with a
    smooth end. Between 10 GeV and 1 TeV the mu and pi efficiencies change by less than 20 %.
    """
    folder = resources.files("lmltdm_jax.data") / "cmb_annihilation"

    def load(name: str) -> np.ndarray:
        with (folder / f"{name}.csv").open(encoding="utf-8") as stream:
            return np.loadtxt(stream, delimiter=",", skiprows=1, unpack=True)

    table = load("f_eff_channels")
    m_x, electron_pairs, *derived, photon_pairs = table
    splines = []
    for column in derived:
        known = np.isfinite(column)
        splines.append(_padded(m_x[known], column[known]))
    curves = []
    for name, column in (("f_eff_electrons", electron_pairs), ("f_eff_photons", photon_pairs)):
        # Inside the channel table its finer nodes, outside the curve it was interpolated from.
        energy, f = load(name)
        below, above = energy < 0.8 * m_x[0], energy > 1.2 * m_x[-1]
        merged = np.concatenate([energy[below], m_x, energy[above]])
        curves.append(_padded(merged, np.concatenate([f[below], column, f[above]])))
    return EfficiencyTables(*curves, *splines)


@functools.cache
def _leptons_and_pions() -> tuple[SplineRows, SplineRows]:
    """(e, mu) and (pi+ pi-, pi0 pi0) curves."""
    t = efficiency_tables()
    return SplineRows.stack((t.electrons, t.muons)), SplineRows.stack((t.pions, t.neutral_pions))


def _boosted(
    spline: Spline | SplineRows, energy: jax.Array, parent_mass: jax.Array, mass: jax.Array
) -> jax.Array:
    """Energy-weighted f_eff of the two daughters of a parent with ``energy``.

    An isotropic decay spreads each daughter evenly over E/2 (1 +- beta_parent beta_daughter).
    Arguments broadcast; with :class:`SplineRows` their first axis is that of its rows.
    """
    ratio = jnp.minimum(parent_mass / energy, 1.0)
    beta_parent = safe_sqrt((1.0 - ratio) * (1.0 + ratio))
    beta_daughter = safe_sqrt(1.0 - (2.0 * mass / parent_mass) ** 2)
    nodes, weights = gauss_legendre(_BOX_POINTS)
    fraction = 1.0 + (beta_parent * beta_daughter)[..., None] * (2.0 * nodes - 1.0)
    # The spline is evaluated no deeper than 1e-3 of the mean: fraction > 0 anyway.
    log_energy = jnp.log(0.5 * jnp.expand_dims(energy, -1) * jnp.maximum(fraction, 1e-3))
    return jnp.sum(weights * fraction * spline(log_energy), axis=-1)


class Efficiencies(NamedTuple):
    """f_eff of final states of energy 2 m_x; f(nu) = f(X) = 0."""

    electron: jax.Array
    muon: jax.Array
    tau: jax.Array
    hadrons: jax.Array
    zp: jax.Array
    h1: jax.Array
    h2: jax.Array


def efficiencies(point: Point, widths: Widths) -> Efficiencies:
    """f_eff of every particle at energy m_x, those that decay by their branching fractions.

    Charged leptons of Z' and H1 are boosted; both Z' of H1 -> Z'Z' have their mean energy. tau+
    tau- is given the mu+ mu- curve at half the energy (a proxy good to about 20 %), hadrons that
    of isospin-0 pion pairs, 2/3 charged (for kaons, 4 pi and jets good to about 30 %). Left out:
    hadrons through kinetic mixing (branching below 1e-4). H2: its SM modes except ZZ* -> 4 nu,
    with the hadron efficiency.
    """
    sm, zp, h1, h2 = point.sm, widths.zp, widths.h1, widths.h2
    m_x, m_zp, m_h1 = (
        jnp.asarray(v, float) for v in (point.params.m_x, point.params.m_zp, point.params.m_h1)
    )
    leptons, pions = _leptons_and_pions()
    fractions = np.array([1.0, 0.5, 0.25])
    log_energy = jnp.broadcast_to(jnp.log(m_x) + np.log(fractions), (2, 3))
    direct, charged_and_neutral = leptons(log_energy), pions(log_energy[:, :2])
    hadrons = (2.0 * charged_and_neutral[0] + charged_and_neutral[1]) / 3.0
    muons = direct[1]
    masses = jnp.stack([jnp.asarray(m, float) for m in (sm.m_e, sm.m_mu)])[:, None]
    # Z' of energy m_x and, from H1 -> Z'Z', m_x/2; H1.
    energies = m_x * np.array([1.0, 0.5, 1.0])
    e, mu = _boosted(leptons, energies, jnp.stack([m_zp, m_zp, m_h1]), masses)
    z = (zp.ee * e[:2] + zp.mumu * mu[:2] + zp.tautau * muons[1:]) / zp.total
    of_h1 = h1.ee * e[2] + h1.mumu * mu[2] + h1.tautau * muons[1]
    of_h1 = of_h1 + h1.hadrons * hadrons[1] + h1.zpzp * z[1]
    total = h2.sm + h2.h1h1 + h2.zpzp + h2.xx
    return Efficiencies(
        electron=direct[0, 0],
        muon=muons[0],
        tau=muons[1],
        hadrons=hadrons[0],
        zp=z[0],
        h1=safe_divide(of_h1, h1.total),
        h2=(h2.sm - h2.zz_4nu) / total * hadrons[1],
    )


def sigma_v_at_rest(
    point: Point, widths: Widths, hadrons: Hadrons = "dispersive"
) -> dict[str, jax.Array]:
    """sigma v_rel at v -> 0 [GeV^-2] of one X X* pair: arrays (rows,) per family.

    sigma v = R/(P s) with R of :mod:`annihilation` at 4 P^2 = m_x^2 v^2, v = RELATIVE_VELOCITY;
    distances from poles and thresholds carry no subtraction of nearly equal squares. p-wave
    families (vector, zph) come out suppressed by v^2. No thermal spread of v.
    """
    velocities = (RELATIVE_VELOCITY,)
    return annihilation(point, widths, hadrons=hadrons, velocities=velocities).at_velocity[0]


def cmb_annihilation(
    point: Point,
    widths: Widths,
    hadrons: Hadrons = "dispersive",
    sigma: dict[str, jax.Array] | None = None,
) -> CmbAnnihilation:
    """<sigma v>/2 and p_ann = sum_i f_i <sigma v>_i/(2 m_x) at recombination.

    Efficiencies of arXiv:1506.03811, each final state weighted by energy; f(nu) = f(X) = 0.
    ``sigma``: :func:`sigma_v_at_rest` of this point, computed here if not given.
    """
    if sigma is None:
        sigma = sigma_v_at_rest(point, widths, hadrons)
    m_x = jnp.asarray(point.params.m_x, float)
    e = efficiencies(point, widths)
    quarks = 1 if hadrons == "dispersive" else 3
    # E_Z' = m_x + (m_zp^2 - m_h^2)/(4 m_x) in Z' H; p-wave, so its weight is v^2.
    scalars = jnp.stack([jnp.asarray(v, float) for v in (point.params.m_h1, point.sm.m_h2)])
    share = 0.5 + (jnp.asarray(point.params.m_zp) ** 2 - scalars**2) / (8.0 * m_x**2)
    share = jnp.clip(share, 0.0, 1.0)
    f = {
        "vector": jnp.stack([jnp.zeros(()), e.electron, e.muon, e.tau]),
        "scalar": jnp.stack([e.electron, e.muon, e.tau] + [e.hadrons] * quarks),
        "zpzp": e.zp[None],
        "hh": jnp.stack([e.h1, 0.5 * (e.h1 + e.h2), e.h2]),
        "zph": share * e.zp + (1.0 - share) * jnp.stack([e.h1, e.h2]),
    }
    total = sum(jnp.sum(v) for v in sigma.values())
    visible = sum(jnp.sum(f[name] * sigma[name]) for name in sigma)
    half = 0.5 * GEV_INV2_TO_CM3_S
    return CmbAnnihilation(half * total, half * visible / m_x)

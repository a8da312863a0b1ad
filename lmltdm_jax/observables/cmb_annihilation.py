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
from lmltdm_jax.numerics.interpolate import Spline
from lmltdm_jax.numerics.quadrature import gauss_legendre
from lmltdm_jax.numerics.safe import safe_divide, safe_sqrt
from lmltdm_jax.observables.annihilation import Energy, Hadrons, channels, rates
from lmltdm_jax.widths import Widths

RELATIVE_VELOCITY = 1e-8
"""v/c between X and X* at recombination; s-wave rates do not depend on it."""

_BOX_POINTS = 4
_PAD_STEPS = np.array([0.5, 1.0, 1.5, 2.0])


class CmbAnnihilation(eqx.Module):
    """Annihilation at v -> 0, with the factor 1/2 of a complex scalar.

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


def _pair(spline: Spline, energy: jax.Array) -> jax.Array:
    return spline(jnp.log(energy))


def _boosted(
    spline: Spline, energy: jax.Array, parent_mass: jax.Array, mass: jax.Array
) -> jax.Array:
    """Energy-weighted f_eff of the two daughters of a parent with ``energy``.

    An isotropic decay spreads each daughter evenly over E/2 (1 +- beta_parent beta_daughter).
    """
    ratio = jnp.minimum(parent_mass / energy, 1.0)
    beta_parent = safe_sqrt((1.0 - ratio) * (1.0 + ratio))
    beta_daughter = safe_sqrt(1.0 - (2.0 * mass / parent_mass) ** 2)
    nodes, weights = gauss_legendre(_BOX_POINTS)
    fraction = 1.0 + beta_parent * beta_daughter * (2.0 * nodes - 1.0)
    # The spline is evaluated no deeper than 1e-3 of the mean: fraction > 0 anyway.
    log_energy = jnp.log(0.5 * energy * jnp.maximum(fraction, 1e-3))
    return jnp.sum(weights * fraction * spline(log_energy))


def _hadrons(energy: jax.Array) -> jax.Array:
    """Isospin-0 pion pairs, 2/3 charged; for kaons, 4 pi and jets a proxy good to about 30 %."""
    t = efficiency_tables()
    return (2.0 * _pair(t.pions, energy) + _pair(t.neutral_pions, energy)) / 3.0


def zp_efficiency(point: Point, widths: Widths, energy: jax.Array) -> jax.Array:
    """f_eff of a Z' of given energy: branching fractions times boosted daughters; f(nu) = 0.

    tau+ tau- is given the mu+ mu- curve at half the energy (a proxy good to about 20 %); hadrons
    through kinetic mixing (branching below 1e-4) are left out.
    """
    t, zp, sm = efficiency_tables(), widths.zp, point.sm
    m = jnp.asarray(point.params.m_zp)
    visible = (
        zp.ee * _boosted(t.electrons, energy, m, sm.m_e)
        + zp.mumu * _boosted(t.muons, energy, m, sm.m_mu)
        + zp.tautau * _pair(t.muons, 0.5 * energy)
    )
    return visible / zp.total


def h1_efficiency(point: Point, widths: Widths, energy: jax.Array) -> jax.Array:
    """f_eff of an H1 of given energy; for H1 -> Z'Z' both Z' at their mean energy E/2."""
    t, h1, sm = efficiency_tables(), widths.h1, point.sm
    m = jnp.asarray(point.params.m_h1)
    visible = (
        h1.ee * _boosted(t.electrons, energy, m, sm.m_e)
        + h1.mumu * _boosted(t.muons, energy, m, sm.m_mu)
        + h1.tautau * _pair(t.muons, 0.5 * energy)
        + h1.hadrons * _hadrons(0.5 * energy)
        + h1.zpzp * zp_efficiency(point, widths, 0.5 * energy)
    )
    return safe_divide(visible, h1.total)


def _h2_efficiency(widths: Widths, energy: jax.Array) -> jax.Array:
    """f_eff of an H2: its SM modes except ZZ* -> 4 nu, with the hadron efficiency."""
    h2 = widths.h2
    total = h2.sm + h2.h1h1 + h2.zpzp + h2.xx
    return (h2.sm - h2.zz_4nu) / total * _hadrons(0.5 * energy)


def sigma_v_at_rest(
    point: Point, widths: Widths, hadrons: Hadrons = "dispersive"
) -> dict[str, jax.Array]:
    """sigma v_rel at v -> 0 [GeV^-2] of one X X* pair: arrays (rows,) per family.

    sigma v = R/(P s) with R of :mod:`annihilation` at 4 P^2 = m_x^2 v^2, v = RELATIVE_VELOCITY;
    distances from poles and thresholds carry no subtraction of nearly equal squares. p-wave
    families (vector, zph) come out suppressed by v^2. No thermal spread of v.
    """
    m_x = jnp.asarray(point.params.m_x, float)
    above_xx = (m_x * RELATIVE_VELOCITY) ** 2
    s = 4.0 * m_x**2 + above_xx
    momentum = 0.5 * m_x * RELATIVE_VELOCITY
    out = {}
    for name, channel in channels(point, widths, hadrons).items():
        f = channel.family
        final = f.mass_a + f.mass_b
        above = above_xx + (2.0 * m_x - final) * (2.0 * m_x + final)
        rows = jnp.ones((final.shape[0], 1))
        energy = Energy(s * rows, above_xx * rows, jnp.maximum(above, 0.0)[:, None])
        offset = above_xx + (2.0 * m_x - f.pole_mass) * (2.0 * m_x + f.pole_mass)
        width = (f.pole_mass * f.pole_width)[None, :, None]
        rate = rates(channel.terms(energy), f.alpha, offset[None, :, None], width)[:, 0]
        out[name] = jnp.where(above > 0.0, rate / (momentum * s), 0.0)
    return out


def cmb_annihilation(
    point: Point, widths: Widths, hadrons: Hadrons = "dispersive"
) -> CmbAnnihilation:
    """<sigma v>/2 and p_ann = sum_i f_i <sigma v>_i/(2 m_x) at recombination.

    Efficiencies of arXiv:1506.03811, each final state weighted by energy; f(nu) = f(X) = 0.
    """
    sigma = sigma_v_at_rest(point, widths, hadrons)
    m_x = jnp.asarray(point.params.m_x, float)
    t = efficiency_tables()
    electron, muon, tau = _pair(t.electrons, m_x), _pair(t.muons, m_x), _pair(t.muons, 0.5 * m_x)
    quarks = sigma["scalar"].shape[0] - 3
    zp = zp_efficiency(point, widths, m_x)
    h1, h2 = h1_efficiency(point, widths, m_x), _h2_efficiency(widths, m_x)
    # E_Z' = m_x + (m_zp^2 - m_h^2)/(4 m_x) in Z' H; p-wave, so its weight is v^2.
    scalars = jnp.stack([jnp.asarray(v, float) for v in (point.params.m_h1, point.sm.m_h2)])
    share = 0.5 + (jnp.asarray(point.params.m_zp) ** 2 - scalars**2) / (8.0 * m_x**2)
    share = jnp.clip(share, 0.0, 1.0)
    f = {
        "vector": jnp.stack([jnp.zeros(()), electron, muon, tau]),
        "scalar": jnp.stack([electron, muon, tau] + [_hadrons(m_x)] * quarks),
        "zpzp": zp[None],
        "hh": jnp.stack([h1, 0.5 * (h1 + h2), h2]),
        "zph": share * zp + (1.0 - share) * jnp.stack([h1, h2]),
    }
    total = sum(jnp.sum(v) for v in sigma.values())
    visible = sum(jnp.sum(f[name] * sigma[name]) for name in sigma)
    half = 0.5 * GEV_INV2_TO_CM3_S
    return CmbAnnihilation(half * total, half * visible / m_x)

"""Expected events mu N -> mu N Z', Z' -> invisible, in NA64mu."""

from __future__ import annotations

import functools
import math
import tomllib
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.constants import HBARC_GEV_M
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import Point
from lmltdm_jax.numerics.interpolate import Spline
from lmltdm_jax.numerics.quadrature import gauss_legendre
from lmltdm_jax.widths import Widths

MASS_RANGE = (1e-3, 10.0)
"""m_zp [GeV] of the table: constant below, a power law above (< 1e-4 of the light cross section)"""
_MASSES = 81


@functools.cache
def setup() -> dict[str, float]:
    """Beam, target, cut and efficiency: ``data/na64mu/setup.toml``."""
    path = resources.files("lmltdm_jax.data") / "na64mu" / "setup.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def cross_section(m_zp: float, sm: StandardModel) -> float:
    """sigma(mu Pb -> mu Pb Z')/g_x^2 [cm^2] for a Z' of energy x E, x_min < x < x_max.

    Improved Weizsaecker-Williams approximation (arXiv:1705.01633, with the mass of the muon),
    dsigma/dx = 2 alpha^2 alpha_g chi (k/E)[m_mu^2 x(x^2+2x-2) - 2(x^2-3x+3) u]/(3 x u^2),
    alpha_g = 1/(4 pi), k^2 = x^2 E^2 - m^2, u = -m^2 (1-x)/x - m_mu^2 x; flux of photons
    chi = int_tmin^tmax dt (t - tmin)/t^2 G(t), tmin = [u/(2E(1-x))]^2, tmax = m^2 + m_mu^2, elastic
    form factor G = Z^2 [a^2 t/(1+a^2 t)]^2/(1+t/d)^2, a = 111 Z^(-1/3)/m_e and
    d = 0.164 A^(-2/3) GeV^2 (PRD 80 075018).
    Known to be good to tens of per cent against the exact tree amplitude.
    """
    s = setup()
    energy, z = s["beam_energy"], s["charge"]
    m_mu, m_e, alpha = float(sm.m_mu), float(sm.m_e), float(sm.alpha)
    nodes, weights = gauss_legendre(160)
    x = s["x_min"] + (s["x_max"] - s["x_min"]) * nodes
    u = -(m_zp**2) * (1.0 - x) / x - m_mu**2 * x
    momentum = np.sqrt(x**2 * energy**2 - m_zp**2)
    t_min, t_max = (u / (2.0 * energy * (1.0 - x))) ** 2, m_zp**2 + m_mu**2
    t_nodes, t_weights = gauss_legendre(64)
    span = np.log(np.maximum(t_max / t_min, 1.0))[:, None]
    t = t_min[:, None] * np.exp(span * t_nodes)
    a2 = (111.0 * z ** (-1.0 / 3.0) / m_e) ** 2
    d = 0.164 * s["mass_number"] ** (-2.0 / 3.0)
    form_factor = (z * a2 * t / (1.0 + a2 * t) / (1.0 + t / d)) ** 2
    chi = np.sum(span * t_weights * (1.0 - t_min[:, None] / t) * form_factor, axis=1)
    bracket = m_mu**2 * x * (x**2 + 2.0 * x - 2.0) - 2.0 * (x**2 - 3.0 * x + 3.0) * u
    rate = alpha**2 / (2.0 * math.pi) * chi * momentum / energy * bracket / (3.0 * x * u**2)
    integral = (s["x_max"] - s["x_min"]) * np.sum(weights * rate)
    return float(integral) * (100.0 * HBARC_GEV_M) ** 2


@functools.cache
def _log_events() -> Spline:
    """ln of the events for g_x = 1, BR(inv) = 1 and efficiency 1 against ln m_zp."""
    s, sm = setup(), StandardModel.load("pdg2026")
    masses = np.geomspace(*MASS_RANGE, _MASSES)
    luminosity = s["muons"] * s["nuclei_per_cm3"] * s["length_cm"]
    events = [luminosity * cross_section(m, sm) for m in masses]
    return Spline.fit(np.log(masses), np.log(events))


def na64mu_yield(point: Point, widths: Widths) -> jax.Array:
    """Expected events at the central efficiency: eff N_mu n L sigma BR(Z' -> nu nu, X X*).

    The Z' decays at once and the muon loses no energy before: the target is thin in both respects.
    """
    p = point.params
    log_mass = jnp.log(jnp.maximum(jnp.asarray(p.m_zp, float), MASS_RANGE[0]))
    events = setup()["efficiency"] * jnp.exp(_log_events()(log_mass))
    return events * p.g_x**2 * widths.zp.br_invisible

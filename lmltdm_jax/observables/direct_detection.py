"""Spin-independent cross section of X on a nucleon through H1, H2 and the Z'."""

from __future__ import annotations

import functools
import math
import tomllib
from importlib import resources
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lmltdm_jax.constants import HBARC_GEV_M
from lmltdm_jax.kinetic_mixing import kinetic_mixing
from lmltdm_jax.model import Point

_GEV2_CM2 = (100.0 * HBARC_GEV_M) ** 2
_ATOMIC_MASS = 0.93149410242
"""GeV, CODATA 2018; only in the momentum transfer"""


class Nucleus(NamedTuple):
    """What decides the share of the protons and the momentum transfer."""

    charge: float
    mass_number: float


XENON = Nucleus(54.0, 131.29)
"""of the column ``sigma_si_cm2``"""


@functools.cache
def nucleon() -> dict[str, float]:
    """Mass [GeV], Higgs coupling f and speed of X: ``data/direct_detection/nucleon.toml``."""
    path = resources.files("lmltdm_jax.data") / "direct_detection" / "nucleon.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return {key: entry["value"] for key, entry in table.items()}


def momentum_transfer_squared(point: Point, target: Nucleus) -> jax.Array:
    """q^2 = 2 mu^2 v^2 [GeV^2], the mean for isotropic scattering at one speed v = 1e-3."""
    m_a = _ATOMIC_MASS * target.mass_number
    reduced = point.params.m_x * m_a / (point.params.m_x + m_a)
    return 2.0 * (reduced * nucleon()["velocity"]) ** 2


def sigma_si_scalar(point: Point, q2: jax.Array) -> jax.Array:
    """sigma through H1 and H2 [cm^2] at momentum transfer q2 [GeV^2], equal for p and n.

    mu^2/(4 pi m_x^2) {lambda_phix v_phi s c (f m_N/v_h)[1/(m1^2+q2) - 1/(m2^2+q2)]}^2.
    """
    n, p, sm = nucleon(), point.params, point.sm
    m_n = n["m_nucleon"]
    # The difference of the propagators as one fraction, which does not cancel at m1 = m2.
    m1_sq, m2_sq = jnp.asarray(p.m_h1) ** 2, sm.m_h2**2
    propagators = (m2_sq - m1_sq) / ((m1_sq + q2) * (m2_sq + q2))
    coupling = p.lambda_phix * point.v_phi * point.sin_theta * point.cos_theta
    amplitude = coupling * n["f_higgs"] * m_n / sm.v_h * propagators
    # mu/m_x = m_N/(m_x + m_N)
    return _GEV2_CM2 / (4.0 * math.pi) * (m_n / (p.m_x + m_n) * amplitude) ** 2


def sigma_si_proton_zp(point: Point, q2: jax.Array) -> jax.Array:
    """sigma on a proton through Z' and kinetic mixing [cm^2]: (g_x q_x e eps mu)^2/[pi (m^2+q2)^2].

    At low velocity the same for a complex scalar and a Dirac fermion (charge times charge).
    eps(-q2) is real: q2 is far below 4 m_mu^2.
    """
    p, sm = point.params, point.sm
    m_n = nucleon()["m_nucleon"]
    reduced = p.m_x * m_n / (p.m_x + m_n)
    eps = jnp.real(kinetic_mixing(-q2, p.g_x, sm))
    amplitude = p.g_x * p.q_x * sm.electric_charge * eps * reduced / (p.m_zp**2 + q2)
    return _GEV2_CM2 / math.pi * amplitude**2


def sigma_si(point: Point, target: Nucleus = XENON) -> jax.Array:
    """Per nucleon of a target, as limits for a heavy mediator are quoted [cm^2].

    sigma_scalar + (Z/A)^2 sigma_proton(Z'). X and X* are equally abundant and the Z' couples to
    them with opposite sign, so the interference of scalar and vector cancels in the mean. A light
    mediator's recoil spectrum is softer than that of the limits: its propagator is taken at the
    typical q2 of the target, which matters where m_zp <= 1e-3 mu (11.5 MeV: m_x above 5 GeV).
    """
    q2 = momentum_transfer_squared(point, target)
    protons = (target.charge / target.mass_number) ** 2
    return sigma_si_scalar(point, q2) + protons * sigma_si_proton_zp(point, q2)

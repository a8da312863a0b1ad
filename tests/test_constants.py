"""Masses and lifetimes of the shipped inputs against the `particle` package (PDG)."""

import math

import pytest
from particle import Particle

from lmltdm_jax.constants import GEV_INV2_TO_CM2, HBAR_GEV_S, HBARC_GEV_M, SPEED_OF_LIGHT_CM_S
from lmltdm_jax.inputs import input_sets, input_table

MASSES = {
    "m_e": 11,
    "m_mu": 13,
    "m_tau": 15,
    "m_z": 23,
    "m_w": 24,
    "m_h2": 25,
    "m_bplus": 521,
    "m_b0": 511,
    "m_kplus": 321,
    "m_k0": 311,
    "m_kstar0": 313,
    "m_piplus": 211,
    "m_pi0": 111,
}
LIFETIMES = {"tau_bplus": 521, "tau_b0": 511, "tau_kplus": 321, "tau_kl": 130}
MEV, PS_TO_S, NS_TO_S = 1e-3, 1e-12, 1e-9


@pytest.mark.parametrize("name", input_sets())
@pytest.mark.parametrize("key", MASSES)
def test_masses(name, key):
    """Within three standard deviations (theirs and ours), or the rounding of a quoted mass."""
    particle = Particle.from_pdgid(MASSES[key])
    entry = input_table(name)[key]
    theirs = particle.mass * MEV
    sigma = math.hypot((particle.mass_upper or 0.0) * MEV, entry.get("error") or 0.0)
    assert abs(entry["value"] - theirs) <= 3.0 * sigma + 1e-9 * theirs


@pytest.mark.parametrize("name", input_sets())
@pytest.mark.parametrize("key", LIFETIMES)
def test_lifetimes(name, key):
    particle = Particle.from_pdgid(LIFETIMES[key])
    entry = input_table(name)[key]
    theirs = particle.lifetime * NS_TO_S
    relative = (particle.width_upper or 0.0) / particle.width
    sigma = math.hypot(relative * theirs, entry.get("error") or 0.0)
    assert abs(entry["value"] - theirs) <= 3.0 * sigma


def test_unit_conversions_are_consistent():
    """hbar c from hbar and c; (hbar c)^2 in GeV^2 cm^2."""
    hbarc_cm = HBAR_GEV_S * SPEED_OF_LIGHT_CM_S
    assert HBARC_GEV_M == pytest.approx(hbarc_cm / 100.0, rel=1e-9)
    assert GEV_INV2_TO_CM2 == pytest.approx(hbarc_cm**2, rel=1e-9)

"""Freeze-out of X in a bath of Z' and neutrinos that is colder than the photons.

Usage: python scripts/two_temperatures.py OUTPUT.csv    (20 s): Omega h2 over that of the SM bath
with one temperature, for masses of X and Z' (0: no Z').

Above T_DECOUPLE all species share one temperature. Below it the entropy of photons and e+- and the
entropy of neutrinos and Z' are conserved separately, X annihilates into and from the neutrino
sector, and H counts all of them. Z' and H1 count in entropy and energy (``relic_density`` leaves
both out). <sigma v> is constant. Left out: out-of-equilibrium decoupling, chemical potentials.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from coupled_boltzmann import _scaled_bessel, thermal_rates
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline

from lmltdm_jax.constants import M_PLANCK, OMEGA_H2_PREFACTOR
from lmltdm_jax.observables.relic_density import _plasma_at

T_DECOUPLE = 2.3e-3
"""GeV; nu_mu, nu_tau leave e+- at 3 MeV, nu_e at 1.8 MeV in the instantaneous picture."""
M_E = 0.51099895e-3
NEUTRINOS = 7.0 / 8.0 * 6.0
H_TODAY = 2.0 + NEUTRINOS * 4.0 / 11.0
"""h_eff that the prefactor of Omega h2 contains"""


def gas(mass, temperature, dof, statistics):
    """(h, g) of an ideal gas at ``temperature`` (n,), entropy and energy over those of one boson.

    ``statistics``: +1 fermions, -1 bosons.
    """
    v, w = np.polynomial.legendre.leggauss(80)
    k, dk = 30.0 * (v + 1.0) ** 2 / 4.0 * 2.0, 30.0 * (v + 1.0) * w
    e = np.sqrt(k**2 + (mass / temperature)[:, None] ** 2)
    f = dk * k**2 / (np.exp(np.minimum(e, 600.0)) + statistics) / (2.0 * math.pi**2)
    rho, pressure = np.sum(f * e, 1), np.sum(f * k**2 / (3.0 * e), 1)
    return dof * (rho + pressure) / (2.0 * math.pi**2 / 45.0), dof * rho / (math.pi**2 / 30.0)


def bath(m_zp, m_h1, separate=True):
    """(T_gamma, T_nu, a, g total at T_gamma), arrays from hot to cold; a = 1/T_gamma today's.

    ``m_zp`` or ``m_h1`` None: not in the bath.
    """
    t = np.geomspace(20.0, 1e-6, 4000)
    h, speed = (np.asarray(v) for v in _plasma_at(t))
    _, _, ratio, _ = thermal_rates(1.0, 1.0 / t)
    g = (h * ratio / speed) ** 2

    def dark(temperature):
        found = np.zeros((2, len(temperature)))
        for mass, dof in ((m_zp, 3.0), (m_h1, 1.0)):
            if mass is not None:
                found += gas(mass, temperature, dof, -1.0)
        return found

    if not separate:
        more = dark(t)
        entropy = (h + more[0]) * t**3
        return t, t, entropy ** (-1.0 / 3.0) * H_TODAY ** (1.0 / 3.0), g + more[1]
    hot = t > T_DECOUPLE
    h_e, g_e = gas(M_E, t, 4.0, 1.0)
    visible = (2.0 + h_e) * t**3
    nu_t = np.geomspace(30.0, 1e-7, 6000)
    nu_entropy = (NEUTRINOS + dark(nu_t)[0]) * nu_t**3
    edge = np.array([T_DECOUPLE])
    e_edge = float(gas(M_E, edge, 4.0, 1.0)[0][0])
    nu_edge = NEUTRINOS + float(dark(edge)[0][0])
    # Cold: a from the visible entropy, normalised to a = 1/T today; hot: from the whole.
    a = (visible / 2.0) ** (-1.0 / 3.0)
    a_edge = (T_DECOUPLE**3 * (2.0 + e_edge) / 2.0) ** (-1.0 / 3.0)
    whole = (h + dark(t)[0]) * t**3
    # The table's own h at the edge, so that a is continuous.
    whole_edge = float(np.interp(T_DECOUPLE, t[::-1], whole[::-1]))
    a = np.where(hot, a_edge * (whole / whole_edge) ** (-1.0 / 3.0), a)
    wanted = nu_edge * T_DECOUPLE**3 * (a_edge / a) ** 3
    t_nu = np.exp(np.interp(np.log(wanted), np.log(nu_entropy[::-1]), np.log(nu_t[::-1])))
    t_nu = np.where(hot, t, t_nu)
    cold = 2.0 + g_e + (NEUTRINOS + dark(t_nu)[1]) * (t_nu / t) ** 4
    return t, t_nu, a, np.where(hot, g + dark(t)[1], cold)


def omega(m_x, sigma_v, history):
    """Omega h2 of X + X* for constant <sigma v> [GeV^-2] of one pair in the bath ``history``."""
    t, t_nu, a, g = history
    keep = (t < m_x) & (t > m_x * 1e-4)
    t, t_nu, a, g = (v[keep] for v in (t, t_nu, a, g))
    ln_a = np.log(a)
    hubble = math.sqrt(8.0 * math.pi**3 / 90.0) * np.sqrt(g) * t**2 / M_PLANCK
    x = m_x / t_nu
    ln_neq = np.log(m_x**2 * t_nu * _scaled_bessel(2, x) / math.pi**2) - x + 3.0 * ln_a
    table = CubicSpline(ln_a, np.stack([ln_neq, np.log(0.5 * sigma_v / hubble) - 3.0 * ln_a]), 1)

    def rhs(ln_a, w):
        ln_neq, ln_rate = table(ln_a)
        up = math.exp(min(ln_rate + 2.0 * ln_neq - w[0], 300.0))
        return [up - math.exp(min(ln_rate + w[0], 300.0))]

    def jacobian(ln_a, w):
        ln_neq, ln_rate = table(ln_a)
        up = math.exp(min(ln_rate + 2.0 * ln_neq - w[0], 300.0))
        return [[-up - math.exp(min(ln_rate + w[0], 300.0))]]

    span = (ln_a[0], ln_a[-1])
    found = solve_ivp(rhs, span, [ln_neq[0]], "Radau", rtol=1e-6, atol=1e-6, jac=jacobian)
    # n_X a^3 with a = 1/T_gamma today: s_0 = 2 pi^2/45 h_today T^3.
    n = math.exp(found.y[0, -1])
    tail = math.exp(table(span[1])[1]) * n
    y = n / (1.0 + tail) / (2.0 * math.pi**2 / 45.0 * H_TODAY)
    return OMEGA_H2_PREFACTOR * m_x * y


def main(path):
    rows = []
    histories = {m: bath(m or None, None) for m in (0.0, 3e-3, 5e-3, 8e-3, 11.5e-3, 0.03, 0.1, 0.3)}
    single = bath(None, None, separate=False)
    for m_x in (5e-3, 7e-3, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.3, 1.0, 3.0, 10.0):
        # Omega h2 = 0.12 within 10 %; the ratio hardly depends on it.
        reference = omega(m_x, 7e-9, single)
        for m_zp, history in histories.items():
            if m_zp < m_x:
                rows.append([m_x, m_zp, omega(m_x, 7e-9, history) / reference])
    np.savetxt(path, rows, delimiter=",", header="m_x,m_zp,ratio", comments="", fmt="%.6g")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Write lmltdm_jax/data/hadronic_widths/hadronic_widths.csv (see SOURCE.toml beside it).

Usage: python scripts/generate_hadronic_width_table.py FORESEE_TABLE.csv

FORESEE_TABLE.csv has the columns m_H1_GeV, Gamma_vis_GeV, BR_e_e, BR_mu_mu, BR_tau_tau, BR_pi_pi,
BR_K_K, BR_4pi, BR_g_g, BR_s_s, BR_c_c, BR_b_b of FORESEE's Models/DarkHiggs (MIT licence).
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

OUTPUT = Path(__file__).parents[1] / "lmltdm_jax/data/hadronic_widths/hadronic_widths.csv"

# PDG 2024 values: masses in GeV, MSbar m_q(m_q) for c and b, m_s(2 GeV), pole mass for t.
V_H, ALPHA_S_MZ, M_Z = 246.22, 0.1180, 91.188
M_S_2GEV, M_C, M_B, M_T = 0.0935, 1.273, 4.183, 172.57
M_PI, M_K, M_D, M_BMESON = 0.13957039, 0.493677, 1.86484, 5.27941

TABLE_MIN, BLEND_LOW, BLEND_HIGH, MASS_MAX = 0.284, 1.85, 2.0, 300.0
PERTURBATIVE_NODES = 260


def two_loop_rates(_, state, nf):
    """d(alpha_s, ln m)/d ln mu^2 at two loops (e.g. PDG review of QCD, eqs. 9.3 to 9.5)."""
    alpha = state[0]
    a = alpha / np.pi
    b0, b1 = (33 - 2 * nf) / (12 * np.pi), (153 - 19 * nf) / (24 * np.pi**2)
    return [-(alpha**2) * (b0 + b1 * alpha), -a * (1 + (202 / 3 - 20 * nf / 9) / 16 * a)]


def run(alpha, mu_from, mu_to, nf):
    """alpha_s and the mass ratio m(mu_to)/m(mu_from) by two-loop running with nf flavours."""
    span = (2 * np.log(mu_from), 2 * np.log(mu_to))
    end = solve_ivp(two_loop_rates, span, [alpha, 0.0], args=(nf,), rtol=1e-10, atol=1e-13).y[:, -1]
    return end[0], np.exp(end[1])


def running(mu):
    """(alpha_s, m_s, m_c, m_b) at mu; flavour thresholds at m_c and m_b, continuous."""
    alpha_b, _ = run(ALPHA_S_MZ, M_Z, M_B, 5)
    _, ratio_2 = run(alpha_b, M_B, 2.0, 4)
    _, ratio_c = run(alpha_b, M_B, M_C, 4)
    if mu > M_B:
        alpha, scale = run(alpha_b, M_B, mu, 5)
    else:
        alpha, scale = run(alpha_b, M_B, mu, 4)
    return alpha, M_S_2GEV / ratio_2 * scale, M_C / ratio_c * scale, M_B * scale


def fermion_loop(tau):
    """A_1/2(tau), tau = m^2/(4 m_q^2), normalised to 4/3 for a heavy quark (hep-ph/0503172)."""
    if tau <= 1:
        f = np.arcsin(np.sqrt(tau)) ** 2
    else:
        b = np.sqrt(1 - 1 / tau)
        f = -0.25 * (np.log((1 + b) / (1 - b)) - 1j * np.pi) ** 2
    return 2 * (tau + (tau - 1) * f) / tau**2


def perturbative_width(m):
    """LO widths into s, c, b and gluons per unit sin^2(theta), masses and alpha_s at mu = m."""
    alpha, m_s, m_c, m_b = running(m)
    quarks = 0.0
    for mass, threshold in ((m_s, M_K), (m_c, M_D), (m_b, M_BMESON)):
        beta2 = max(0.0, 1 - 4 * threshold**2 / m**2)
        quarks += 3 * mass**2 * m * beta2**1.5 / (8 * np.pi * V_H**2)
    loop = sum(0.75 * fermion_loop((m / (2 * mass)) ** 2) for mass in (M_C, M_B, M_T))
    return quarks + alpha**2 * m**3 * abs(loop) ** 2 / (72 * np.pi**3 * V_H**2)


def tabulated_width(path):
    """(mass, hadronic width) below BLEND_HIGH with the branching fractions rescaled to sum to 1.

    The first entry above 2 m_pi is left out: its branching fractions sum to 1.15.
    """
    rows = [line for line in Path(path).read_text().splitlines() if not line.startswith("#")]
    table = list(csv.DictReader(rows))
    mass = np.array([float(r["m_H1_GeV"]) for r in table])
    total = np.array([float(r["Gamma_vis_GeV"]) for r in table])
    br = {k: np.array([float(r[k]) for r in table]) for k in table[0] if k.startswith("BR_")}
    hadrons = br["BR_pi_pi"] + br["BR_K_K"] + br["BR_4pi"]
    keep = (mass > TABLE_MIN) & (mass < BLEND_HIGH)
    return mass[keep], (total * hadrons / np.maximum(sum(br.values()), 1e-9))[keep]


def main(path):
    mass, width = tabulated_width(path)
    blended = []
    for m, w in zip(mass, width, strict=True):
        x = np.clip((m - BLEND_LOW) / (BLEND_HIGH - BLEND_LOW), 0, 1)
        weight = x**3 * (10 - 15 * x + 6 * x**2)
        ln_perturbative = np.log(perturbative_width(m)) if weight > 0 else 0.0
        blended.append(np.exp((1 - weight) * np.log(w) + weight * ln_perturbative))
    high = np.geomspace(2.01, MASS_MAX, PERTURBATIVE_NODES)
    mass = np.concatenate([mass, high])
    width = np.concatenate([blended, [perturbative_width(m) for m in high]])
    with OUTPUT.open("w", newline="") as file:
        file.write("m_GeV,width_per_sin2_theta_GeV\n")
        file.writelines(f"{m:.8g},{w:.8g}\n" for m, w in zip(mass, width, strict=True))


if __name__ == "__main__":
    main(sys.argv[1])

"""Regenerate lmltdm_jax/data/n_eff/plasma.npz: photons, electrons, QED, weak-rate factors.

Usage: python scripts/generate_plasma_table.py

Everything is a function of ln(T_gamma/MeV) on a uniform grid, in units of T^4:

* rho, rho + p and drho/dlnT of photons + electrons + positrons with the QED pressure of order e^2
  and e^3 (Kapusta and Gale; arXiv:1911.04504; the logarithmic e^2 term is dropped,
  below 1e-4 in N_eff):
    P2 = -(e^2 T^2/12 pi^2) I0 - (e^2/8 pi^4) I0^2,  I0 = int dp p^2/E N_F,
    P3 = (e^3 T/12 pi^4) I1^(3/2),  I1 = int dp (p^2+E^2)/E N_F,  N_F = 2/(e^{E/T}+1)
  rho gets -P + T P', rho + p gets T P', drho/dlnT gets T^2 P''.
* the electron-mass factors of electron_mass_factors.csv.
"""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
from scipy.interpolate import CubicSpline, make_interp_spline

DATA = Path(__file__).parents[1] / "lmltdm_jax" / "data" / "n_eff"
M_E = 0.51099895  # MeV, PDG 2024
ALPHA = 1 / 137.036
T_MIN, T_MAX, NODES = 3e-3, 300.0, 577
FACTORS = ("nue_ann", "nue_scatt", "sigmav_nue", "numu_ann", "numu_scatt", "sigmav_numu")


def electron_integrals(temperature: np.ndarray) -> np.ndarray:
    """(I0/T^2, I1/T^2, rho_e/T^4, p_e/T^4, drho_e/dlnT / T^4); shape (5, n).

    Trapezoidal rule in w, with (E - m)/T = w^2: the integrand is even and analytic in w, so the
    rule converges exponentially.
    """
    x = (M_E / temperature)[:, None]
    h = 0.02
    w = h * np.arange(1, 400)[None, :]
    energy = x + w**2
    p = w * np.sqrt(w**2 + 2 * x)
    f = 1 / (np.exp(np.minimum(energy, 700.0)) + 1)
    measure = 2 * w * h * energy / p  # dp = E dE/p

    def total(weight, occupation=f):
        return np.sum(measure * weight * occupation, axis=1)

    g = 4 / (2 * math.pi**2)
    return np.stack(
        [
            2 * total(p**2 / energy),
            2 * total((p**2 + energy**2) / energy),
            g * total(p**2 * energy),
            g * total(p**4 / (3 * energy)),
            g * total(p**2 * energy**2, f * (1 - f)),
        ]
    )


def electromagnetic(ln_t: np.ndarray) -> dict[str, np.ndarray]:
    """rho, rho + p and drho/dlnT of the electromagnetic plasma over T^4."""
    fine = np.linspace(ln_t[0] - 0.3, ln_t[-1] + 0.3, 4001)
    i0, i1 = electron_integrals(np.exp(fine))[:2]
    e2 = 4 * math.pi * ALPHA
    q = -e2 * i0 / (12 * math.pi**2) - e2 * i0**2 / (8 * math.pi**4)  # P/T^4
    q += e2**1.5 * i1**1.5 / (12 * math.pi**4)
    spline = make_interp_spline(fine, q, k=5)
    q, q1, q2 = spline(ln_t), spline(ln_t, 1), spline(ln_t, 2)
    tp1 = 4 * q + q1  # T P'/T^4
    t2p2 = 12 * q + 7 * q1 + q2  # T^2 P''/T^4
    _, _, rho_e, p_e, drho_e = electron_integrals(np.exp(ln_t))
    rho_gamma = math.pi**2 / 15
    return {
        "rho": rho_gamma + rho_e - q + tp1,
        "enthalpy": 4 / 3 * rho_gamma + rho_e + p_e + tp1,
        "drho_dlnt": 4 * rho_gamma + drho_e + t2p2,
    }


def mass_factors(ln_t: np.ndarray) -> dict[str, np.ndarray]:
    """Electron-mass factors on the grid; 1 - O(m^2/T^2) above the table, linear decay below."""
    with (DATA / "electron_mass_factors.csv").open() as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    knots = np.log([float(row["T_MeV"]) for row in rows])
    out = {}
    for name in FACTORS:
        values = np.array([float(row[name]) for row in rows])
        inside = np.clip(ln_t, knots[0], knots[-1])
        f = CubicSpline(knots, values)(inside)
        out[name] = np.where(
            ln_t > knots[-1],
            1 - (1 - values[-1]) * np.exp(2 * (knots[-1] - ln_t)),
            np.maximum(f, 0),
        )
    return out


def main() -> None:
    ln_t = np.linspace(math.log(T_MIN), math.log(T_MAX), NODES)
    np.savez_compressed(
        DATA / "plasma.npz", ln_t=ln_t, **electromagnetic(ln_t), **mass_factors(ln_t)
    )


if __name__ == "__main__":
    main()

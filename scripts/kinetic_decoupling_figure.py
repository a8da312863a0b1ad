"""Draw docs/figures/kinetic_decoupling.png: where one temperature is wrong, and by how much.

Usage: python scripts/kinetic_decoupling_figure.py SOLUTIONS.csv [MORE.csv ...] OUTPUT.png

SOLUTIONS: files of generate_kinetic_decoupling.py. Bath: tests/golden/bath_temperature.csv.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import LogNorm

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.relic_density import N_X
from lmltdm_jax.observables.relic_theory_error import decoupling_error
from lmltdm_jax.observables.thermal_average import sigma_v
from lmltdm_jax.parameters import PARAMETER_NAMES, Parameters
from lmltdm_jax.widths import build_widths

BATH = Path(__file__).parents[1] / "tests" / "golden" / "bath_temperature.csv"
SM = StandardModel.load("pdg2026")
LEAST = 1e-4
NEAR, FAR = 1e-4, 1.0


@jax.jit
def errors(vectors):
    def one(vector):
        point = build_point(Parameters.from_vector(vector), SM)
        return decoupling_error(point, sigma_v(point, build_widths(point), N_X))

    return jax.lax.map(one, vectors)


def nearest(rows):
    """Signed distance (m/2 m_x)^2 - 1 to the nearest pole or pair threshold above 2 m_x."""
    m_x, m_h1, m_zp = rows["m_x"], rows["m_h1"], rows["m_zp"]
    poles = np.stack([(m / (2.0 * m_x)) ** 2 - 1.0 for m in (m_h1, m_zp)])
    pairs = [(a / (2.0 * m_x)) ** 2 - 1.0 for a in (2 * m_h1, 2 * m_zp, m_h1 + m_zp)]
    all_of = np.concatenate([poles, np.stack(pairs)])
    index = np.argmin(np.abs(all_of), axis=0)
    return np.take_along_axis(all_of, index[None], 0)[0], index >= 2


def main(*arguments):
    *paths, target = arguments
    rows = np.concatenate([np.genfromtxt(p, delimiter=",", names=True) for p in paths])
    error = np.asarray(errors(np.stack([rows[n] for n in PARAMETER_NAMES], axis=1)))
    ratio = rows["omega_coupled"] / rows["omega_standard"]
    deviation = np.abs(ratio - 1.0)
    delta, is_pair = nearest(rows)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14, 4.3), layout="constrained")
    norm = LogNorm(1e-3, 10.0)
    shown = np.clip(rows["gamma_over_h_25"], 1e-3, 1e7)
    size = np.clip(np.abs(delta), NEAR, FAR)
    for pair, marker, label in ((False, "o", "pole (H1 or Z')"), (True, "^", "pair threshold")):
        pick = is_pair == pair
        dots = left.scatter(
            size[pick],
            shown[pick],
            c=np.clip(deviation[pick], 1e-3, 10.0),
            norm=norm,
            marker=marker,
            s=16,
            cmap="viridis_r",
            label=label,
        )
    figure.colorbar(dots, ax=left, label=r"$|\Omega_{cBE}/\Omega - 1|$")
    left.set(xscale="log", yscale="log", ylabel=r"$\gamma/H$ at $x = 25$")
    left.set_xlabel(r"distance $|(m/2m_X)^2 - 1|$ to the nearest")
    left.legend(fontsize=8, loc="lower left")
    x, y = np.maximum(error, LEAST), np.maximum(deviation, LEAST)
    middle.scatter(x, y, c=rows["kind"], s=9, cmap="cool")
    line = np.array([LEAST, 30.0])
    middle.plot(line, line, "k-", lw=1)
    middle.axhline(0.05, color="0.6", lw=0.8, ls=":")
    middle.set(xscale="log", yscale="log", xlabel="relative theory error")
    inside = np.mean(deviation < np.hypot(error, 0.01))
    middle.set_ylabel(r"$|\Omega_{cBE}/\Omega - 1|$ solved")
    middle.set_title(f"{len(rows)} points, {100 * inside:.0f} % below the line", fontsize=10)
    bath = np.genfromtxt(BATH, delimiter=",", names=True)
    for m_zp in np.unique(bath["m_zp"]):
        pick = bath["m_zp"] == m_zp
        label = f"$m_{{Z'}}$ = {1e3 * m_zp:g} MeV" if m_zp else "no Z' in the bath"
        right.plot(bath["m_x"][pick], 100.0 * (bath["ratio"][pick] - 1.0), label=label)
    right.axhspan(-5.0, 5.0, color="0.9", zorder=0)
    right.set(xscale="log", xlabel=r"$m_X$ [GeV]")
    right.set_ylabel(r"$T_\nu$ and Z' in the bath: $\Omega$ shift [%]")
    right.legend(fontsize=7, ncol=2)
    figure.savefig(target, dpi=120)
    for low, high in ((0.0, 1e-3), (1e-3, 1e-2), (1e-2, 0.1), (0.1, 0.3), (0.3, 1e9)):
        for weak in (True, False):
            pick = (np.abs(delta) >= low) & (np.abs(delta) < high)
            pick &= (rows["gamma_over_h_25"] < 1e3) == weak
            if pick.any():
                quantiles = np.percentile(deviation[pick], [50, 90, 100])
                share = np.mean(deviation[pick] > 0.05)
                print(f"|delta| {low:g}-{high:g} gamma/H {'<' if weak else '>'} 1e3", end=" ")
                print(f"n {pick.sum()} > 5 %: {share:.2f} median, 90 %, max {quantiles.round(3)}")


if __name__ == "__main__":
    main(*sys.argv[1:])

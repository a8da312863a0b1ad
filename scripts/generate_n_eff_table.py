"""Regenerate lmltdm_jax/data/n_eff/table.npz: Delta N_eff on a (ln m, ln g) grid from the ODE.

Usage: python scripts/generate_n_eff_table.py    (about 10 CPU minutes)

Kinetic mixing is the loop value at q^2 = m^2. Closure D at and above SWITCH, C below; the two
agree to 2e-5 there for every mass of the grid.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.kinetic_mixing import kinetic_mixing
from lmltdm_jax.observables.thermal_history import n_eff_ode, n_eff_sm_ode

TARGET = Path(__file__).parents[1] / "lmltdm_jax" / "data" / "n_eff" / "table.npz"
MASSES = (1.1e-3, 0.2, 80)  # GeV
COUPLINGS = (1e-12, 1e-2, 144)
SWITCH = 3e-8
FINE = 3e-9  # closure C is stiff above: more steps


def loop_epsilon(m_zp, g_x):
    """|epsilon(q^2 = m^2)|, the value the table is made with."""
    return jnp.abs(kinetic_mixing(m_zp**2, g_x, StandardModel.load("pdg2026")))


def main(path: Path = TARGET) -> None:
    masses, couplings = np.geomspace(*MASSES), np.geomspace(*COUPLINGS)
    epsilon = jax.vmap(loop_epsilon)
    solvers = {
        key: jax.jit(jax.vmap(lambda m, g, e, c=closure, n=steps: n_eff_ode(m, g, e, c, n)))
        for key, closure, steps in (("slow", "C", 800), ("fine", "C", 2400), ("d", "D", 500))
    }
    delta = np.empty((len(masses), len(couplings)))
    start = time.time()
    for j, g in enumerate(couplings):
        key = "d" if g >= SWITCH else ("fine" if g > FINE else "slow")
        gs = jnp.full(len(masses), g)
        delta[:, j] = solvers[key](masses, gs, epsilon(masses, gs))
        print(f"{j + 1}/{len(couplings)} g = {g:.2e} {time.time() - start:.0f} s", file=sys.stderr)
    delta -= float(n_eff_sm_ode("D"))
    if not np.all(np.isfinite(delta)):
        raise SystemExit(f"{np.sum(~np.isfinite(delta))} points failed")
    np.savez_compressed(path, ln_m=np.log(masses), ln_g=np.log(couplings), delta=delta)


if __name__ == "__main__":
    main()

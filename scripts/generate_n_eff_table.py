"""Regenerate lmltdm_jax/data/n_eff/table.npz: the thermal history on a (ln m, ln g) grid.

Usage: python scripts/generate_n_eff_table.py [OUTPUT]    (about 10 CPU minutes)

Columns of ``shift``: Delta N_eff, and the shifts of ln(T_nu/T_gamma) and mu_nu/T_nu, each from the
Standard Model value of closure D and all of one solve. Kinetic mixing: loop value at q^2 = m^2.
Closure D at and above SWITCH, C below; the two agree to 2e-5 there for every mass of the grid.
"""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.kinetic_mixing import kinetic_mixing
from lmltdm_jax.observables.thermal_history import standard_model_ode, thermal_history_ode

TARGET = Path(__file__).parents[1] / "lmltdm_jax" / "data" / "n_eff" / "table.npz"
MASSES = (1.1e-3, 0.2, 80)  # GeV
COUPLINGS = (1e-12, 1e-2, 144)
SWITCH = 3e-8
FINE = 3e-9  # closure C is stiff above: more steps


def loop_epsilon(m_zp, g_x):
    """|epsilon(q^2 = m^2)|, the value the table is made with."""
    return jnp.abs(kinetic_mixing(m_zp**2, g_x, StandardModel.load("pdg2026")))


def columns(m_zp, g_x, epsilon, closure, steps):
    """(N_eff, ln T_nu/T_gamma, eta_nu)"""
    return as_columns(thermal_history_ode(m_zp, g_x, epsilon, closure, steps))


def as_columns(end):
    return jnp.stack([end.n_eff, jnp.log(end.t_nu_over_t_gamma), end.eta_nu])


def main(path: Path = TARGET) -> None:
    masses, couplings = np.geomspace(*MASSES), np.geomspace(*COUPLINGS)
    epsilon = jax.vmap(loop_epsilon)
    solvers = {
        key: jax.jit(jax.vmap(functools.partial(columns, closure=closure, steps=steps)))
        for key, closure, steps in (("slow", "C", 800), ("fine", "C", 2400), ("d", "D", 500))
    }
    shift = np.empty((len(masses), len(couplings), 3))
    start = time.time()
    for j, g in enumerate(couplings):
        key = "d" if g >= SWITCH else ("fine" if g > FINE else "slow")
        gs = jnp.full(len(masses), g)
        shift[:, j] = solvers[key](masses, gs, epsilon(masses, gs))
        print(f"{j + 1}/{len(couplings)} g = {g:.2e} {time.time() - start:.0f} s", file=sys.stderr)
    standard_model = np.asarray(as_columns(standard_model_ode("D")))
    shift -= standard_model
    if not np.all(np.isfinite(shift)):
        raise SystemExit(f"{np.sum(~np.isfinite(shift))} numbers failed")
    np.savez_compressed(
        path,
        ln_m=np.log(masses),
        ln_g=np.log(couplings),
        shift=shift,
        standard_model=standard_model,
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

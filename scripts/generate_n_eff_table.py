"""Regenerate the tables of lmltdm_jax/data/n_eff that are thermal histories on grids.

Usage: python scripts/generate_n_eff_table.py [FOLDER]    (about 20 CPU minutes)

Columns of ``shift``: Delta N_eff, and the shifts of ln(T_nu/T_gamma) and mu_nu/T_nu, all of one
solve. Kinetic mixing: loop value at q^2 = m^2.

table.npz, axes (ln m_Z', ln g): shifts from the Standard Model value of closure D. Closure D at and
above SWITCH, C below; the two agree to 2e-5 there for every mass of the grid.

dark_matter.npz, axes (ln m_Z', ln g, ln m_dm): shifts from the same Z' without light dark matter,
closure D, for complex scalars and Dirac fermions.
"""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.dark_matter import ComplexScalar, DiracFermion
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.kinetic_mixing import kinetic_mixing
from lmltdm_jax.observables.thermal_history import (
    light_dark_matter,
    standard_model_ode,
    thermal_history_ode,
)

FOLDER = Path(__file__).parents[1] / "lmltdm_jax" / "data" / "n_eff"
MASSES = (1.1e-3, 0.2, 80)  # GeV
COUPLINGS = (1e-12, 1e-2, 144)
SWITCH = 3e-8
FINE = 3e-9  # closure C is stiff above: more steps
DARK_MATTER = ComplexScalar, DiracFermion
DARK_MATTER_AXES = (1.1e-3, 0.2, 33), (1e-6, 10**-1.5, 19), (1e-3, 0.06, 33)


def loop_epsilon(m_zp, g_x):
    """|epsilon(q^2 = m^2)|, the value the table is made with."""
    return jnp.abs(kinetic_mixing(m_zp**2, g_x, StandardModel.load("pdg2026")))


def columns(m_zp, g_x, epsilon, closure, steps):
    """(N_eff, ln T_nu/T_gamma, eta_nu)"""
    return as_columns(thermal_history_ode(m_zp, g_x, epsilon, closure, steps))


def as_columns(end):
    return jnp.stack([end.n_eff, jnp.log(end.t_nu_over_t_gamma), end.eta_nu])


def dark_matter_table(path: Path) -> None:
    """Shifts by light dark matter, (kinds, m_zp, g_x, m_dm, columns)."""
    axes = [np.geomspace(*axis) for axis in DARK_MATTER_AXES]
    epsilon = jax.jit(jax.vmap(loop_epsilon))
    shift = np.empty((len(DARK_MATTER), *map(len, axes), 3))
    start = time.time()
    for k, kind in enumerate(DARK_MATTER):

        @jax.jit
        @jax.vmap
        def difference(m_zp, g_x, epsilon, mass, kind=kind):
            species = [light_dark_matter(kind, mass)]
            with_dark_matter = thermal_history_ode(m_zp, g_x, epsilon, "D", species=species)
            alone = thermal_history_ode(m_zp, g_x, epsilon, "D")
            return as_columns(with_dark_matter) - as_columns(alone)

        for i, m in enumerate(axes[0]):
            for j, g in enumerate(axes[1]):
                ms, gs = (np.full(len(axes[2]), value) for value in (m, g))
                shift[k, i, j] = difference(ms, gs, epsilon(ms, gs), axes[2])
            print(f"{kind.__name__} m = {m:.2e} {time.time() - start:.0f} s", file=sys.stderr)
    if not np.all(np.isfinite(shift)):
        raise SystemExit(f"{np.sum(~np.isfinite(shift))} numbers failed")
    names = ("ln_m", "ln_g", "ln_m_dm")
    logarithms = {name: np.log(axis) for name, axis in zip(names, axes, strict=True)}
    kinds = {kind.__name__: shift[k] for k, kind in enumerate(DARK_MATTER)}
    np.savez_compressed(path, **logarithms, **kinds)


def zp_table(path: Path) -> None:
    """Shifts by the Z', (m_zp, g_x, columns)."""
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


def main(folder: Path = FOLDER) -> None:
    zp_table(folder / "table.npz")
    dark_matter_table(folder / "dark_matter.npz")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

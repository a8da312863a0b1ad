"""Coupled Boltzmann solutions of random points near the measured Omega h2.

Usage: python scripts/generate_kinetic_decoupling.py OUTPUT.csv SEED COUNT    (0.4 s a point)

A third of the points is drawn from the prior, a third within |delta| < 1 of the H1 pole, a third of
the Z' pole, delta = (m/2 m_x)^2 - 1 log-uniform in size from 1e-4. lambda_phix is a root of
Omega h2 = 0.06 to 0.24, log-uniform, where there is one (low or high branch at random).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import jax
import numpy as np
from coupled_boltzmann import Freezeout

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.relic_coupling import lambda_for_relic
from lmltdm_jax.parameters import PARAMETER_NAMES, PARAMETER_TABLE, Parameters
from lmltdm_jax.widths import build_widths

TARGET, SPREAD = 0.12, 2.0
SM = StandardModel.load("pdg2026")
INDEX = {name: i for i, name in enumerate(PARAMETER_NAMES)}
COLUMNS = (*PARAMETER_NAMES, "kind", "omega_standard", "omega_coupled", "gamma_over_h_25")


@jax.jit
def setup(vector):
    point = build_point(Parameters.from_vector(vector), SM)
    return point, build_widths(point)


@jax.jit
def couplings(vectors, targets):
    return jax.lax.map(
        lambda pair: lambda_for_relic(Parameters.from_vector(pair[0]), SM, pair[1]),
        (vectors, targets),
    )


def candidates(rng, count, kind):
    """Prior points; kind 1: H1 on its pole within delta, 2: Z'."""
    low, high = np.array([info.prior for info in PARAMETER_TABLE]).T
    rows = low * (high / low) ** rng.uniform(size=(count, len(low)))
    if kind:
        delta = 10.0 ** rng.uniform(-4.0, 0.0, count) * rng.choice([-1.0, 1.0], count)
        delta = np.where(delta < -0.9, 0.9, delta)
        name = "m_h1" if kind == 1 else "m_zp"
        i = INDEX[name]
        if kind == 1:
            rows[:, i] = 2.0 * rows[:, INDEX["m_x"]] * np.sqrt(1.0 + delta)
        else:
            rows[:, INDEX["m_x"]] = 0.5 * rows[:, i] / np.sqrt(1.0 + delta)
        good = (rows >= low) & (rows <= high)
        rows = rows[np.all(good, axis=1)]
    return rows


def sample(rng, count, kind):
    """(count, 8): candidates with a root of Omega h2 = 0.12."""
    found = []
    while sum(map(len, found)) < count:
        rows = candidates(rng, 128, kind)
        targets = TARGET * SPREAD ** rng.uniform(-1.0, 1.0, 128)
        roots = couplings(np.resize(rows, (128, rows.shape[1])), targets)
        pair = np.stack([roots.low, roots.high], axis=1)[: len(rows)]
        ok = np.isfinite(pair)
        choice = np.where(ok.all(axis=1), rng.integers(2, size=len(rows)), np.argmax(ok, axis=1))
        rows[:, INDEX["lambda_phix"]] = pair[np.arange(len(rows)), choice]
        found.append(rows[ok.any(axis=1)])
    return np.concatenate(found)[:count]


def solve(vector):
    """[Omega standard, Omega coupled, gamma/H' at x = 25]."""
    freezeout = Freezeout(*setup(vector))
    standard, coupled = freezeout.solve(coupled=False)[0], freezeout.solve()[0]
    at = np.interp(np.log(25.0), freezeout.ln_x, np.log(freezeout.gamma / freezeout.hubble))
    return [standard, coupled, np.exp(at)]


def main(path, seed, count):
    rng = np.random.default_rng(int(seed))
    rows = []
    start = time.time()
    for kind in range(3):
        for vector in sample(rng, int(count) // 3, kind):
            try:
                rows.append([*vector, kind, *solve(vector)])
            except (RuntimeError, ValueError, OverflowError) as error:
                print(kind, list(vector), error, file=sys.stderr)
            if len(rows) % 20 == 0:
                print(len(rows), f"{time.time() - start:.0f} s", file=sys.stderr, flush=True)
    np.savetxt(Path(path), rows, delimiter=",", header=",".join(COLUMNS), comments="", fmt="%.10g")


if __name__ == "__main__":
    main(*sys.argv[1:])

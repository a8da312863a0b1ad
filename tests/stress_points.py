"""Random points that are hard for a thermal average, for tests; run as a script to see them (CSV).

    python tests/stress_points.py [count] [seed]

In turn: H1 pole, Z' pole, forbidden channels, t-channel peaks, anything. Couplings from 1e-10 to
4 pi (log-uniform), 1e-14 < Gamma/m < 3 for H1 and Z', m_x from 5 MeV to 50 GeV.
"""

import math
import sys

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.parameters import PARAMETER_NAMES, Parameters
from lmltdm_jax.widths import build_widths

KINDS = ("h1_pole", "zp_pole", "forbidden", "t_channel", "anything")
COUPLINGS = (1e-10, 4.0 * math.pi)
WIDTHS = (1e-14, 3.0)
"""Gamma/m"""


@jax.jit
@jax.vmap
def _relative_widths(vector):
    params = Parameters.from_vector(vector)
    widths = build_widths(build_point(params, StandardModel.load("talk2024")))
    return jnp.stack([widths.h1.total / params.m_h1, widths.zp.total / params.m_zp])


def _candidates(rng, count):
    """(count, 8) and the kind of each."""

    def log_uniform(low, high):
        return low * (high / low) ** rng.uniform(size=count)

    kind = np.arange(count) % len(KINDS)
    m_x = log_uniform(5e-3, 50.0)
    # A pole at 2 m_x (1 + d): |d| from 1e-13 to 0.5 on either side, or up to 60 times above.
    side = rng.choice([-1.0, 1.0], size=count)
    near = side * log_uniform(1e-13, 0.5)
    pole = 2.0 * m_x * np.where(rng.uniform(size=count) < 0.25, log_uniform(1.0, 60.0), 1.0 + near)
    # Forbidden: a final mass up to 1.6 m_x. t-channel peaks: down to 1e-4 m_x.
    above = m_x * (1.0 + log_uniform(1e-6, 0.6))
    light = m_x * log_uniform(1e-4, 0.3)
    anywhere = m_x * log_uniform(1e-3, 1e3), m_x * log_uniform(1e-3, 1e3)
    both = rng.uniform(size=count) < 0.5
    heavy = m_x * log_uniform(2.5, 100.0)
    m_h1 = np.select([kind == 0, kind == 2, kind == 3], [pole, above, light], anywhere[0])
    m_zp = np.select(
        [kind == 1, kind == 2, kind == 3],
        [pole, np.where(both, above * rng.uniform(0.7, 1.3, size=count), heavy), light],
        anywhere[1],
    )
    columns = {
        "m_zp": m_zp,
        "g_x": log_uniform(*COUPLINGS),
        "sin_theta": log_uniform(1e-10, 0.7),
        "m_x": m_x,
        "m_h1": m_h1,
        "q_phi": log_uniform(0.1, 3.0),
        "lambda_phix": log_uniform(*COUPLINGS),
        "q_x": log_uniform(0.1, 3.0),
    }
    return np.stack([columns[name] for name in PARAMETER_NAMES], axis=1), kind


def stress_points(count=520, seed=7):
    """Points (count, 8) and the index into :data:`KINDS` of each (count,)."""
    rng = np.random.default_rng(seed)
    points, kinds = _candidates(rng, 40 * count)
    widths = np.asarray(_relative_widths(points))
    ok = np.all((widths > WIDTHS[0]) & (widths < WIDTHS[1]), axis=1)
    each = count // len(KINDS)
    chosen = np.concatenate([np.flatnonzero(ok & (kinds == k))[:each] for k in range(len(KINDS))])
    assert len(chosen) == each * len(KINDS)
    return points[chosen], kinds[chosen]


if __name__ == "__main__":
    drawn, of_kind = stress_points(*map(int, sys.argv[1:]))
    print(",".join([*PARAMETER_NAMES, "kind"]))
    for row, k in zip(drawn.tolist(), of_kind, strict=True):
        print(",".join([*map(repr, row), KINDS[k]]))

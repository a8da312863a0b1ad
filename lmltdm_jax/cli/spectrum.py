"""``lmltdm predict --spectrum``: the q2 spectrum of B+ -> K+ invisible of one point as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lmltdm_jax.likelihoods.total import Likelihood
    from lmltdm_jax.parameters import ParameterSet

COLUMNS = ("q2", "dbr_dq2_sm", "dbr_dq2_np", "br_np_below")
"""GeV^2; GeV^-2; GeV^-2; branching fraction of new physics with a smaller q2."""
_POINTS = 1001


def write_spectrum(params: ParameterSet, likelihood: Likelihood, output: Path) -> None:
    """Uniform grid over phase space, 0 < q2 < (m_B - m_K)^2.

    A line narrower than the grid falls between two rows of ``dbr_dq2_np``; ``br_np_below`` has it
    as a step of its full rate, because it adds up the nodes of the integral over q2.

    Raises:
        InputError: the output cannot be written (found out before computing).
    """
    from lmltdm_jax.cli.output import open_table

    with open_table(output, COLUMNS) as write:
        write(spectrum_rows(params, likelihood))


def spectrum_rows(params: ParameterSet, likelihood: Likelihood) -> np.ndarray:
    """(points, columns) of :data:`COLUMNS`."""
    from lmltdm_jax.constants import HBAR_GEV_S
    from lmltdm_jax.model import build_point
    from lmltdm_jax.observables.b_to_k import dgamma_dq2, spectrum_bplus_kplus_np
    from lmltdm_jax.observables.b_to_k_nunu import dbr_dq2_sm
    from lmltdm_jax.observables.line_shape import zp_unseen_squared
    from lmltdm_jax.widths import build_widths

    point = build_point(params, likelihood.sm)
    widths = build_widths(point)
    sm = point.sm
    q2 = np.linspace(0.0, float((sm.m_bplus - sm.m_kplus) ** 2), _POINTS)
    # The propagators have q2 = 0 as the end of their range, where nothing is open.
    inside = np.maximum(q2, 1e-12)
    gamma = np.asarray(dgamma_dq2(point, inside, zp_unseen_squared(widths)))
    nodes = spectrum_bplus_kplus_np(point, widths)
    order = np.argsort(nodes.q2)
    below = np.concatenate([[0.0], np.cumsum(np.asarray(nodes.br)[order])])
    rank = np.searchsorted(np.asarray(nodes.q2)[order], q2, side="right")
    return np.stack(
        [
            q2,
            np.asarray(dbr_dq2_sm(sm, q2)),
            gamma * float(sm.tau_bplus) / HBAR_GEV_S,
            below[rank],
        ],
        axis=1,
    )

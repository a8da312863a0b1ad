"""Signal strength of the 125 GeV Higgs: production times decay over the Standard Model's."""

from __future__ import annotations

import jax

from lmltdm_jax.model import Point
from lmltdm_jax.widths import Widths


def higgs_signal_strength(point: Point, widths: Widths) -> jax.Array:
    """mu = cos^2(theta) (1 - BR(H2 -> H1 H1, Z'Z', X X*)), common to all channels; scalar, 0 to 1.

    From the mixing h = cos(theta) H2 - sin(theta) H1 (arXiv:2401.10112): every coupling of H2 to
    the Standard Model is cos(theta) times its own, so production and each partial width carry
    cos^2(theta). Decays to pairs of H1 or Z' never count as signal, whatever these decay to.
    """
    h2 = widths.h2
    cos2 = point.cos_theta**2
    known = cos2 * h2.sm
    return cos2 * known / (known + h2.h1h1 + h2.zpzp + h2.xx)

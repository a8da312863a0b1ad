"""Hadronic width of a light scalar that mixes with the Higgs."""

import csv
import functools
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.numerics.interpolate import Spline
from lmltdm_jax.numerics.kinematics import beta

M_PION = 0.13957039
"""Charged-pion mass [GeV] of the tabulated width (PDG 2024): the threshold belongs to the table."""


@functools.cache
def _log_reduced_width() -> Spline:
    """ln(Gamma/(beta_pi sin^2(theta))) over ln(m): finite at the two-pion threshold."""
    path = resources.files("lmltdm_jax.data") / "hadronic_widths" / "hadronic_widths.csv"
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:]
    mass, width = np.array(rows, dtype=float).T
    beta_pi = np.sqrt(1.0 - 4.0 * M_PION**2 / mass**2)
    return Spline.fit(np.log(mass), np.log(width / beta_pi))


def hadronic_width_per_mixing(m: jax.Array) -> jax.Array:
    """Gamma(H1 -> hadrons)/sin^2(theta) [GeV] at mass or virtuality ``m`` [GeV], any shape.

    Below 1.85 GeV the dispersive pi pi, K K and 4 pi widths of M. W. Winkler (arXiv:1809.01876) as
    tabulated by FORESEE (arXiv:2105.07077); above 2 GeV leading-order s, c, b and gluons with
    running masses and alpha_s (hep-ph/0503172), thresholds at 2 m_K, 2 m_D and 2 m_B; a smooth
    blend between. ``data/hadronic_widths/SOURCE.toml`` has inputs and accuracy.

    Proportional to beta_pi at 2 m_pi, zero with zero gradient at and below it, C2 above; beyond the
    table (300 GeV) a power law continues it. No electroweak channels: above 100 GeV this is the
    hadronic part without W and Z.
    """
    m = jnp.asarray(m, float)
    opened = m > 2.0 * M_PION
    # ln(m) -> -inf below threshold would send inf * 0 into the gradient.
    inside = jnp.where(opened, m, 1.0)
    width = beta(M_PION**2, inside**2) * jnp.exp(_log_reduced_width()(jnp.log(inside)))
    return jnp.where(opened, width, 0.0)

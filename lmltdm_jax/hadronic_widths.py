"""Hadronic width of a light scalar that mixes with the Higgs."""

import csv
import functools
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

from lmltdm_jax.numerics.kinematics import beta

M_PION = 0.13957039
"""Charged-pion mass [GeV] of the tabulated width (PDG 2024): the threshold belongs to the table."""


_INTERVALS = 1400


@functools.cache
def _log_reduced_width() -> tuple[float, float, np.ndarray]:
    """ln(Gamma/(beta_pi sin^2(theta))) over ln(m): finite at the two-pion threshold.

    Returns the first knot, the spacing and cubic coefficients (intervals, 4), lowest power first.
    Equal intervals, four times finer than the table, so that a node finds its own without a search.
    """
    path = resources.files("lmltdm_jax.data") / "hadronic_widths" / "hadronic_widths.csv"
    rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))[1:]
    mass, width = np.array(rows, dtype=float).T
    beta_pi = np.sqrt(1.0 - 4.0 * M_PION**2 / mass**2)
    knots = np.linspace(np.log(mass[0]), np.log(mass[-1]), _INTERVALS + 1)
    table = CubicSpline(np.log(mass), np.log(width / beta_pi), bc_type="natural")
    spline = CubicSpline(knots, table(knots), bc_type="natural")
    return float(knots[0]), float(knots[1] - knots[0]), spline.c[::-1].T.copy()


def _interpolate(log_mass: jax.Array) -> jax.Array:
    first, spacing, coefficients = _log_reduced_width()
    position = (log_mass - first) / spacing
    index = jnp.clip(jnp.floor(position).astype(int), 0, _INTERVALS - 1)
    c = jnp.asarray(coefficients)[index]
    step = log_mass - (first + spacing * index)
    t = jnp.clip(step, 0.0, spacing)
    value = c[..., 0] + t * (c[..., 1] + t * (c[..., 2] + t * c[..., 3]))
    # Straight lines beyond the table: the clip leaves them only this gradient.
    slope = c[..., 1] + t * (2.0 * c[..., 2] + 3.0 * t * c[..., 3])
    return value + jax.lax.stop_gradient(slope) * (step - t)


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
    width = beta(M_PION**2, inside**2) * jnp.exp(_interpolate(jnp.log(inside)))
    return jnp.where(opened, width, 0.0)

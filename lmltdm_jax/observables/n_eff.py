"""N_eff, T_nu/T_gamma and mu_nu for inference: a smooth table made from the thermal history.

The table (``scripts/generate_n_eff_table.py``) holds closure D of ``thermal_history`` for
g >= 3e-8 and its extension C below, with the kinetic mixing at its loop value, on
1.1 MeV < m < 200 MeV and 1e-12 < g < 1e-2. Its columns come from one solve per node. Delta is taken
to the Standard Model value of closure D, and N_eff = 3.044 + Delta (3.0440: arXiv:2110.11296).
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

N_EFF_SM = 3.044  # arXiv:2110.11296

# Outside the box a coordinate saturates over this many cells, inside the tabulated range.
_MARGIN_CELLS = 1.0


class LateNeutrinos(NamedTuple):
    """Neutrinos after e+- annihilation and Z' decay, thermal with one T and mu for all flavours."""

    delta_n_eff: jax.Array
    t_nu_over_t_gamma: jax.Array
    """(4/11)^(1/3) = 0.714 for instantaneous decoupling, 0.716 in the Standard Model"""
    eta_nu: jax.Array
    """mu_nu/T_nu, equal for neutrinos and antineutrinos (a number, not an asymmetry)"""


class _Patches(NamedTuple):
    """Bicubic splines of the columns of :class:`LateNeutrinos`, less their Standard Model values.

    ``coefficients`` (cells_m, cells_g, 4, 4, 3) multiply t_m^(3-i) t_g^(3-j), t in units of the
    coordinate from the lower corner of a cell.
    """

    origin: np.ndarray
    cell: np.ndarray
    coefficients: np.ndarray
    standard_model: np.ndarray


@functools.cache
def _patches() -> _Patches:
    with resources.files("lmltdm_jax.data").joinpath("n_eff", "table.npz").open("rb") as stream:
        table = dict(np.load(stream))
    along_m = CubicSpline(table["ln_m"], table["shift"], axis=0).c  # (4, cells_m, nodes_g, 3)
    both = CubicSpline(table["ln_g"], along_m, axis=2).c  # (4, cells_g, 4, cells_m, 3)
    axes = (table["ln_m"], table["ln_g"])
    return _Patches(
        origin=np.array([axis[0] for axis in axes]),
        cell=np.array([axis[1] - axis[0] for axis in axes]),
        coefficients=np.ascontiguousarray(both.transpose(3, 1, 2, 0, 4)),
        standard_model=table["standard_model"],
    )


def _saturate(u: jax.Array, low: float, high: float) -> jax.Array:
    """u inside [low, high]; outside, exponential approach to one unit beyond; C1 everywhere."""
    below = jnp.minimum(u - low, 0.0)
    above = jnp.maximum(u - high, 0.0)
    return jnp.clip(u, low, high) + jnp.expm1(below) - jnp.expm1(-above)


def late_neutrinos(m_zp: jax.Array, g_x: jax.Array) -> LateNeutrinos:
    """Closure D (C for g < 3e-8) with the loop kinetic mixing at q^2 = m_Z'^2, from one look-up.

    Bicubic splines in (ln m, ln g); interpolation error of Delta N_eff below 1e-3 for m > 4 MeV.
    Finite with a continuous gradient for all positive arguments. Outside the table:

    * m < 1.1 MeV: constant in m. Z' -> e+ e- closes at 1.022 MeV, where the true Delta falls by an
      O(1) step and then, for lighter Z', depends on late equilibration (plateau 0.2 to 0.25 and
      above). For g > 1e-9 the value returned, several units, is excluded like the true one; do not
      use it quantitatively below 1.1 MeV.
    * m > 200 MeV: Delta falls as 1/m (of a value below 0.01: late decays of a frozen-in Z').
    * g < 1e-12: Delta falls as g (frozen-in Z'; decoupled Z' give Delta = 0).
      g > 1e-2: constant in g.

    Temperature and chemical potential go to their Standard Model values where Delta falls.

    Caveats: production from muons (T > 30 MeV) and the spectrum of neutrinos from late decays of a
    heavy, weakly coupled Z' (m > 30 MeV, g < 1e-9) are not modelled.

    Args:
        m_zp: Z' mass [GeV], positive, any shape.
        g_x: gauge coupling, same shape or broadcastable; its sign is irrelevant.
    """
    patches = _patches()
    origin, cell, table = patches.origin, patches.cell, patches.coefficients
    shape = np.array(table.shape[:2])
    u = (jnp.log(m_zp) - origin[0]) / cell[0]
    # 1e-100: g = 0 gives 0, not NaN
    v = (jnp.log(jnp.abs(g_x) + 1e-100) - origin[1]) / cell[1]
    u_in = _saturate(u, _MARGIN_CELLS, shape[0] - _MARGIN_CELLS)
    v_in = _saturate(v, _MARGIN_CELLS, shape[1] - _MARGIN_CELLS)
    # 1 inside with zero slope at the edge, hence C1
    fade = jnp.exp(-cell[0] * jnp.maximum(u - u_in, 0.0) - cell[1] * jnp.maximum(v_in - v, 0.0))

    i = jnp.clip(jax.lax.stop_gradient(u_in).astype(int), 0, shape[0] - 1)
    j = jnp.clip(jax.lax.stop_gradient(v_in).astype(int), 0, shape[1] - 1)
    c = jnp.asarray(table)[i, j]
    s, t = ((u_in - i) * cell[0])[..., None, None], ((v_in - j) * cell[1])[..., None]
    rows = ((c[..., 0, :, :] * s + c[..., 1, :, :]) * s + c[..., 2, :, :]) * s + c[..., 3, :, :]
    value = ((rows[..., 0, :] * t + rows[..., 1, :]) * t + rows[..., 2, :]) * t + rows[..., 3, :]
    shift = fade[..., None] * value
    return LateNeutrinos(
        delta_n_eff=shift[..., 0],
        t_nu_over_t_gamma=jnp.exp(shift[..., 1] + patches.standard_model[1]),
        eta_nu=shift[..., 2] + patches.standard_model[2],
    )


def delta_n_eff(m_zp: jax.Array, g_x: jax.Array) -> jax.Array:
    """Delta N_eff of :func:`late_neutrinos`, same arguments."""
    return late_neutrinos(m_zp, g_x).delta_n_eff


def n_eff(m_zp: jax.Array, g_x: jax.Array) -> jax.Array:
    """N_eff = 3.044 + ``delta_n_eff``; m_zp in GeV."""
    return N_EFF_SM + delta_n_eff(m_zp, g_x)


def n_eff_theory_error(m_zp: jax.Array, delta: jax.Array) -> jax.Array:
    """Gaussian theory error of Delta N_eff, to be added in quadrature; smooth in m and Delta.

    Judged from differences between closures and flavour treatments (one neutrino temperature,
    thermal spectra, momentum-averaged rates): 15 % of Delta below 10 MeV, 0.06 for
    10 MeV < m < 20 MeV, below 0.01 above 30 MeV. Transitions are logistic in ln m.

    Args:
        m_zp: Z' mass [GeV].
        delta: Delta N_eff at this point.
    """
    ln_m = jnp.log(1e3 * m_zp)
    light = jax.nn.sigmoid((np.log(10.0) - ln_m) / 0.05)
    heavy = jax.nn.sigmoid((ln_m - np.log(24.5)) / 0.05)
    size = 0.15 * jnp.sqrt(delta**2 + 1e-4)  # 1e-4: no kink at Delta = 0
    return light * size + (1 - light) * (0.06 + heavy * (0.008 - 0.06))

"""N_eff, T_nu/T_gamma and mu_nu for inference: a smooth table made from the thermal history.

The table (``scripts/generate_n_eff_table.py``) holds closure D of ``thermal_history`` for
g >= 3e-8 and its extension C below, with the kinetic mixing at its loop value, on
1.1 MeV < m < 200 MeV and 1e-12 < g < 1e-2. Its columns come from one solve per node. Delta is taken
to the Standard Model value of closure D, and N_eff = 3.044 + Delta (3.0440: arXiv:2110.11296).

A second table of the same script adds what dark matter lighter than some 20 MeV changes (closure D,
1.1 MeV < m_Z' < 200 MeV, 1e-6 < g < 0.03, 1 MeV < m_dm < 60 MeV): see :func:`dark_matter_shift`.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.dark_matter import DarkMatter
from lmltdm_jax.numerics.interpolate import GridSpline

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


def _table(name: str) -> dict[str, np.ndarray]:
    with resources.files("lmltdm_jax.data").joinpath("n_eff", name).open("rb") as file:
        return dict(np.load(file))


@functools.cache
def _zp_spline() -> tuple[GridSpline, np.ndarray]:
    """Columns of :class:`LateNeutrinos` less their Standard Model values, and these (3,)."""
    table = _table("table.npz")
    return GridSpline.fit([table["ln_m"], table["ln_g"]], table["shift"]), table["standard_model"]


@functools.cache
def _dark_matter_spline(statistics: int) -> GridSpline:
    table = _table("dark_matter.npz")
    axes = [table[name] for name in ("ln_m", "ln_g", "ln_m_dm")]
    return GridSpline.fit(axes, table["ComplexScalar" if statistics > 0 else "DiracFermion"])


def _saturate(u: jax.Array, low: float, high: float) -> jax.Array:
    """u inside [low, high]; outside, exponential approach to one unit beyond; C1 everywhere."""
    below = jnp.minimum(u - low, 0.0)
    above = jnp.maximum(u - high, 0.0)
    return jnp.clip(u, low, high) + jnp.expm1(below) - jnp.expm1(-above)


def dark_matter_shift(
    m_zp: jax.Array, g_x: jax.Array, m_dm: jax.Array, kind: type[DarkMatter]
) -> jax.Array:
    """What light dark matter adds to Delta N_eff, ln(T_nu/T_gamma) and mu_nu/T_nu, (..., 3).

    Closure D with X and X* (or chi) in equilibrium with neutrinos and Z' until they are gone. That
    holds where their relic density is not far too large: they annihilate to neutrinos, or to Z'
    that decay to them. Continued as a constant outside the table, where it is the value of its
    edge: below g = 1e-6 neither is known to be in equilibrium, above m_dm = 60 MeV it is 1e-5.
    Interpolation error of Delta N_eff below 1e-3 for m_Z' and m_dm above 4 MeV and g > 2e-6.

    Args:
        m_zp, g_x, m_dm: [GeV] where it is a mass, positive, one shape or broadcastable.
        kind: what the dark matter is; its spin states and statistics matter.
    """
    spline = _dark_matter_spline(kind.statistics)
    logs = jnp.broadcast_arrays(jnp.log(m_zp), _log_coupling(g_x), jnp.log(m_dm))
    return spline(*(_inside(spline, k, x) for k, x in enumerate(logs)))


def _log_coupling(g_x: jax.Array) -> jax.Array:
    # 1e-100: g = 0 gives 0, not NaN
    return jnp.log(jnp.abs(g_x) + 1e-100)


def _inside(spline: GridSpline, axis: int, x: jax.Array) -> jax.Array:
    """A coordinate moved into the tabulated range, smoothly from one cell before its ends on."""
    cells = spline.coefficients.shape[axis] - 3
    u = (x - spline.origin[axis]) / spline.cell[axis]
    return spline.origin[axis] + spline.cell[axis] * _saturate(
        u, _MARGIN_CELLS, cells - _MARGIN_CELLS
    )


def late_neutrinos(
    m_zp: jax.Array, g_x: jax.Array, added: jax.Array | float = 0.0
) -> LateNeutrinos:
    """Closure D (C for g < 3e-8) with the loop kinetic mixing at q^2 = m_Z'^2, from one look-up.

    Cubic splines in (ln m, ln g); interpolation error of Delta N_eff below 1e-3 for m > 4 MeV.
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
        added: what light dark matter adds, of :func:`dark_matter_shift`.
    """
    spline, standard_model = _zp_spline()
    m, g = jnp.broadcast_arrays(jnp.log(m_zp), _log_coupling(g_x))
    m_in, g_in = _inside(spline, 0, m), _inside(spline, 1, g)
    # 1 inside with zero slope at the edge, hence C1
    fade = jnp.exp(-jnp.maximum(m - m_in, 0.0) - jnp.maximum(g_in - g, 0.0))
    shift = fade[..., None] * spline(m_in, g_in) + added
    return LateNeutrinos(
        delta_n_eff=shift[..., 0],
        t_nu_over_t_gamma=jnp.exp(shift[..., 1] + standard_model[1]),
        eta_nu=shift[..., 2] + standard_model[2],
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


def dark_matter_theory_error(
    m_dm: jax.Array, added: jax.Array, kind: type[DarkMatter]
) -> jax.Array:
    """Gaussian theory error of what light dark matter adds, in quadrature to the other; smooth.

    15 % of it and 0.015 a degree of freedom below 30 MeV: differences between closures B and D,
    that is how far X X* <-> Z'Z' changes the number of neutrinos, stay below 1.2 times that (and
    below 0.01 above 35 MeV).

    Args:
        m_dm: mass [GeV].
        added: to Delta N_eff, the first of :func:`dark_matter_shift`.
        kind: what the dark matter is.
    """
    light = jax.nn.sigmoid((np.log(30e-3) - jnp.log(m_dm)) / 0.1)
    return jnp.hypot(0.15 * added, 0.03 * kind.spin_states * light)

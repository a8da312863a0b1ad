"""Primordial helium from a published fit: the place where a nucleosynthesis network would go.

``helium_fraction`` takes the baryon density and one constant N_eff. A network would take the whole
thermal history instead (T_nu, mu_nu and rho_Z' against T_gamma, :mod:`.thermal_history`): a light
Z' heats the neutrinos partly before and partly during nucleosynthesis, and T_nu and mu_nu enter the
n <-> p rates.

What blocks one: LINX, the differentiable code, in its maintained form pins JAX 0.8.1 and so cannot
be a dependency beside current JAX; its own release did not finish compiling there in 500 s; and it
takes neutrinos without chemical potential. D/H, which reacts more to the baryon density and whose
rates are less certain, is left to such a network.
"""

from __future__ import annotations

from typing import TypeVar

import jax

Real = TypeVar("Real", jax.Array, float)

FIT_ERROR = 5e-4
"""Covers newer networks at N_eff = 3.04: 0.2467(2) in arXiv:2601.22238, 0.2469 from PRyMordial."""

_N_EFF_OF_FIT = 3.046
_LIFETIME_OF_FIT = 880.3  # s
_NEUTRON_LIFETIME = 878.4  # s, PDG: 878.4(5)


def helium_fraction(omega_b_h2: Real, n_eff: Real) -> Real:
    """Y_p, the helium mass fraction after nucleosynthesis (4 n_He/n_b), any shape.

    Fit to PArthENoPE, quadratic in both arguments, as used by Planck 2015 XIII and shipped with
    CAMB (``bbn.py``, fits "as in Planck 2015 papers"), scaled to the present neutron lifetime with
    the fit's exponent 0.728.

    Args:
        omega_b_h2: baryon density, near 0.022.
        n_eff: the same before, during and after nucleosynthesis; within 1 or so of 3.046.
    """
    w, extra = omega_b_h2, n_eff - _N_EFF_OF_FIT
    fit = 0.2311 + 0.9502 * w - 11.27 * w**2
    fit = fit + extra * (0.01356 + 0.008581 * w - 0.1810 * w**2)
    fit = fit + extra**2 * (-0.0009795 - 0.001370 * w + 0.01746 * w**2)
    return fit * (_NEUTRON_LIFETIME / _LIFETIME_OF_FIT) ** 0.728

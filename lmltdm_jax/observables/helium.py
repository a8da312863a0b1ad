"""Primordial helium from a published fit: Y_p(omega_b, N_eff), and what it cannot know of a Z'.

The fit was made for extra radiation whose energy scales as that of the neutrinos all the time and
that leaves T_nu/T_gamma alone. A Z' of 1 to 30 MeV heats neutrinos (or, for m < 1 MeV, comes late)
while n <-> p freezes out, so N_eff is not the same before and after, and the electron neutrinos'
temperature and mu_nu enter the rates. The number is an estimate; D/H is not predicted.

What blocks a network: the differentiable ones that are maintained pin versions of JAX below the one
used here, and take inert extra radiation or a vanishing mu_nu. The seam for one is
``thermal_history``, which has T_gamma, T_nu, mu_nu and the Z' as functions of ln a.
"""

from __future__ import annotations

import functools
import tomllib
from importlib import resources

import jax

Number = jax.Array | float


@functools.cache
def helium_fit() -> dict:
    """Coefficients, reference values, error of the fit: ``data/helium/fit.toml``."""
    path = resources.files("lmltdm_jax.data") / "helium" / "fit.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))["parthenope_2015"]


def helium_fraction(n_eff: Number, omega_b: Number, tau_n: Number) -> Number:
    """Y_p = 4 n_He4/n_b of the fit to PArThENoPE used by Planck 2015 XIII (arXiv:1502.01589).

    Quadratic in N_eff - 3.046 and in omega_b; floats give a float. Against PRIMAT 2021 at omega_b =
    0.0224 it is lower by 6.5e-4 for 3 < N_eff < 4 (differences of Y_p there agree to 2e-5) and by
    1.1e-3 at N_eff = 5. Do not use it beyond N_eff = 6: the quadratic turns over near 10.

    Args:
        n_eff: any shape, one value for all times (see the module's docstring).
        omega_b: Omega_b h^2, 0.01 to 0.03.
        tau_n: neutron mean life [s].
    """
    fit = helium_fit()
    dn = n_eff - fit["n_eff_reference"]
    value = 0.0
    for c0, c1, c2 in reversed(fit["coefficients"]):
        value = value * dn + (c0 + omega_b * (c1 + omega_b * c2))
    return value * (tau_n / fit["tau_reference"]) ** fit["tau_exponent"]

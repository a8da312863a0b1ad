"""H0 that the CMB prefers at a given N_eff: the degeneracy behind the Hubble-tension argument."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from typing import NamedTuple

import jax


class CmbPlane(NamedTuple):
    """Gaussian of (N_eff, H0) as the CMB measures them in LCDM + N_eff; H0 in km/s/Mpc."""

    n_eff: float
    n_eff_error: float
    h0: float
    """mean of H0"""
    slope: float
    """dH0/dN_eff along the degeneracy, rho sigma_H0/sigma_N"""
    scatter: float
    """standard deviation of H0 at fixed N_eff, sigma_H0 sqrt(1 - rho^2)"""


@functools.cache
def planck_plane() -> CmbPlane:
    """Planck 2018 TT,TE,EE+lowE+BAO; provenance in ``data/measurements/{hubble,n_eff}.toml``.

    Mean and error of N_eff are the published ones; slope and scatter come from the covariance of
    the public chain, whose sigma_N = 0.179 is near the published 0.17.
    """

    def entry(file: str, key: str) -> dict:
        path = resources.files("lmltdm_jax.data") / "measurements" / f"{file}.toml"
        return tomllib.loads(path.read_text(encoding="utf-8"))[key]

    n_eff, h0 = entry("n_eff", "planck18"), entry("hubble", "planck18_neff_plane")
    return CmbPlane(
        n_eff=n_eff["value"],
        n_eff_error=n_eff["error"],
        h0=h0["value"],
        slope=h0["slope_per_n_eff"],
        scatter=h0["scatter_given_n_eff"],
    )


def h0_preferred(n_eff: jax.Array) -> jax.Array:
    """Mean of Planck's H0 at this N_eff [km/s/Mpc]: 67.3 + 5.99 (N_eff - 2.99), +- 0.45.

    Linear, like the Gaussian it comes from: meant for |N_eff - 2.99| < 0.5 or so. Beyond it the
    CMB excludes the point anyhow.
    """
    plane = planck_plane()
    return plane.h0 + plane.slope * (n_eff - plane.n_eff)

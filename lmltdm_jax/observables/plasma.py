"""Thermodynamics of the MeV plasma: photons, electrons, neutrinos, Z', and their exchange rates.

MeV units, hbar = c = k = 1. Everything is dimensionless (divided by powers of the species'
temperature) so that no quantity over- or underflows. Used by ``thermal_history``.
"""

from __future__ import annotations

import functools
import math
from importlib import resources
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

from lmltdm_jax.numerics.bessel import k0e, k1e

G_FERMI = 1.1663787e-11  # MeV^-2, PDG 2024
M_ELECTRON = 0.51099895  # MeV, PDG 2024
M_PLANCK = 1.22089e22  # MeV, not reduced, CODATA 2018
ALPHA = 1 / 137.036  # fine-structure constant at zero momentum

# Neutrino-electron couplings at E < 10 MeV and Fermi-Dirac correction factors, arXiv:2001.04466
_COUPLINGS_E = 0.727**2 + 0.233**2
_COUPLINGS_MU = 2 * (0.273**2 + 0.233**2)  # mu and tau
_ANNIHILATION, _SCATTERING, _NUMBER = 0.884, 0.829, 0.852

NU_DOF, Z_DOF = 6.0, 3.0


class Electromagnetic(NamedTuple):
    """Photon + electron plasma at T_gamma; densities over T^4, rates over T^9 G_F^2/pi^5."""

    rho: jax.Array
    enthalpy: jax.Array  # rho + p
    drho_dlnt: jax.Array
    annihilation: jax.Array
    scattering: jax.Array
    number: jax.Array


@functools.cache
def _table() -> tuple[float, float, np.ndarray]:
    """(first ln T, step, coefficients (nodes - 1, 4, 6)) of the shipped table's cubic spline."""
    with resources.files("lmltdm_jax.data").joinpath("n_eff", "plasma.npz").open("rb") as stream:
        t = dict(np.load(stream))
    columns = [
        t["rho"],
        t["enthalpy"],
        t["drho_dlnt"],
        4 * 32 * _ANNIHILATION * (_COUPLINGS_E * t["nue_ann"] + _COUPLINGS_MU * t["numu_ann"]),
        4 * 56 * _SCATTERING * (_COUPLINGS_E * t["nue_scatt"] + _COUPLINGS_MU * t["numu_scatt"]),
        4 * 8 * _NUMBER * (_COUPLINGS_E * t["sigmav_nue"] + _COUPLINGS_MU * t["sigmav_numu"]),
    ]
    spline = CubicSpline(t["ln_t"], np.stack(columns, axis=-1))
    return (
        float(t["ln_t"][0]),
        float(t["ln_t"][1] - t["ln_t"][0]),
        np.ascontiguousarray(np.moveaxis(spline.c, 1, 0)),
    )


def electromagnetic(ln_t: jax.Array) -> Electromagnetic:
    """Plasma at ln(T_gamma/MeV); constant outside 3 keV < T < 300 MeV (its asymptotes)."""
    start, step, table = _table()
    coefficients = jnp.asarray(table)
    position = jnp.clip((ln_t - start) / step, 0.0, len(table) * (1 - 1e-14))
    index = jax.lax.stop_gradient(position).astype(int)
    c3, c2, c1, c0 = coefficients[index]
    t = (position - index) * step
    return Electromagnetic(*(((c3 * t + c2) * t + c1) * t + c0))


class NeutrinoMoments(NamedTuple):
    """n/T^3, rho/T^4 and derivatives along eta; along ln T they are 3 n and 4 rho."""

    n: jax.Array
    rho: jax.Array
    n_eta: jax.Array
    rho_eta: jax.Array


class MassiveMoments(NamedTuple):
    """Moments of massive particles over powers of T; K is the kinetic energy, rho = K + x n.

    ``n1``, ``k1``, ``k2`` are the integrals of f(1 +- f) times 1, (E - m)/T and its square: the
    derivatives of (n, K) at fixed physical momentum along (ln T, mu/T) are built from them.
    """

    n: jax.Array
    kinetic: jax.Array
    p: jax.Array
    n1: jax.Array
    k1: jax.Array
    k2: jax.Array


_STEP = 0.1
_GRID = _STEP * np.arange(1, 65)  # trapezoidal rule in sqrt((E - m)/T)


def neutrino_moments(eta: jax.Array) -> NeutrinoMoments:
    """Six massless Fermi-Dirac degrees of freedom with eta = mu/T.

    Trapezoidal rule in w = sqrt(p/T): the integrand is even and analytic up to
    |Im w| = sqrt(pi/2), hence exponentially accurate (1e-15 at spacing 0.1).
    """
    weight = 2 * _GRID * _STEP * NU_DOF / (2 * math.pi**2)
    p = _GRID**2
    f = jax.nn.sigmoid(eta - p)
    n, rho, n_eta = f @ (weight * p**2), f @ (weight * p**3), 2 * (f @ (weight * p))
    return NeutrinoMoments(n, rho, n_eta, 3 * n)


def massive_moments(x: jax.Array, gap: jax.Array, statistics: int = 1) -> MassiveMoments:
    """Three massive degrees of freedom, every entry multiplied by exp(gap).

    Args:
        x: m/T.
        gap: (m - mu)/T > 0; the rest-frame occupation is 1/(exp(gap) -+ 1).
        statistics: 1 for bosons, -1 for fermions.

    With (E - m)/T = w^2 the integrands are even and analytic in w up to
    |Im w| = min(sqrt(2 x), sqrt(gap)), so the trapezoidal rule with spacing 0.1 is accurate to
    exp(-20 pi |Im w|): 1e-12 for x = gap = 0.2.
    """
    t = _GRID**2
    energy = x + t
    p = _GRID * jnp.sqrt(t + 2 * x)
    exponential = -gap - t
    inverse = -jnp.expm1(exponential) if statistics > 0 else 1 + jnp.exp(exponential)
    enhanced = 1 / inverse  # 1 +- f
    phase = 2 * _GRID * _STEP * Z_DOF / (2 * math.pi**2) * p * energy * jnp.exp(-t)
    f = phase * enhanced
    df = f * enhanced
    return MassiveMoments(
        jnp.sum(f), f @ t, jnp.sum(p**2 / (3 * energy) * f), jnp.sum(df), df @ t, df @ t**2
    )


@jax.custom_jvp
def _k01e(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """exp(x) (K0, K1)(x)."""
    return k0e(x), k1e(x)


@_k01e.defjvp
def _k01e_jvp(primals, tangents):
    # Recurrences instead of differentiated series: the Jacobian's own derivative compiles in a
    # third of the time. They cancel to 1/x, so from x = 1e3 on the difference is taken from the
    # asymptotic series (DLMF 10.40.2; relative error 0.51/x^3).
    (x,), (dx,) = primals, tangents
    k0, k1 = _k01e(x)
    series = jnp.sqrt(math.pi / 8) * x**-1.5 * (1 - 0.375 / x * (1 - 0.9375 / x))
    difference = jnp.where(x < 1e3, k1 - k0, series)
    return (k0, k1), (-difference * dx, (difference - k1 / x) * dx)


def decay_densities(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """exp(x) (h1, h2)/m^4 for x = m/T: h1 = 3 m^3 T K1(x)/(2 pi^2), h2 with K2.

    m n<m/E> and m n of a Maxwell-Boltzmann gas of three degrees of freedom: a decay width times
    h1 is m times the number decaying per volume and time, times h2 the energy.
    """
    prefactor = Z_DOF / (2 * math.pi**2) / x
    k0, k1 = _k01e(x)
    return prefactor * k1, prefactor * (k0 + 2 * k1 / x)


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)


def log_density_ratios(x: jax.Array, d: jax.Array) -> tuple[jax.Array, jax.Array]:
    """ln of (h1, h2) at temperature T e^d over those at T, x = m/T, without cancellation.

    d ln h1/d ln T = 2 + y K0/K1 and d ln h2/d ln T = 3 + y K1/K2 at y = m/T, integrated by
    six-point Gauss-Legendre: the relative accuracy survives d -> 0, which forming the two values
    and subtracting would not (the result is multiplied by Gamma/H up to 1e10).
    """
    y = x * jnp.exp(-0.5 * d * (1 + _NODES))
    k0, k1 = _k01e(y)
    k2 = k0 + 2 * k1 / y
    slope1, slope2 = 2 + y * k0 / k1, 3 + y * k1 / k2
    return 0.5 * d * jnp.sum(_WEIGHTS * slope1), 0.5 * d * jnp.sum(_WEIGHTS * slope2)


def weak_exchange(
    em: Electromagnetic, t_gamma: jax.Array, d: jax.Array, eta: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(energy/T_gamma^4, number/T_gamma^3) given by e+- to the neutrinos per time [MeV].

    arXiv:2001.04466 eqs. for delta rho/delta t and delta n/delta t with Maxwell-Boltzmann
    kernels, Fermi-Dirac factors and electron-mass factors; d = ln(T_nu/T_gamma), eta = mu_nu/T_nu,
    one T_nu for three flavours. Differences are built from expm1 so that they vanish exactly in
    equilibrium.
    """
    rate = G_FERMI**2 / math.pi**5 * t_gamma**5
    annihilation = -em.annihilation * jnp.expm1(9 * d + 2 * eta)
    scattering = -em.scattering * jnp.exp(eta + 4 * d) * jnp.expm1(d)
    return rate * (annihilation + scattering), -rate * em.number * jnp.expm1(8 * d + 2 * eta)

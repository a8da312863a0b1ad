"""Constants of the thermal average: places in x, nodes, Boltzmann factors, series of K_1."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

STEP = 0.5
"""Of the trapezoidal rule in t = ln(u - u_c)."""
T_FIRST, _N_NODES = -20.75, 49
FINER, FINER_FROM = 14.0, -4.0
"""More nodes per unit of t in the row of hadrons, and from which t on."""
_X_CENTRE, _X_SCALE = 25.0, 0.7
_LN_X_END = math.log(1e6)
N_SERIES = 5
N_TAYLOR = 3


def x_of(xi: np.ndarray) -> np.ndarray:
    """x on the mapped axis xi in [0, 1]: 1 at 0, 1e6 at 1, densest (in ln x) around x = 25."""
    centre = math.log(_X_CENTRE)
    low, high = math.asinh(-centre / _X_SCALE), math.asinh((_LN_X_END - centre) / _X_SCALE)
    return np.exp(centre + _X_SCALE * np.sinh(low + (high - low) * xi))


def xi_of(ln_x: jax.Array) -> jax.Array:
    """Inverse of :func:`x_of`, traceable."""
    centre = math.log(_X_CENTRE)
    low, high = math.asinh(-centre / _X_SCALE), math.asinh((_LN_X_END - centre) / _X_SCALE)
    return (jnp.arcsinh((ln_x - centre) / _X_SCALE) - low) / (high - low)


class Nodes(NamedTuple):
    delta: np.ndarray
    """u - u_c"""
    boltzmann: np.ndarray
    """(n_x, n_nodes): dt exp(-x_i delta_j)"""


class Tables(NamedTuple):
    x: np.ndarray
    nodes: Nodes
    finer: Nodes
    """Those of the row of hadrons"""
    powers: np.ndarray
    """(n_x, n_series): c_k x_i^(-k - 1/2)"""
    derivatives: np.ndarray
    """(n_x, n_taylor * powers): of K, n-th one exp[-x_i (u - 2)] sum_k d_ink u^(-k - 1/2)"""
    prefactor: np.ndarray
    """(n_x,): x/(4 [exp(x) K_2(x)]^2)"""


@functools.cache
def tables(n_x: int) -> Tables:
    """Constants for the averages at x_of(linspace(0, 1, n_x))."""
    x = x_of(np.linspace(0.0, 1.0, n_x))
    t = T_FIRST + STEP * np.arange(_N_NODES)
    # sqrt(z) exp(z) K_1(z) = sum_k c_k z^-k: Chebyshev fit, error 1e-6 for z > 2.5, 3e-5 at 2.
    fit = np.polynomial.Chebyshev.interpolate(
        lambda r: special.k1e(1.0 / r) / np.sqrt(r), N_SERIES - 1, domain=[1e-9, 0.4]
    )
    c = fit.convert(kind=np.polynomial.Polynomial).coef
    powers = c * x[:, None] ** (-np.arange(N_SERIES) - 0.5)

    def at(t: np.ndarray, dt: np.ndarray | float) -> Nodes:
        delta = np.exp(t)
        return Nodes(delta, dt * np.exp(-np.outer(x, delta)))

    return Tables(
        x,
        at(t, STEP),
        at(*_finer_nodes(t[-1])),
        powers,
        _derivatives(x, powers),
        x / (4.0 * special.kve(2, x) ** 2),
    )


def _derivatives(x: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """d/du of exp(-x u) u^(-k-1/2) is -x of itself and -(k + 1/2) of the next power."""
    found = [np.pad(powers, ((0, 0), (0, N_TAYLOR - 1)))]
    k = np.arange(found[0].shape[1])
    for _ in range(N_TAYLOR - 1):
        of_previous = np.roll((k + 0.5) * found[-1], 1, axis=1)
        found.append(-x[:, None] * found[-1] - of_previous)
    return np.concatenate(found, axis=1)


def _finer_nodes(t_last: float) -> tuple[np.ndarray, np.ndarray]:
    """t and dt of the nodes in the row of hadrons, up to ``t_last``.

    (t - T_FIRST)/STEP + FINER ln[1 + exp(t - FINER_FROM)] = 0, 1, 2, ...: 2 nodes per unit of t
    below t = -7, 16 above t = -1.
    """

    def cycle(t: np.ndarray) -> np.ndarray:
        return (t - T_FIRST) / STEP + FINER * np.log1p(np.exp(t - FINER_FROM))

    def dt(t: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 / STEP + FINER / (1.0 + np.exp(FINER_FROM - t)))

    t = np.linspace(T_FIRST - STEP, t_last, 4000)
    wanted = np.arange(int(cycle(t)[-1]) + 1)
    nodes = np.interp(wanted, cycle(t), t)
    for _ in range(3):
        nodes = nodes - (cycle(nodes) - wanted) * dt(nodes)
    return nodes, dt(nodes)

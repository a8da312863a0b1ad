"""Fixed quadrature nodes, computed once per process on first use."""

import functools

import numpy as np


@functools.cache
def gauss_legendre(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of n-point Gauss-Legendre on [0, 1]; shape (n,) each, float64."""
    x, w = np.polynomial.legendre.leggauss(n)
    return 0.5 * (x + 1.0), 0.5 * w

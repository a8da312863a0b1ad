"""An archive of points with a density: a Student kernel on every one, shaped by its neighbours."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial import KDTree
from scipy.special import gammaln

_NEIGHBOURS = 64
_KERNEL_WIDTH = 0.5
"""Kernel scale over the spread of the neighbours."""
_DEGREES = 5.0
_ROUND = 1e-3
"""Least extent of a kernel over that of the archive, in quadrature."""
_ROWS = 256
"""Points whose distances from every kernel are held at once: 4 MB for 2048 kernels, in cache."""


@dataclasses.dataclass(frozen=True)
class Archive:
    """Points (m, d), none twice, with the kernel density over them."""

    points: np.ndarray
    factors: np.ndarray
    """(m, d, d): Cholesky factors of the kernels' scale matrices"""
    forms: np.ndarray
    """(features, m): their product with (pairs of coordinates, coordinates, 1) of a standardised
    point is its squared distance from each kernel"""
    log_norms: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, y: np.ndarray) -> Archive:
        """From a population (n, d); members that occur twice count once."""
        points = np.unique(y, axis=0)
        m, d = points.shape
        centre = points.mean(axis=0)
        scale = points.std(axis=0) + 1e-12 * (1.0 + np.abs(centre))
        z = (points - centre) / scale
        near = np.asarray(KDTree(z).query(z, min(_NEIGHBOURS, m))[1])
        offset = z[near] - z[near].mean(axis=1, keepdims=True)
        covariance = np.einsum("mki,mkj->mij", offset, offset) / near.shape[1]
        covariance = _KERNEL_WIDTH**2 * covariance + _ROUND**2 * np.eye(d)
        factors = np.linalg.cholesky(covariance)
        precision = np.linalg.inv(covariance)
        shifted = np.einsum("mij,mj->mi", precision, z)
        rows, columns = np.triu_indices(d)
        pairs = precision[:, rows, columns] * np.where(rows == columns, 1.0, 2.0)
        constant = np.sum(shifted * z, axis=1, keepdims=True)
        forms = np.concatenate([pairs, -2.0 * shifted, constant], axis=1).T
        log_norms = -np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
        return cls(points, factors, forms, log_norms, centre, scale)

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """(n, d) draws from the kernel density."""
        m, d = self.points.shape
        member = rng.integers(m, size=n)
        t = rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(_DEGREES, (n, 1)) / _DEGREES)
        return self.points[member] + self.scale * np.einsum("nij,nj->ni", self.factors[member], t)

    def log_density(self, y: np.ndarray) -> np.ndarray:
        """(n,): ln of the kernel density at y (n, d)."""
        starts = range(0, len(y), _ROWS)
        parts = [self._log_density(y[start : start + _ROWS]) for start in starts]
        return np.concatenate(parts)

    def _log_density(self, y: np.ndarray) -> np.ndarray:
        m, d = self.points.shape
        z = (y - self.centre) / self.scale
        rows, columns = np.triu_indices(d)
        features = np.concatenate([z[:, rows] * z[:, columns], z, np.ones((len(z), 1))], axis=1)
        # In place: with a new array a step, fetching the memory took ten times as long.
        kernel = features @ self.forms
        np.maximum(kernel, 0.0, out=kernel)
        kernel /= _DEGREES
        np.log1p(kernel, out=kernel)
        kernel *= -0.5 * (_DEGREES + d)
        kernel += self.log_norms
        highest = kernel.max(axis=1)
        kernel -= highest[:, None]
        np.exp(kernel, out=kernel)
        norm = gammaln(0.5 * (_DEGREES + d)) - gammaln(0.5 * _DEGREES)
        norm -= 0.5 * d * np.log(_DEGREES * np.pi) + np.log(m) + np.log(self.scale).sum()
        return norm + highest + np.log(kernel.sum(axis=1))

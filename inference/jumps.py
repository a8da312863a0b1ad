"""Population moves: Metropolis proposals built from an archive of points, no gradient, no tuning.

Two kinds, chosen at random for every point and step; for a fixed archive both are exact.

* Differences (ter Braak, Stat. Comput. 16 (2006) 239; with a fixed archive: ter Braak and Vrugt,
  Stat. Comput. 18 (2008) 435): y' = y + gamma (a - b) with a, b from the archive is symmetric
  whatever the archive is. Differences have the shape of the population; with gamma = 1 those
  between two modes carry a point from one mode to the other.
* Independent draws from a density, accepted with the ratio of densities (Hastings): one acceptance
  forgets where the point was, in whatever mode. The archive is such a density itself, with a
  Student kernel on every member, shaped by the covariance of its neighbours.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial import KDTree
from scipy.special import gammaln, logsumexp

from .flow import Density
from .target import Evaluated, Target, evaluate

INDEPENDENT = 0.5
"""Share of independent draws."""
MODE_JUMP = 0.25
"""Share of differences with gamma = 1 in all coordinates."""
_KEPT = (0.3, 0.6, 1.0)
"""Probabilities that a coordinate takes part in a difference."""
_NEIGHBOURS = 64
_KERNEL_WIDTH = 0.5
"""Kernel scale over the spread of the neighbours."""
_DEGREES = 5.0
_ROUND = 1e-3
"""Least extent of a kernel over that of the archive, in quadrature."""
_ROWS = 4096
"""Points whose distances from every kernel are held at once: 64 MB for 2048 kernels."""


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
        distance2 = np.maximum(features @ self.forms, 0.0)
        norm = gammaln(0.5 * (_DEGREES + d)) - gammaln(0.5 * _DEGREES)
        norm -= 0.5 * d * np.log(_DEGREES * np.pi) + np.log(m) + np.log(self.scale).sum()
        kernel = -0.5 * (_DEGREES + d) * np.log1p(distance2 / _DEGREES)
        return norm + logsumexp(kernel + self.log_norms, axis=1)


def difference(rng: np.random.Generator, y: np.ndarray, archive: Archive) -> np.ndarray:
    """Proposals (n, d) for points ``y`` (n, d): steps along differences of the archive."""
    n, d = y.shape
    points = archive.points
    first = rng.integers(len(points), size=n)
    second = (first + rng.integers(1, len(points), size=n)) % len(points)
    kept = rng.uniform(size=(n, d)) < rng.choice(_KEPT, size=(n, 1))
    kept[np.arange(n), rng.integers(d, size=n)] = True
    optimal = 2.38 / np.sqrt(2.0 * kept.sum(axis=1, keepdims=True))
    gamma = optimal * np.exp(rng.uniform(-2.0, 0.2, size=(n, 1)))
    jump = rng.uniform(size=(n, 1)) < MODE_JUMP
    step = np.where(jump, 1.0, gamma * kept) * (points[first] - points[second])
    # A little noise reaches what no difference of the archive does.
    return y + step + 1e-4 * archive.scale * rng.standard_normal((n, d))


def propose(
    rng: np.random.Generator, y: np.ndarray, archive: Archive, density: Density
) -> tuple[np.ndarray, np.ndarray]:
    """Proposals (n, d) for points ``y`` (n, d), and ln of q(y | y')/q(y' | y) (n,)."""
    independent = rng.uniform(size=len(y)) < INDEPENDENT
    drawn = density.draw(rng, len(y))
    new = np.where(independent[:, None], drawn, difference(rng, y, archive))
    log_ratio = np.zeros(len(y))
    if independent.any():
        both = np.concatenate([y[independent], new[independent]])
        here, there = np.split(density.log_density(both), 2)
        log_ratio[independent] = here - there
    return new, log_ratio


def sweep(
    rng: np.random.Generator,
    target: Target,
    points: Evaluated,
    archive: Archive,
    temperature: float = 1.0,
    density: Density | None = None,
) -> tuple[Evaluated, np.ndarray]:
    """One Metropolis step of every point on prior x likelihood^temperature.

    ``density`` proposes the independent draws, the archive's own if None.

    Returns the points and which of them moved (n,).
    """
    y, log_ratio = propose(rng, points.y, archive, density or archive)
    new = evaluate(target, y)
    log_ratio = log_ratio + new.log_prior - points.log_prior
    log_ratio = log_ratio + temperature * (new.log_likelihood - points.log_likelihood)
    accepted = np.log(rng.uniform(size=len(points.y))) < log_ratio
    return points.updated(accepted, new), accepted

"""Densities that can be drawn from and evaluated anywhere: what they are, mixtures, broad tails."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import gammaln, logsumexp

_DEGREES = 2.0


class Density(Protocol):
    """A normalised density over y."""

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """(n, dimension) independent draws."""
        ...

    def log_density(self, y: np.ndarray) -> np.ndarray:
        """ln density (n,) at y (n, dimension)."""
        ...


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Densities with shares that add up to one."""

    parts: Sequence[Density]
    shares: Sequence[float]

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        counts = rng.multinomial(n, self.shares)
        drawn = [part.draw(rng, int(k)) for part, k in zip(self.parts, counts, strict=True) if k]
        return rng.permutation(np.concatenate(drawn))

    def log_density(self, y: np.ndarray) -> np.ndarray:
        each = np.stack([part.log_density(y) for part in self.parts])
        return logsumexp(each + np.log(np.asarray(self.shares))[:, None], axis=0)


@dataclasses.dataclass(frozen=True)
class Student:
    """Student's distribution with two degrees of freedom and the covariance of points as its scale
    matrix: some density far outside, where points are few and a fit to them has none."""

    centre: np.ndarray
    factor: np.ndarray
    """Cholesky factor of the scale matrix"""

    @classmethod
    def of(cls, y: np.ndarray) -> Self:
        """Of points (n, dimension)."""
        return cls(y.mean(axis=0), np.linalg.cholesky(np.atleast_2d(np.cov(y.T))))

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        normal = rng.standard_normal((n, len(self.centre)))
        stretch = np.sqrt(rng.chisquare(_DEGREES, (n, 1)) / _DEGREES)
        return self.centre + normal / stretch @ self.factor.T

    def log_density(self, y: np.ndarray) -> np.ndarray:
        d = len(self.centre)
        z = solve_triangular(self.factor, (y - self.centre).T, lower=True)
        norm = gammaln(0.5 * (_DEGREES + d)) - gammaln(0.5 * _DEGREES)
        norm -= 0.5 * d * np.log(_DEGREES * np.pi) + np.log(np.diagonal(self.factor)).sum()
        return norm - 0.5 * (_DEGREES + d) * np.log1p(np.sum(z**2, axis=0) / _DEGREES)

"""Population moves: Metropolis proposals built from an archive of points, no gradient, no tuning.

Three kinds, chosen at random for every point and step; for a fixed archive all are exact.

* Differences (ter Braak, Stat. Comput. 16 (2006) 239; with a fixed archive: ter Braak and Vrugt,
  Stat. Comput. 18 (2008) 435): y' = y + gamma (a - b) with a, b from the archive is symmetric
  whatever the archive is. Differences have the shape of the population; with gamma = 1 those
  between two modes carry a point from one mode to the other.
* Crossings from one branch of the relic shell to the other, along the shell's axis.
* Independent draws from the archive's kernel density, accepted with the ratio of densities
  (Hastings): one acceptance forgets where the point was, in whatever mode.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .archive import Archive
from .target import Evaluated, Target, to_upper_branch

INDEPENDENT = 0.5
"""Share of independent draws."""
MODE_JUMP = 0.25
"""Share of differences with gamma = 1 in all coordinates."""
CROSSING = 0.15
"""Share of crossings to the other branch of the shell among what is not independent."""
_SPREAD = (-3.0, -0.7)
"""log10 of the spread of a crossing [dex]."""
_KEPT = (0.3, 0.6, 1.0)
"""Probabilities that a coordinate takes part in a difference."""

Cross = Callable[[np.random.Generator, np.ndarray], np.ndarray]
"""Symmetric proposals (n, d) for points (n, d)."""
Propose = Callable[[np.random.Generator, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Proposals (n, d) for points y (n, d), and ln of q(y | y')/q(y' | y) (n,)."""


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


def crossing(target: Target) -> Cross | None:
    """Moves to the other branch of the relic shell of a target; None if it has no shell.

    The distance between the branches is known roughly and does not depend on where along the axis
    the point is: adding or subtracting it, with a spread of any size, is symmetric.
    """
    axis = target.shell_axis
    if axis is None:
        return None

    def cross(rng: np.random.Generator, y: np.ndarray) -> np.ndarray:
        if len(y) == 0:
            return y
        sign = rng.choice((-1.0, 1.0), size=len(y))
        spread = 10.0 ** rng.uniform(*_SPREAD, size=len(y)) * rng.standard_normal(len(y))
        new = y.copy()
        new[:, axis] += sign * to_upper_branch(target, y) + spread
        return new

    return cross


def proposer(archive: Archive, cross: Cross | None = None) -> Propose:
    """Proposals of all kinds, from one archive."""

    def propose(rng: np.random.Generator, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        independent = rng.uniform(size=len(y)) < INDEPENDENT
        drawn = archive.draw(rng, len(y))
        new = np.where(independent[:, None], drawn, difference(rng, y, archive))
        if cross is not None:
            crossing = ~independent & (rng.uniform(size=len(y)) < CROSSING)
            new[crossing] = cross(rng, y[crossing])
        log_ratio = np.zeros(len(y))
        if independent.any():
            both = np.concatenate([y[independent], new[independent]])
            here, there = np.split(archive.log_density(both), 2)
            log_ratio[independent] = here - there
        return new, log_ratio

    return propose


def sweep(
    rng: np.random.Generator,
    evaluate: Callable[[np.ndarray], Evaluated],
    points: Evaluated,
    propose: Propose,
    temperature: float = 1.0,
) -> tuple[Evaluated, np.ndarray]:
    """One Metropolis step of every point on prior x likelihood^temperature.

    Returns the points and which of them moved (n,).
    """
    y, log_ratio = propose(rng, points.y)
    new = evaluate(y)
    log_ratio = log_ratio + new.log_prior - points.log_prior
    log_ratio = log_ratio + temperature * (new.log_likelihood - points.log_likelihood)
    accepted = np.log(rng.uniform(size=len(points.y))) < log_ratio
    return points.updated(accepted, new), accepted

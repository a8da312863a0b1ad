"""Population moves: Metropolis proposals built from an archive of points, no gradient, no tuning.

Three kinds, chosen at random for every point and step; for a fixed archive all are exact.

* Differences (ter Braak, Stat. Comput. 16 (2006) 239; with a fixed archive: ter Braak and Vrugt,
  Stat. Comput. 18 (2008) 435): y' = y + gamma (a - b) with a, b from the archive is symmetric
  whatever the archive is. Differences have the shape of the population; with gamma = 1 those
  between two modes carry a point from one mode to the other.
* Crossings from one branch of the relic shell to the other, along the shell's axis.
* Independent draws from a density, accepted with the ratio of densities (Hastings): one acceptance
  forgets where the point was, in whatever mode. The archive is such a density itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .archive import Archive
from .flow import Density
from .target import Evaluated, Target, evaluate, to_upper_branch

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


def cross(rng: np.random.Generator, target: Target, y: np.ndarray) -> np.ndarray:
    """Proposals (n, d) for points ``y`` (n, d): to the other branch of the relic shell.

    The distance between the branches is known roughly and does not depend on where along the axis
    the point is: adding or subtracting it, with a spread of any size, is symmetric.
    """
    if len(y) == 0:
        return y
    sign = rng.choice((-1.0, 1.0), size=len(y))
    spread = 10.0 ** rng.uniform(*_SPREAD, size=len(y)) * rng.standard_normal(len(y))
    new = y.copy()
    new[:, target.shell_axis] += sign * to_upper_branch(target, y) + spread
    return new


def propose(
    rng: np.random.Generator, target: Target, y: np.ndarray, archive: Archive, density: Density
) -> tuple[np.ndarray, np.ndarray]:
    """Proposals (n, d) for points ``y`` (n, d), and ln of q(y | y')/q(y' | y) (n,)."""
    independent = rng.uniform(size=len(y)) < INDEPENDENT
    drawn = density.draw(rng, len(y))
    new = np.where(independent[:, None], drawn, difference(rng, y, archive))
    if target.shell_axis is not None:
        crossing = ~independent & (rng.uniform(size=len(y)) < CROSSING)
        new[crossing] = cross(rng, target, y[crossing])
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
    within: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[Evaluated, np.ndarray]:
    """One Metropolis step of every point on prior x likelihood^temperature.

    ``density`` proposes the independent draws, the archive's own if None. With ``within``, y (n, d)
    to bool (n,), the points stay where it is true.

    Returns the points and which of them moved (n,).
    """
    y, log_ratio = propose(rng, target, points.y, archive, density or archive)
    new = evaluate(target, y)
    log_ratio = log_ratio + new.log_prior - points.log_prior
    log_ratio = log_ratio + temperature * (new.log_likelihood - points.log_likelihood)
    accepted = np.log(rng.uniform(size=len(points.y))) < log_ratio
    if within is not None:
        accepted &= within(y)
    return points.updated(accepted, new), accepted

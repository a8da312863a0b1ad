"""Population moves: differences of the members of an archive as Metropolis proposals.

Differential evolution (ter Braak, Stat. Comput. 16 (2006) 239; with a fixed archive: ter Braak and
Vrugt, Stat. Comput. 18 (2008) 435). y' = y + gamma (a - b) with a, b drawn from the archive is
symmetric whatever the archive is, so plain Metropolis acceptance is exact. Differences have the
shape of the population: they need no tuning, and with gamma = 1 those between two modes carry a
point from one mode to the other.
"""

from __future__ import annotations

import numpy as np

from .target import Evaluated, Target, evaluate

MODE_JUMP = 0.25
"""Share of proposals with gamma = 1 in all coordinates."""
_KEPT = (0.3, 0.6, 1.0)
"""Probabilities that a coordinate takes part in a move."""


def propose(rng: np.random.Generator, y: np.ndarray, archive: np.ndarray) -> np.ndarray:
    """Proposals (n, d) for points ``y`` (n, d) from an ``archive`` (m, d), m > 2."""
    n, d = y.shape
    first = rng.integers(len(archive), size=n)
    second = (first + rng.integers(1, len(archive), size=n)) % len(archive)
    kept = rng.uniform(size=(n, d)) < rng.choice(_KEPT, size=(n, 1))
    kept[np.arange(n), rng.integers(d, size=n)] = True
    optimal = 2.38 / np.sqrt(2.0 * kept.sum(axis=1, keepdims=True))
    gamma = optimal * np.exp(rng.uniform(-2.0, 0.2, size=(n, 1)))
    jump = rng.uniform(size=(n, 1)) < MODE_JUMP
    step = np.where(jump, 1.0, gamma * kept) * (archive[first] - archive[second])
    # A little noise reaches what no difference of the archive does.
    return y + step + 1e-4 * archive.std(axis=0) * rng.standard_normal((n, d))


def sweep(
    rng: np.random.Generator,
    target: Target,
    points: Evaluated,
    archive: np.ndarray,
    temperature: float = 1.0,
) -> tuple[Evaluated, np.ndarray]:
    """One Metropolis step of every point on prior x likelihood^temperature.

    Returns the points and which of them moved (n,).
    """
    new = evaluate(target, propose(rng, points.y, archive))
    log_ratio = new.log_prior - points.log_prior
    log_ratio = log_ratio + temperature * (new.log_likelihood - points.log_likelihood)
    accepted = np.log(rng.uniform(size=len(points.y))) < log_ratio
    return points.updated(accepted, new), accepted

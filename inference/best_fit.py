"""The best fit: the lowest of minima from many starts, also where it sits on a pole.

At a narrow pole chi2 changes with a ratio of masses over 1e-6 and less, and not as a sum of squares
does (the theory error of the relic density enters by its ln). A minimisation of everything
(:mod:`minimise`) then takes steps as short as that along all coordinates, and ends in the valley.
Poles and thresholds lie at ratios of masses. So three moves take turns: everything; all but the
masses; masses, any two or more of them, along shifts that leave their ratios.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from .minimise import chi2_of, minimise
from .target import Target, evaluate

_KEPT = 16
"""Of the minima, the best: where the next turn starts."""
_SETTLED, _TURNS = 1e-3, 30
"""Turns end when the lowest chi2 falls by less than this, and after so many at most."""
_SHIFTS = np.outer([-1.0, 1.0], np.geomspace(1e-3, 0.5, 12)).ravel()
"""Of masses [dex]."""


def best_fit(
    target: Target,
    y: np.ndarray,
    belongs: Callable[[np.ndarray], np.ndarray] = lambda y: np.ones(len(y), bool),
) -> np.ndarray:
    """y (dimension,) of the lowest chi2 (:func:`chi2_of`).

    Args:
        target: posterior whose likelihood is meant.
        y: starts (n, dimension), best first.
        belongs: which of some points (k, dimension) may be the best fit, (k,); if no minimum does,
            it is the first start.
    """
    everything = np.ones(target.dimension, bool)
    all_but_masses = everything.copy()
    all_but_masses[target.coordinates.prior.masses] = False
    lowest = np.inf
    for _ in range(_TURNS):
        found = minimise(target, minimise(target, y, everything).y, all_but_masses).y
        found, chi2 = _shifted(target, found)
        inside = np.flatnonzero(belongs(found))
        if not len(inside):
            break
        order = inside[np.argsort(chi2[inside])][:_KEPT]
        y, before, lowest = found[order], lowest, chi2[order[0]]
        if before - lowest < _SETTLED:
            break
    return y[0]


def _shifted(target: Target, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every point y (n, dimension) where the best of the shifts of its masses takes it, and chi2
    (n,) there; where none is better it stays."""
    masses, prior = target.coordinates.prior.masses, target.coordinates.prior
    sets = [c for k in range(2, len(masses) + 1) for c in itertools.combinations(masses, k)]
    shifts = np.zeros((1 + len(sets) * len(_SHIFTS), y.shape[1]))
    for row, (moved, by) in enumerate(itertools.product(sets, _SHIFTS), start=1):
        shifts[row, moved] = by
    x = np.asarray(prior.box_from_unconstrained(jnp.asarray(y)))[:, None] + shifts
    low, high = prior.box
    n = len(low)
    possible = np.all((shifts[:, :n] == 0.0) | ((x[..., :n] > low) & (x[..., :n] < high)), axis=-1)
    # Evaluated all the same, so any point inside serves; its chi2 is thrown away.
    x[~possible] = x[0, 0]
    tried = np.where(shifts == 0.0, y[:, None], prior.unconstrained_from_box(jnp.asarray(x)))
    points = evaluate(target, tried.reshape(-1, y.shape[1]))
    chi2 = np.where(possible, chi2_of(target, points).reshape(possible.shape), np.inf)
    best = np.arange(len(y)), np.argmin(chi2, axis=1)
    return tried[best], chi2[best]

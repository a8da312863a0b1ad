"""The cells of a profile: where the scanned parameters stand, and which cells are neighbours.

Cells are even in box coordinates (log10 where the prior is) over the prior range. A cell fixes its
coordinates at its centre; the minimiser moves the others.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import jax
import numpy as np

from lmltdm_jax.errors import InputError
from lmltdm_jax.numerics.compiling import top_level_jit

from .coordinates import Coordinates
from .lanes import in_lanes
from .prior import Prior
from .target import Target

SMALLEST, LARGEST = 2, 1000
_EDGE = 1e-6
"""Of a range: what follows a mass out of it stops so far inside."""


@dataclasses.dataclass(frozen=True)
class Grid:
    """``size`` cells along each of one or two parameters; a cell is counted with the last fastest.

    Made by :meth:`over`, which checks.
    """

    prior: Prior
    names: tuple[str, ...]
    size: int

    @classmethod
    def over(cls, prior: Prior, names: Sequence[str], size: int) -> Grid:
        """Cells over the prior range of ``names``.

        Raises:
            InputError: a name that is not sampled, the same twice, or a size out of range.
        """
        known = [info.name for info in prior.parameters]
        for axis, name in zip("xy", names, strict=False):
            if name not in known:
                raise InputError(
                    f"{axis}: '{name}' is not a sampled parameter; known: {', '.join(known)}"
                )
        if len(set(names)) < len(names):
            raise InputError(f"y: '{names[1]}' is x already; choose another or leave y out")
        if not SMALLEST <= size <= LARGEST:
            raise InputError(f"size = {size} is outside its range ({SMALLEST} to {LARGEST})")
        return cls(prior, tuple(names), size)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,) * len(self.names)

    @property
    def axes(self) -> list[int]:
        """Where the scanned parameters are among the coordinates."""
        return [self.prior.names.index(name) for name in self.names]

    @property
    def free(self) -> np.ndarray:
        """(dimension,): coordinates that are minimised over."""
        free = np.ones(self.prior.dimension, bool)
        free[self.axes] = False
        return free

    def centres(self, axis: int) -> np.ndarray:
        """(size,) box coordinates along one of the scanned parameters."""
        low, high = (ends[self.axes[axis]] for ends in self.prior.box)
        return low + (high - low) * (np.arange(self.size) + 0.5) / self.size

    def values(self, axis: int) -> np.ndarray:
        """(size,) physical values along one of the scanned parameters."""
        x = self.centres(axis)
        return 10.0**x if self.prior.is_log[self.axes[axis]] else x

    def cell_of(self, x: np.ndarray) -> np.ndarray:
        """(n, len(names)): where points with box coordinates x (n, dimension) are, in cells."""
        low, high = (ends[self.axes] for ends in self.prior.box)
        return (x[:, self.axes] - low) / (high - low) * self.size - 0.5

    @property
    def moves(self) -> list[tuple[int | None, tuple[int, ...]]]:
        """Ways to take a point to a cell: coordinates that keep their ratio to a scanned one.

        None, and any of the free masses with a scanned mass: poles and thresholds lie at ratios of
        masses, and what sits on one stays there. Each is (scanned coordinate, those that follow).
        """
        free = [i for i in self.prior.masses if i not in self.axes]
        scanned = [i for i in self.prior.masses if i in self.axes]
        sets = [c for n in range(1, len(free) + 1) for c in itertools.combinations(free, n)]
        return [(None, ()), *itertools.product(scanned, sets)]

    def projected(
        self, y: np.ndarray, cells: np.ndarray, moves: np.ndarray | None = None
    ) -> np.ndarray:
        """Points y (n, dimension) moved to the centres of ``cells`` (n,) in one of ``moves`` each
        (n,); unless given all else is unchanged."""
        place = np.unravel_index(cells, self.shape)
        before = in_lanes(_box, self.prior, y, cheap=True)
        after, changed = before.copy(), list(self.axes)
        for axis, index in enumerate(self.axes):
            after[:, index] = self.centres(axis)[place[axis]]
        for number, (leader, following) in enumerate(self.moves if moves is not None else []):
            rows = np.flatnonzero(moves == number)
            for index in following:
                low, high = (ends[index] for ends in self.prior.box)
                inside = _EDGE * (high - low)
                x = before[rows, index] + after[rows, leader] - before[rows, leader]
                after[rows, index] = np.clip(x, low + inside, high - inside)
                changed.append(index)
        opened = in_lanes(_unconstrained, self.prior, after, cheap=True)
        moved = np.where(after == before, y, opened)
        return np.where(np.isin(np.arange(y.shape[1]), changed), moved, y)

    def neighbours(self) -> np.ndarray:
        """(cells, 2 len(names)): the cells beside each; -1 beyond the edge."""
        cells = np.arange(self.size ** len(self.names)).reshape(self.shape)
        padded = np.pad(cells, 1, constant_values=-1)
        inner = (slice(1, -1),) * cells.ndim
        beside = [np.roll(padded, s, a)[inner] for a in range(cells.ndim) for s in (1, -1)]
        return np.stack(beside, axis=-1).reshape(cells.size, -1)


@top_level_jit
def _box(prior: Prior, t: jax.Array) -> jax.Array:
    return prior.box_from_unconstrained(t)


@top_level_jit
def _unconstrained(prior: Prior, x: jax.Array) -> jax.Array:
    return prior.unconstrained_from_box(x)


def scannable(target: Target, names: Sequence[str]) -> Target:
    """The target in coordinates in which fixing those of ``names`` fixes the parameters.

    All are but the one along which the relic-density shell is straightened.
    """
    coordinates = target.coordinates
    axis = coordinates.shell_axis
    if axis is None or coordinates.prior.names[axis] not in names:
        return target
    return dataclasses.replace(target, coordinates=Coordinates(coordinates.prior, adapted=False))

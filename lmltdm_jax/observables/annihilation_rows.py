"""All annihilation channels of a point as rows of one array: each formula is evaluated once.

The numbers are those of :func:`annihilation.channels`, whose families have different poles and
masses; one array for all rows needs a fifth of the operations, which is what compile time goes by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.model import Point
from lmltdm_jax.observables.annihilation import (
    Angular,
    Energy,
    Hadrons,
    Terms,
    angular_averages,
    channels,
)
from lmltdm_jax.widths import Widths

_POLES = {"vector": (0, 0), "scalar": (1, 2), "zpzp": (1, 2), "hh": (1, 2), "zph": (0, 0)}
"""Poles (Z', H1, H2) in the two slots of a row; a Z' alone leaves its second slot unused."""

_EXCHANGE = ("zpzp", "hh", "zph")
"""Families with t- and u-channel exchange: the last ones."""


class Rows(NamedTuple):
    """Channels as rows: final masses (rows,) and couplings (rows, 2), 0 in an unused slot."""

    mass_a: jax.Array
    mass_b: jax.Array
    alpha: jax.Array
    pole_mass: jax.Array
    """(3,): Z', H1, H2"""
    pole_width: jax.Array
    slots: np.ndarray
    """(rows, 2, 3): 1 where a slot holds a pole"""
    terms: Callable[[Energy], Terms]
    """Energies (rows, n) to coefficients (rows, n)"""
    names: tuple[str, ...]
    edges: tuple[int, ...]
    """First row of each family but the first"""
    hadron_row: int | None
    """Row with the tabulated hadronic width, which needs finer nodes"""

    def by_family(self, values: jax.Array) -> dict[str, jax.Array]:
        """Split the row axis of ``values``."""
        return dict(zip(self.names, jnp.split(values, self.edges), strict=True))

    def in_slots(self, of_poles: tuple[jax.Array, ...]) -> list[jax.Array]:
        """Arrays (3,) over poles to arrays (rows, 2) over slots."""
        selected = self.slots.reshape(-1, 3) @ jnp.stack(of_poles, axis=1)
        return list(selected.T.reshape(len(of_poles), *self.slots.shape[:2]))

    def of_poles(self, in_slots: jax.Array) -> jax.Array:
        """(n, rows, 2) over slots to (n, 3): the sum over all slots that hold a pole."""
        return in_slots.reshape(in_slots.shape[0], -1) @ self.slots.reshape(-1, 3)


def annihilation_rows(point: Point, widths: Widths, hadrons: Hadrons = "dispersive") -> Rows:
    """Every channel of :func:`annihilation.channels`, in its order."""
    found = channels(point, widths, hadrons)
    names, families = tuple(found), [c.family for c in found.values()]
    counts = [f.mass_a.shape[0] for f in families]
    edges = tuple(int(e) for e in np.cumsum(counts)[:-1])
    mass_a, mass_b = (jnp.concatenate(m) for m in zip(*(f[:2] for f in families), strict=True))
    alpha = [jnp.pad(f.alpha, ((0, 0), (0, 2 - f.alpha.shape[1]))) for f in families]
    zp, higgs = found["vector"].family, found["zpzp"].family
    first = edges[names.index(_EXCHANGE[0]) - 1]

    def terms(energy: Energy) -> Terms:
        tail = Energy(*(v[first:] for v in energy))
        masses = mass_a[first:, None], mass_b[first:, None]
        averages = angular_averages(tail, *masses, point.params.m_x)
        inner = [e - first for e in edges if e > first]
        angular = [Angular(*q) for q in zip(*(jnp.split(q, inner) for q in averages), strict=True)]
        averages_of = dict(zip(_EXCHANGE, angular, strict=True))
        energies = [Energy(*e) for e in zip(*(jnp.split(v, edges) for v in energy), strict=True)]
        parts = [
            channel.terms(e, averages_of.get(name))
            for (name, channel), e in zip(found.items(), energies, strict=True)
        ]
        filled = [[jnp.broadcast_to(v, p.quadratic.shape) for v in p] for p in parts]
        return Terms(*(jnp.concatenate(v) for v in zip(*filled, strict=True)))

    return Rows(
        mass_a,
        mass_b,
        jnp.concatenate(alpha),
        jnp.concatenate([zp.pole_mass, higgs.pole_mass]),
        jnp.concatenate([zp.pole_width, higgs.pole_width]),
        np.eye(3)[np.repeat([_POLES[name] for name in names], counts, axis=0)],
        terms,
        names,
        edges,
        edges[names.index("scalar") - 1] + 3 if hadrons == "dispersive" else None,
    )

"""All annihilation channels of a point as rows of one array: each formula is evaluated once.

The numbers are those of :data:`CHANNELS`, whose families have different poles and
masses; one array for all rows needs a fifth of the operations, which is what compile time goes by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax.dark_matter import ComplexScalar, DarkMatter, DiracFermion, PortalScalar
from lmltdm_jax.model import Point
from lmltdm_jax.observables.annihilation import Hadrons, portal_channels
from lmltdm_jax.observables.annihilation_base import (
    Angular,
    Channel,
    Energy,
    Terms,
    angular_averages,
)
from lmltdm_jax.observables.annihilation_zp_only import fermion_channels, scalar_channels
from lmltdm_jax.widths import Widths

CHANNELS: dict[type[DarkMatter], Callable[[Point, Widths, Hadrons], dict[str, Channel]]] = {
    PortalScalar: portal_channels,
    ComplexScalar: scalar_channels,
    DiracFermion: fermion_channels,
}
"""What each dark matter annihilates to. Families with t- and u-channel exchange come last."""

_SLOTS = 2
"""Poles of a row at most; one with a single pole leaves its second slot unused."""


class Rows(NamedTuple):
    """Channels as rows: final masses (rows,) and couplings (rows, 2), 0 in an unused slot."""

    mass_a: jax.Array
    mass_b: jax.Array
    alpha: jax.Array
    pole_mass: jax.Array
    """(poles,)"""
    pole_width: jax.Array
    slots: np.ndarray
    """(rows, 2, poles): 1 where a slot holds a pole"""
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
        """Arrays (poles,) to arrays (rows, 2) over slots."""
        rows, slots, poles = self.slots.shape
        selected = self.slots.reshape(-1, poles) @ jnp.stack(of_poles, axis=1)
        return list(selected.T.reshape(len(of_poles), rows, slots))

    def of_poles(self, in_slots: jax.Array) -> jax.Array:
        """(n, rows, 2) over slots to (n, poles): the sum over all slots that hold a pole."""
        poles = self.slots.shape[2]
        return in_slots.reshape(in_slots.shape[0], -1) @ self.slots.reshape(-1, poles)


def annihilation_rows(point: Point, widths: Widths, hadrons: Hadrons = "dispersive") -> Rows:
    """Every channel of the point's dark matter, in the order of :data:`CHANNELS`."""
    found = CHANNELS[point.dark_matter](point, widths, hadrons)
    names, families = tuple(found), [c.family for c in found.values()]
    counts = [f.mass_a.shape[0] for f in families]
    edges = tuple(int(e) for e in np.cumsum(counts)[:-1])
    mass_a, mass_b = (jnp.concatenate(m) for m in zip(*(f[:2] for f in families), strict=True))
    alpha = [jnp.pad(f.alpha, ((0, 0), (0, _SLOTS - f.alpha.shape[1]))) for f in families]
    # A set of poles belongs to the first family that has it.
    sets = {c.poles: c.family for c in reversed(found.values())}
    sets = {poles: sets[poles] for poles in dict.fromkeys(c.poles for c in found.values())}
    order = [name for poles in sets for name in poles]
    in_slot = [[order.index(n) for n in (c.poles * _SLOTS)[:_SLOTS]] for c in found.values()]
    exchange = [name for name, c in found.items() if c.exchange]
    first = sum(counts[: len(names) - len(exchange)])
    tabulated = hadrons == "dispersive" and "scalar" in names

    def terms(energy: Energy) -> Terms:
        tail = Energy(*(v[first:] for v in energy))
        masses = mass_a[first:, None], mass_b[first:, None]
        averages = angular_averages(tail, *masses, point.params.m_x)
        inner = [e - first for e in edges if e > first]
        angular = [Angular(*q) for q in zip(*(jnp.split(q, inner) for q in averages), strict=True)]
        averages_of = dict(zip(exchange, angular, strict=True))
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
        jnp.concatenate([f.pole_mass for f in sets.values()]),
        jnp.concatenate([f.pole_width for f in sets.values()]),
        np.eye(len(order))[np.repeat(in_slot, counts, axis=0)],
        terms,
        names,
        edges,
        edges[names.index("scalar") - 1] + 3 if tabulated else None,
    )

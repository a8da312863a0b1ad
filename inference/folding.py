"""Bounds of a minimisation: the real line folded into the prior's range, so that nothing is a wall.

:func:`prior.soft_box` is flat outside its range: fine for a sampler, which a density leads back;
a minimiser that steps there finds no slope and stops. Here what leaves at one end comes back from
it, as in Minuit's sine, but the inside stays straight: only the ends are rounded.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from .coordinates import Coordinates
from .prior import soft_box, soft_box_inverse

_ROUNDED = 0.1
"""Share of the range that is not straight, half of it at each end."""
_INSIDE = 1.0 - 1e-9
"""The ends themselves are infinitely far away in the samplers' coordinates."""
_NUDGE = 0.02
"""A start keeps this share of a rounded end away from the end, where it would feel no slope."""
_REACH = 1.0 - _ROUNDED + 0.5 * np.pi * _ROUNDED


def fold(v: jax.Array) -> jax.Array:
    """The real line into [-1, 1]: straight within 1 - ``_ROUNDED``, reflected at the ends."""
    p = _REACH - jnp.abs(jnp.mod(v + _REACH, 4.0 * _REACH) - 2.0 * _REACH)
    beyond = jnp.maximum(jnp.abs(p) - (1.0 - _ROUNDED), 0.0)
    return jnp.where(
        beyond > 0.0,
        jnp.sign(p) * (1.0 - _ROUNDED + _ROUNDED * jnp.sin(beyond / _ROUNDED)),
        p,
    )


def unfold(s: jax.Array) -> jax.Array:
    """The v nearest to 0 with ``fold(v) == s``, but for the nudge at the ends."""
    beyond = jnp.clip(jnp.abs(s) - (1.0 - _ROUNDED), 0.0, (1.0 - _NUDGE) * _ROUNDED)
    straight = jnp.clip(s, -(1.0 - _ROUNDED), 1.0 - _ROUNDED)
    return straight + jnp.sign(s) * _ROUNDED * jnp.arcsin(beyond / _ROUNDED)


class Folding:
    """Between coordinates y of a target and v, in which the free parameters are folded.

    Not the coordinate straightened along the relic-density shell: its range depends on the others,
    and the shell holds it.
    """

    def __init__(self, coordinates: Coordinates, free: jax.Array):
        prior = coordinates.prior
        n = len(prior.parameters)
        self.low, self.high = prior.box
        self.folded = free[:n] & (np.arange(n) != coordinates.shell_axis)

    def to_y(self, v: jax.Array) -> jax.Array:
        """v (..., dimension) -> y."""
        n, middle, half = len(self.low), 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)
        x = middle + half * _INSIDE * fold((v[..., :n] - middle) / half)
        y = jnp.where(self.folded, soft_box_inverse(x, self.low, self.high), v[..., :n])
        return jnp.concatenate([y, v[..., n:]], axis=-1)

    def from_y(self, y: jax.Array) -> jax.Array:
        """y (..., dimension) -> v."""
        n, middle, half = len(self.low), 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)
        x = soft_box(y[..., :n], self.low, self.high)
        v = middle + half * unfold((x - middle) / half)
        return jnp.concatenate([jnp.where(self.folded, v, y[..., :n]), y[..., n:]], axis=-1)

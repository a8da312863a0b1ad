"""The prior's range as bounds of a minimisation: coordinates v that are clipped, not bent.

:func:`prior.soft_box` is flat outside its range: fine for a sampler, which a density leads back;
a minimiser that steps there finds no slope and stops. Maps that reflect, as Minuit's sine, have no
slope at the ends either, where minima of weak data like to be. So v is the box coordinate itself.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from .coordinates import Coordinates
from .prior import soft_box, soft_box_inverse

_INSIDE = 1.0 - 1e-9
"""The ends themselves are infinitely far away in the samplers' coordinates."""


class Bounds:
    """Between coordinates y of a target and v, in which the parameters that are ``free`` end.

    The coordinate straightened along the relic-density shell has no bounds: its range depends on
    the others, and the shell holds it.
    """

    def __init__(self, coordinates: Coordinates, free: jax.Array):
        low, high = coordinates.prior.box
        n, more = len(low), np.full(coordinates.prior.dimension - len(low), np.inf)
        middle, half = 0.5 * (low + high), 0.5 * _INSIDE * (high - low)
        self.box = middle - half, middle + half
        self.bounded = free[:n] & (np.arange(n) != coordinates.shell_axis)
        self.low = jnp.concatenate([jnp.where(self.bounded, self.box[0], -jnp.inf), -more])
        self.high = jnp.concatenate([jnp.where(self.bounded, self.box[1], jnp.inf), more])
        self._soft = low, high

    def to_y(self, v: jax.Array) -> jax.Array:
        """v (..., dimension) within the bounds -> y."""
        n = len(self._soft[0])
        # Where nothing is bounded the inverse may be infinite, and its slope no number.
        x = jnp.where(self.bounded, v[..., :n], 0.5 * np.sum(self.box, axis=0))
        y = jnp.where(self.bounded, soft_box_inverse(x, *self._soft), v[..., :n])
        return jnp.concatenate([y, v[..., n:]], axis=-1)

    def from_y(self, y: jax.Array) -> jax.Array:
        """y (..., dimension) -> v within the bounds."""
        n = len(self._soft[0])
        v = jnp.where(self.bounded, soft_box(y[..., :n], *self._soft), y[..., :n])
        return jnp.clip(jnp.concatenate([v, y[..., n:]], axis=-1), self.low, self.high)

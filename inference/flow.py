"""A normalising flow fitted to points: a density that can be drawn from and evaluated anywhere.

Coordinates are standardised by median and 16-84 % half-width and compressed with asinh, so that
islands far away stay in the range of the splines; then coupling layers with rational-quadratic
splines (Durkan et al., arXiv:1906.04032, by flowjax) map a unit normal to the points. The flow
proposes, it never replaces the posterior: importance weights or Metropolis steps correct it.
"""

from __future__ import annotations

import dataclasses
import functools
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import StandardNormal, Transformed
from flowjax.flows import coupling_flow
from paramax import unwrap

with warnings.catch_warnings():
    # tqdm, in a notebook without ipywidgets: its bar is switched off here.
    warnings.filterwarnings("ignore", message="IProgress not found")
    from flowjax.train import fit_to_data
    from flowjax.train.losses import MaximumLikelihoodLoss

_LAYERS, _WIDTH, _KNOTS, _INTERVAL = 4, 32, 6, 4.0
_BATCH, _RATE, _DECAY = 1024, 5e-3, 3.0
"""The decay of weights keeps the flow from learning the points by heart: of the training points few
are independent. A network twice as wide, without decay, has less density by a factor of two where
points of ``current`` are that it was not shown."""
_LOSS = MaximumLikelihoodLoss()
"""Compiled anew for another instance, though there is nothing in it."""
_ROWS = 64
"""Points a compiled call; what falls short is padded."""


@dataclasses.dataclass(frozen=True)
class Flow:
    """Standardisation (dimension,) and the arrays of the trained network; can be pickled."""

    centre: np.ndarray
    scale: np.ndarray
    arrays: tuple[np.ndarray, ...]

    @classmethod
    def fit(cls, y: np.ndarray, epochs: int, seed: int) -> Flow:
        """Maximum likelihood on points y (n, dimension); Adam, cosine schedule, weight decay."""
        centre = np.median(y, axis=0)
        scale = np.subtract(*np.percentile(y, (84, 16), axis=0)) / 2.0 + 1e-12
        dimension = y.shape[1]
        batch = min(_BATCH, len(y) // 4)
        steps = max(int(0.9 * len(y)) // batch, 1) * epochs
        trained, _ = fit_to_data(
            jax.random.key(seed),
            _untrained(dimension),
            data=jnp.asarray(np.arcsinh((y - centre) / scale)),
            loss_fn=_LOSS,
            optimizer=_optimizer(steps),
            max_epochs=epochs,
            max_patience=epochs,
            batch_size=batch,
            show_progress=False,
        )
        arrays = jax.tree.leaves(eqx.filter(trained, eqx.is_array))
        return cls(centre, scale, tuple(np.asarray(a) for a in arrays))

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        forward, _ = _programs(len(self.centre))
        z = _in_rows(self.arrays, forward, rng.standard_normal((n, len(self.centre))))
        return np.sinh(z) * self.scale + self.centre

    def log_density(self, y: np.ndarray) -> np.ndarray:
        u = (y - self.centre) / self.scale
        _, log_prob = _programs(len(self.centre))
        inside = _in_rows(self.arrays, log_prob, np.arcsinh(u))
        return inside - 0.5 * np.log1p(u**2).sum(axis=1) - np.log(self.scale).sum()


@functools.cache
def _optimizer(steps: int) -> optax.GradientTransformation:
    """One for each number of steps: the training is compiled for an instance."""
    rate = optax.cosine_decay_schedule(_RATE, steps, 0.02)
    return optax.chain(optax.clip_by_global_norm(5.0), optax.adamw(rate, weight_decay=_DECAY))


@functools.cache
def _untrained(dimension: int) -> Transformed:
    return coupling_flow(
        jax.random.key(0),
        # Without parameters: those of Normal would be trained, and draws start from N(0, 1).
        base_dist=StandardNormal((dimension,)),
        transformer=RationalQuadraticSpline(knots=_KNOTS, interval=_INTERVAL),
        flow_layers=_LAYERS,
        nn_width=_WIDTH,
    )


@functools.cache
def _programs(dimension: int) -> tuple[Any, Any]:
    """(forward, log_prob), compiled, of the arrays of a flow and points (n, dimension)."""
    # Built here, outside of the trace: flowjax looks at values while it builds.
    template, rest = eqx.partition(_untrained(dimension), eqx.is_array)
    structure = jax.tree.structure(template)

    def assembled(arrays: tuple[jax.Array, ...]) -> Transformed:
        return unwrap(eqx.combine(jax.tree.unflatten(structure, arrays), rest))

    @jax.jit
    def forward(arrays: tuple[jax.Array, ...], z: jax.Array) -> jax.Array:
        return jax.vmap(assembled(arrays).bijection.transform)(z)

    @jax.jit
    def log_prob(arrays: tuple[jax.Array, ...], z: jax.Array) -> jax.Array:
        return assembled(arrays).log_prob(z)

    return forward, log_prob


def _in_rows(arrays: tuple[np.ndarray, ...], function: Any, z: np.ndarray) -> np.ndarray:
    """``function`` over rows of z in calls of one shape."""
    placed = tuple(map(jnp.asarray, arrays))
    padding = -len(z) % _ROWS
    padded = np.concatenate([z, np.repeat(z[-1:], padding, axis=0)])
    parts = [function(placed, jnp.asarray(part)) for part in padded.reshape(-1, _ROWS, z.shape[1])]
    return np.concatenate(jax.device_get(parts))[: len(z)]

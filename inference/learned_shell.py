"""What the estimate of the relic shell misses, learned from the points that a fit has evaluated.

The estimate of :mod:`coordinates` is within some 5 % of the coupling that gives the right relic
density, in a pattern that varies slowly; the shell is 0.7 % thick. Every evaluated point near the
shell tells its distance from it, so that a small network finds the pattern from points alone:

    ln(Omega h2/0.12) = -slope(o) [d - shift(o)],   o all other coordinates,

with shift and slope its two outputs. Only the shift is used, in another shear: whatever it is, the
posterior stays the same.
"""

from __future__ import annotations

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

_WIDTHS = (96, 96, 96)
_EPOCHS, _BATCH, _RATE = 30, 512, 3e-3
_NEAR = 0.7
"""Largest |ln(Omega h2/0.12)| of a point that is used."""
_SCALE, _SLOPE, _DEX = 0.05, 2.0, np.log(10.0)
_HUBER = 0.02


class LearnedShift(eqx.Module):
    """Shift of the shell along ``axis`` as a function of all other coordinates of y."""

    weights: tuple[jax.Array, ...]
    biases: tuple[jax.Array, ...]
    centre: jax.Array
    scale: jax.Array
    offset: jax.Array
    axis: int = eqx.field(static=True)

    @classmethod
    def zero(cls, dimension: int, axis: int, seed: int = 0) -> LearnedShift:
        """No shift; the layers but the last one at random."""
        rng = np.random.default_rng(seed)
        sizes = (dimension - 1, *_WIDTHS, 2)
        pairs = list(itertools.pairwise(sizes))
        weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairs]
        weights[-1] = np.zeros_like(weights[-1])
        return cls(
            weights=tuple(map(jnp.asarray, weights)),
            biases=tuple(jnp.zeros(m) for _, m in pairs),
            centre=jnp.zeros(dimension - 1),
            scale=jnp.ones(dimension - 1),
            offset=jnp.zeros(()),
            axis=axis,
        )

    def __call__(self, y: jax.Array) -> jax.Array:
        """Shift (scalar) at y (dimension,); ``y[axis]`` is not read."""
        return self._shift_and_slope(y)[0]

    def _shift_and_slope(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        layer = (jnp.delete(y, self.axis) - self.centre) / self.scale
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            layer = jax.nn.silu(weight @ layer + bias)
        shift, log_slope = self.weights[-1] @ layer + self.biases[-1]
        return self.offset + _SCALE * shift, _SLOPE * _DEX * jnp.exp(jnp.tanh(log_slope))


def learn_shift(y: np.ndarray, excess: np.ndarray, axis: int, seed: int) -> LearnedShift:
    """Fit to points ``y`` (n, dimension) with ``excess`` = ln(Omega h2/0.12) (n,).

    The loss is Huber's: points on other branches of the shell are outliers. No shift where fewer
    than a batch of points is near the shell.
    """
    model = LearnedShift.zero(y.shape[1], axis, seed)
    near = np.abs(excess) < _NEAR
    y, excess = y[near], excess[near]
    batches = len(y) // _BATCH
    if batches == 0:
        return model
    others = np.delete(y, axis, axis=1)
    spread = np.subtract(*np.percentile(others, (84, 16), axis=0)) / 2.0
    model = eqx.tree_at(
        lambda m: (m.centre, m.scale, m.offset),
        model,
        tuple(
            map(
                jnp.asarray,
                (np.median(others, axis=0), spread + 1e-12, np.median(y[:, axis] + 0.0)),
            )
        ),
    )
    rng = np.random.default_rng([seed, 1])
    order = np.stack([rng.permutation(len(y))[: batches * _BATCH] for _ in range(_EPOCHS)])
    return _train(model, jnp.asarray(y), jnp.asarray(excess), order.reshape(-1, _BATCH))


@eqx.filter_jit
def _train(model: LearnedShift, y: jax.Array, excess: jax.Array, order: jax.Array) -> LearnedShift:
    axis = model.axis
    schedule = optax.cosine_decay_schedule(_RATE, len(order), 0.01)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def loss(layers: tuple, y: jax.Array, excess: jax.Array) -> jax.Array:
        trained = eqx.tree_at(lambda m: (m.weights, m.biases), model, layers)
        shift, slope = jax.vmap(trained._shift_and_slope)(y)
        return jnp.mean(
            optax.losses.huber_loss(excess + slope * (y[:, axis] - shift), delta=_HUBER)
        )

    def step(carry: tuple, batch: jax.Array) -> tuple[tuple, None]:
        layers, state = carry
        gradient = jax.grad(loss)(layers, y[batch], excess[batch])
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(layers, updates), state), None

    layers = (model.weights, model.biases)
    (layers, _), _ = jax.lax.scan(step, (layers, optimiser.init(layers)), order)
    return eqx.tree_at(lambda m: (m.weights, m.biases), model, layers)

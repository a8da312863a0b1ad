"""What the estimate of the relic shell misses, learned from the points that a fit has evaluated.

The estimate of :mod:`coordinates` is within some 5 % of the coupling that gives the right relic
density, in a pattern that varies slowly; the shell is 0.7 % thick. Every evaluated point near the
shell tells its distance from it, so that a small network finds the pattern from points alone:

    ln(Omega h2/0.12) = -slope(o) [d - shift(o)],   o all other coordinates,

with shift and slope its two outputs. Only the shift is used, in another shear: whatever it is, the
posterior stays the same. The pattern is sharp where channels open (m_h1 or m_zp = m_x) and where
the thermal motion reaches a pole (2 m_x and above): the network also sees steps of the mass
ratios there, and gets more points where it is wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from .archive import Archive

_WIDTHS = (96, 96, 96)
_EPOCHS, _FIRST_EPOCHS, _BATCH, _RATE = 60, 15, 512, 3e-3
_ROUNDS = 3
"""The first with half of the points; each other one adds a share around the worst so far."""
_WORST = 1.0 / 16.0
REACH = 0.4
"""Distance from the estimate [dex] beyond which a point is on another branch: a network that saw
both would put its shift between them."""
_RATIOS = (("m_h1", "m_x"), ("m_zp", "m_x"))
_STEPS = np.array(
    [
        (0.0, 0.08),
        (0.0, 0.02),
        (0.301, 0.08),
        (0.301, 0.02),
        (0.34, 0.02),
        (0.38, 0.02),
        (0.42, 0.02),
    ]
)
"""Centre and width of the steps in log10 of a mass ratio."""
_NEAR = 0.7
"""Largest |ln(Omega h2/0.12)| of a point that is used."""
_SCALE = 0.05
SLOPE = 2.0 * np.log(10.0)
"""-d ln(Omega h2)/d log10(coupling) where annihilation goes as the coupling squared."""
_HUBER = 0.02


class LearnedShift(eqx.Module):
    """Shift of the shell along ``axis`` as a function of all other coordinates of y."""

    weights: tuple[jax.Array, ...]
    biases: tuple[jax.Array, ...]
    centre: jax.Array
    scale: jax.Array
    offset: jax.Array
    slope: jax.Array
    """typical slope; only training reads it"""
    axis: int = eqx.field(static=True)
    ratios: tuple[tuple[int, int], ...] = eqx.field(static=True)
    """axes of mass ratios, numerator and denominator"""

    @classmethod
    def zero(cls, names: Sequence[str], axis: int, seed: int = 0) -> LearnedShift:
        """No shift, for coordinates of these names; the layers but the last one at random."""
        rng = np.random.default_rng(seed)
        dimension = len(names)
        pairs = [(names.index(a), names.index(b)) for a, b in _RATIOS if {a, b} <= set(names)]
        ratios = tuple(pair for pair in pairs if axis not in pair)
        sizes = (dimension - 1 + len(ratios) * len(_STEPS), *_WIDTHS, 2)
        pairs = list(itertools.pairwise(sizes))
        weights = [rng.standard_normal((m, n)) / np.sqrt(n) for n, m in pairs]
        weights[-1] = np.zeros_like(weights[-1])
        return cls(
            weights=tuple(map(jnp.asarray, weights)),
            biases=tuple(jnp.zeros(m) for _, m in pairs),
            centre=jnp.zeros(dimension - 1),
            scale=jnp.ones(dimension - 1),
            offset=jnp.zeros(()),
            slope=jnp.asarray(SLOPE),
            axis=axis,
            ratios=ratios,
        )

    def __call__(self, y: jax.Array) -> jax.Array:
        """Shift (scalar) at y (dimension,); ``y[axis]`` is not read."""
        return self._shift_and_slope(y)[0]

    def _shift_and_slope(self, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        steps = [jnp.tanh((y[a] - y[b] - _STEPS[:, 0]) / _STEPS[:, 1]) for a, b in self.ratios]
        layer = jnp.concatenate([(jnp.delete(y, self.axis) - self.centre) / self.scale, *steps])
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            layer = jax.nn.silu(weight @ layer + bias)
        shift, log_slope = self.weights[-1] @ layer + self.biases[-1]
        return self.offset + _SCALE * shift, self.slope * jnp.exp(jnp.tanh(log_slope))


def learn_around(
    names: Sequence[str],
    axis: int,
    y: np.ndarray,
    evaluate: Callable[[np.ndarray], np.ndarray],
    n: int,
    rng: np.random.Generator,
    seed: int,
    slope: float = SLOPE,
) -> LearnedShift:
    """:func:`learn_shift` from ``n`` points around ``y`` (members, dimension).

    ``evaluate`` gives the excess (m,) of points (m, dimension).
    """
    points = Archive.of(y).draw(rng, n // 2)
    excess = evaluate(points)
    for _ in range(_ROUNDS - 1):
        shift = learn_shift(names, points, excess, axis, seed, slope, _FIRST_EPOCHS)
        near = np.flatnonzero(np.abs(excess) < _NEAR)
        wrong = np.abs(_residuals(shift, jnp.asarray(points[near]), jnp.asarray(excess[near])))
        count = int(_WORST * len(near))
        if count < points.shape[1] + 2:
            return shift
        worst = points[near[np.argsort(wrong)[-count:]]]
        added = Archive.of(worst).draw(rng, n // (2 * (_ROUNDS - 1)))
        points = np.concatenate([points, added])
        excess = np.concatenate([excess, evaluate(added)])
    return learn_shift(names, points, excess, axis, seed, slope)


def learn_shift(
    names: Sequence[str],
    y: np.ndarray,
    excess: np.ndarray,
    axis: int,
    seed: int,
    slope: float = SLOPE,
    epochs: int = _EPOCHS,
) -> LearnedShift:
    """Fit to points ``y`` (n, dimension) with ``excess`` = ln(Omega h2/0.12) (n,).

    ``slope`` is the typical -d excess/dy along ``axis``; the fit finds it within a factor of e. The
    loss is Huber's: points on other branches of the shell are outliers. No shift where fewer than a
    batch of points is near the shell.
    """
    model = LearnedShift.zero(names, axis, seed)
    near = np.abs(excess) < _NEAR
    y, excess = y[near], excess[near]
    batches = len(y) // _BATCH
    if batches == 0:
        return model
    others = np.delete(y, axis, axis=1)
    spread = np.subtract(*np.percentile(others, (84, 16), axis=0)) / 2.0
    model = eqx.tree_at(
        lambda m: (m.centre, m.scale, m.offset, m.slope),
        model,
        tuple(
            map(
                jnp.asarray,
                (np.median(others, axis=0), spread + 1e-12, np.median(y[:, axis]), slope),
            )
        ),
    )
    rng = np.random.default_rng([seed, 1])
    order = np.stack([rng.permutation(len(y))[: batches * _BATCH] for _ in range(epochs)])
    return _train(model, jnp.asarray(y), jnp.asarray(excess), order.reshape(-1, _BATCH))


@eqx.filter_jit
def _train(model: LearnedShift, y: jax.Array, excess: jax.Array, order: jax.Array) -> LearnedShift:
    schedule = optax.cosine_decay_schedule(_RATE, len(order), 0.01)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def loss(layers: tuple, y: jax.Array, excess: jax.Array) -> jax.Array:
        trained = eqx.tree_at(lambda m: (m.weights, m.biases), model, layers)
        return jnp.mean(optax.losses.huber_loss(_residuals(trained, y, excess), delta=_HUBER))

    def step(carry: tuple, batch: jax.Array) -> tuple[tuple, None]:
        layers, state = carry
        gradient = jax.grad(loss)(layers, y[batch], excess[batch])
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(layers, updates), state), None

    layers = (model.weights, model.biases)
    (layers, _), _ = jax.lax.scan(step, (layers, optimiser.init(layers)), order)
    return eqx.tree_at(lambda m: (m.weights, m.biases), model, layers)


@jax.jit
def _residuals(model: LearnedShift, y: jax.Array, excess: jax.Array) -> jax.Array:
    """Excess (n,) of points (n, dimension) that the model does not explain."""
    shift, slope = jax.vmap(model._shift_and_slope)(y)
    return excess + slope * (y[:, model.axis] - shift)

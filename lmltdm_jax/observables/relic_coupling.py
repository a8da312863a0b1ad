"""The coupling lambda_phix that leaves a wanted relic density: both branches.

At small lambda_phix annihilation grows with the coupling and Omega h2 falls. Near and above the
pole a stronger coupling widens H1 (H1 -> X X*) faster than it drives the annihilation, and
Omega h2 rises again: there are two couplings, or none.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optimistix

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.relic_density import omega_h2
from lmltdm_jax.parameters import Parameters
from lmltdm_jax.widths import build_widths

RANGE = (1e-10, 4.0 * math.pi)
"""Couplings searched."""
_NODES = 72
_GOLDEN_STEPS = 24
_TOLERANCE = 1e-12
_MAX_STEPS = 64


class RelicCouplings(NamedTuple):
    """The two couplings; nan where there is none, as the flags say."""

    low: jax.Array
    """where Omega h2 falls through the target for the first time"""
    high: jax.Array
    """where it rises through the target for the last time"""
    has_low: jax.Array
    has_high: jax.Array


def lambda_for_relic(
    params: Parameters, sm: StandardModel, target: jax.Array | float = 0.12
) -> RelicCouplings:
    """Roots of Omega h2(lambda_phix) = ``target`` in :data:`RANGE`; ``params.lambda_phix`` unread.

    Scalars in, scalars out, jit, vmap and grad safe; the derivative is that of the implicit
    function theorem. Brackets come from a grid of 72 couplings (a factor 1.43 apart) and the
    minimum between its nodes: a pair of roots beside another minimum closer than that is missed.

    Args:
        params: a physical point.
        sm: Standard Model inputs.
        target: Omega h2 of X and X* together, > 0.
    """
    log_target = jnp.log(target)

    def excess(log_coupling: jax.Array) -> jax.Array:
        """ln Omega h2 - ln target."""
        point = build_point(params.replace(lambda_phix=jnp.exp(log_coupling)), sm)
        return jnp.log(omega_h2(point, build_widths(point))) - log_target

    brackets, found = jax.lax.stop_gradient(_brackets(excess))
    falls_then_rises = jnp.array([-1.0, 1.0])
    roots = jax.lax.map(lambda one: _root(excess, *one), (falls_then_rises, brackets, found))
    low, high = jnp.where(found, jnp.exp(roots), jnp.nan)
    return RelicCouplings(low, high, found[0], found[1])


def _brackets(excess) -> tuple[jax.Array, jax.Array]:
    """Ends (2, 2) in ln lambda of the first fall and of the last rise; whether they exist (2,)."""
    nodes = jnp.asarray(np.linspace(math.log(RANGE[0]), math.log(RANGE[1]), _NODES))
    values = jax.lax.map(excess, nodes)
    k = jnp.clip(jnp.argmin(values), 1, _NODES - 2)
    deepest, value = _minimum(excess, nodes[k - 1], nodes[k + 1])
    at = jnp.searchsorted(nodes, deepest)
    nodes = jnp.insert(nodes, at, deepest)
    below = jnp.insert(values, at, value) <= 0.0
    falls, rises = ~below[:-1] & below[1:], below[:-1] & ~below[1:]
    first, last = jnp.argmax(falls), len(rises) - 1 - jnp.argmax(rises[::-1])
    ends = jnp.stack([nodes[jnp.array([i, i + 1])] for i in (first, last)])
    return ends, jnp.stack([jnp.any(falls), jnp.any(rises)])


def _minimum(excess, low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Golden-section search for the minimum between two couplings, and its value."""
    ratio = 0.5 * (math.sqrt(5.0) - 1.0)

    def narrow(ends: tuple[jax.Array, jax.Array], _: None):
        low, high = ends
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        at_left, at_right = jax.lax.map(excess, jnp.stack([left, right]))
        keep_left = at_left < at_right
        ends = jnp.where(keep_left, low, left), jnp.where(keep_left, right, high)
        return ends, (jnp.where(keep_left, left, right), jnp.minimum(at_left, at_right))

    _, (place, value) = jax.lax.scan(narrow, (low, high), length=_GOLDEN_STEPS)
    # The last step's: one more evaluation would have to be compiled once more.
    return place[-1], value[-1]


def _root(excess, sign: jax.Array, ends: jax.Array, found: jax.Array) -> jax.Array:
    """ln lambda of the root between ``ends``, differentiable in what ``excess`` depends on.

    ``sign`` is that of the slope there.
    """
    centre = 0.5 * (ends[0] + ends[1])

    def bracketed(log_coupling: jax.Array, _: None) -> jax.Array:
        # Without a root bisect a line, which has one.
        return jnp.where(found, sign * excess(log_coupling), log_coupling - centre)

    solution = optimistix.root_find(
        bracketed,
        optimistix.Bisection(rtol=_TOLERANCE, atol=_TOLERANCE, flip=False),
        centre,
        options={"lower": ends[0], "upper": ends[1]},
        max_steps=_MAX_STEPS,
        throw=False,
    )
    root = jax.lax.stop_gradient(solution.value)
    # One Newton step: nothing to the value, and d root = -d excess/(d excess/d ln lambda).
    value, slope = jax.jvp(excess, (root,), (jnp.ones(()),))
    return root - value / jax.lax.stop_gradient(jnp.where(found, slope, 1.0))

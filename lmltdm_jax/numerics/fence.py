"""A boundary that the compiler's loop fusion does not cross: bounded compile time.

XLA merges elementwise operations into loop fusions, and on a CPU each attempt to merge costs time
in proportion to the size of the fusion so far. All observables of a point are elementwise functions
of the same few scalars, so without boundaries nearly the whole likelihood becomes one fusion and
compile time grows with the square of the number of operations (five times the rest, for the
gradient). ``jax.lax.optimization_barrier`` is removed before fusion on a CPU and does not help; a
matrix product is never fused. :func:`fence` passes values through a product with the identity
matrix: its own transpose, so that the backward pass is cut at the same places.

Exact: 1 x + 0 y = x for finite numbers, also for derivatives. An infinity would turn its
neighbours into NaN (0 inf), so fences belong where every value is finite. The cost is a small
product per call; run time falls, because one giant fusion also keeps too many values alive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Tree = TypeVar("Tree")
Args = ParamSpec("Args")
Result = TypeVar("Result")


def _float64(leaf: object) -> bool:
    return isinstance(leaf, jax.Array) and leaf.dtype == jnp.float64


def _pass(stacked: jax.Array) -> jax.Array:
    """identity @ stacked, (k, ...) with k > 1; a product with a vector would become a reduction."""
    if stacked.ndim == 1:
        pair = jnp.stack([stacked, stacked], axis=1)
        return (np.eye(stacked.shape[0]) @ pair)[:, 0]
    return jnp.tensordot(np.eye(stacked.shape[0]), stacked, axes=1)


def fence(tree: Tree) -> Tree:
    """The same values, behind a boundary of fusion; any pytree.

    float64 arrays pass in groups of equal shape, complex ones as real and imaginary part. All other
    leaves (Python numbers and NumPy arrays, which are constants; integers; flags) stay as they are.
    """
    leaves, structure = jax.tree.flatten(tree)
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, leaf in enumerate(leaves):
        if _float64(leaf):
            groups.setdefault(leaf.shape, []).append(i)
        elif isinstance(leaf, jax.Array) and leaf.dtype == jnp.complex128:
            leaves[i] = jax.lax.complex(*fence((jnp.real(leaf), jnp.imag(leaf))))
    for members in groups.values():
        values = [leaves[i] for i in members]
        # A 1 x 1 product would be simplified away: a lone array travels in two copies.
        passed = _pass(jnp.stack(values if len(values) > 1 else values * 2))
        for row, i in zip(jax.lax.split(passed, (1,) * len(passed)), members, strict=False):
            leaves[i] = row[0]
    return jax.tree.unflatten(structure, leaves)


def fenced(function: Callable[Args, Result]) -> Callable[Args, Result]:
    """Decorator: arguments and result of the function each pass a :func:`fence`."""

    @functools.wraps(function)
    def between_fences(*args: Args.args, **kwargs: Args.kwargs) -> Result:
        args, kwargs = fence((args, kwargs))
        return fence(function(*args, **kwargs))

    return between_fences

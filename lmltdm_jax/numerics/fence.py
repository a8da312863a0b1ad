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


def _matrix(arrays: list[jax.Array]) -> jax.Array:
    """Arrays of one shape along a new first axis, with at least two rows and two columns.

    Products of smaller matrices, or with a vector, become multiplications that can be fused.
    """
    stacked = jnp.stack(arrays if len(arrays) > 1 else arrays * 2)
    return stacked if stacked.ndim > 1 else jnp.stack([stacked, stacked], axis=1)


def views(tree: Tree, count: int) -> list[Tree]:
    """``count`` copies of the same values, each behind a boundary of its own; see :func:`fence`.

    For several readers of one input: derivatives of the copies meet as one array per shape, not
    leaf by leaf.
    """
    leaves, structure = jax.tree.flatten(tree)
    groups: dict[tuple[int, ...], list[tuple[int, jax.Array]]] = {}
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, jax.Array) and leaf.dtype == jnp.float64:
            groups.setdefault(leaf.shape, []).append((i, leaf))
        elif isinstance(leaf, jax.Array) and leaf.dtype == jnp.complex128:
            halves = (i, jnp.real(leaf)), (i, jnp.imag(leaf))
            groups.setdefault(leaf.shape, []).extend(halves)
    stacks = [_matrix([leaf for _, leaf in members]) for members in groups.values()]
    copies = []
    for _ in range(count):
        copy = list(leaves)
        for members, stacked in zip(groups.values(), stacks, strict=True):
            passed = jnp.tensordot(np.eye(len(stacked)), stacked, axes=1)
            passed = passed if leaves[members[0][0]].ndim else passed[:, 0]
            rows = jax.lax.split(passed, (1,) * len(stacked))
            parts: dict[int, list[jax.Array]] = {}
            for (i, _), row in zip(members, rows, strict=False):
                parts.setdefault(i, []).append(row[0])
            for i, values in parts.items():
                copy[i] = values[0] if len(values) == 1 else jax.lax.complex(*values)
        copies.append(jax.tree.unflatten(structure, copy))
    return copies


def fence(tree: Tree) -> Tree:
    """The same values, behind a boundary of fusion; any pytree.

    float64 arrays pass in groups of equal shape, complex ones as real and imaginary part. All other
    leaves (Python numbers and NumPy arrays, which are constants; integers; flags) stay as they are.
    """
    return views(tree, 1)[0]


def fenced(function: Callable[Args, Result]) -> Callable[Args, Result]:
    """Decorator: arguments and result of the function each pass a :func:`fence`."""

    @functools.wraps(function)
    def between_fences(*args: Args.args, **kwargs: Args.kwargs) -> Result:
        args, kwargs = fence((args, kwargs))
        return fence(function(*args, **kwargs))

    return between_fences

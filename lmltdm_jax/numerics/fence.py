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

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Tree = TypeVar("Tree")


def _matrix(arrays: list[jax.Array]) -> jax.Array:
    """Arrays of one shape along a new first axis, with at least two rows and two columns.

    Products of smaller matrices, or with a vector, become multiplications that can be fused.
    """
    stacked = jnp.stack(arrays if len(arrays) > 1 else arrays * 2)
    return stacked if stacked.ndim > 1 else jnp.stack([stacked, stacked], axis=1)


def fence(tree: Tree) -> Tree:
    """The same values, behind a boundary of fusion; any pytree.

    float64 arrays pass in groups of equal shape, complex ones as real and imaginary part. All other
    leaves (Python numbers and NumPy arrays, which are constants; integers; flags) stay as they are.
    """
    leaves, structure = jax.tree.flatten(tree)
    groups: dict[tuple[int, ...], list[tuple[int, jax.Array]]] = {}
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, jax.Array) and leaf.dtype == jnp.float64:
            groups.setdefault(leaf.shape, []).append((i, leaf))
        elif isinstance(leaf, jax.Array) and leaf.dtype == jnp.complex128:
            parts = (i, jnp.real(leaf)), (i, jnp.imag(leaf))
            groups.setdefault(leaf.shape, []).extend(parts)
    for shape, members in groups.items():
        stacked = _matrix([leaf for _, leaf in members])
        passed = jnp.tensordot(np.eye(len(stacked)), stacked, axes=1)
        passed = passed if shape else passed[:, 0]
        found: dict[int, list[jax.Array]] = {}
        # Split, whose derivative is one concatenation; indexing adds up padded rows.
        rows = jax.lax.split(passed, (1,) * len(stacked))
        for (i, _), row in zip(members, rows, strict=False):
            found.setdefault(i, []).append(row[0])
        for i, values in found.items():
            leaves[i] = values[0] if len(values) == 1 else jax.lax.complex(*values)
    return jax.tree.unflatten(structure, leaves)

"""Predictions over a plane of two parameters, the others fixed: one compiled call.

    x, y = Axis.spaced("m_zp", 1e-3, 0.2, 200), Axis.spaced("g_x", 1e-5, 1e-2, 150)
    terms = evaluate(likelihood.terms, x, y, Parameters.benchmark())  # {term: (150, 200)}

The figures of ``lmltdm plot`` that show a plane are drawn from this.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lmltdm_jax._precision import require_x64
from lmltdm_jax.numerics.compiling import compiler_options
from lmltdm_jax.parameters import Parameters
from lmltdm_jax.prediction import lanes


@dataclasses.dataclass(frozen=True)
class Axis:
    """One parameter and the values it takes, shape (n,)."""

    name: str
    values: np.ndarray

    @classmethod
    def spaced(cls, name: str, low: float, high: float, n: int) -> Axis:
        """``n`` values from ``low`` to ``high``, even in the logarithm."""
        return cls(name, np.geomspace(low, high, n))


def evaluate(function: Callable[[Parameters], Any], x: Axis, y: Axis, base: Parameters) -> Any:
    """``function`` of every point of the plane, by one ``jax.lax.map``.

    Args:
        function: one point (scalars) to any pytree of arrays; pure.
        x: parameter along the last axis of the result.
        y: parameter along the first.
        base: every other parameter.

    Returns:
        The pytree with numpy leaves of shape (len(y), len(x), ...).

    Raises:
        InputError: a point outside the physical domain.
    """
    require_x64()
    columns, rows = np.meshgrid(x.values, y.values)
    params = base.replace(**{x.name: columns, y.name: rows})
    params.validate()
    vectors = jnp.asarray(params.to_vector()).reshape(columns.size, -1)

    def many(points: jax.Array) -> Any:
        return jax.lax.map(
            lambda v: function(Parameters.from_vector(v)), points, batch_size=lanes()
        )

    values = jax.jit(many, compiler_options=compiler_options())(vectors)
    return jax.tree.map(
        lambda leaf: np.asarray(leaf).reshape(*columns.shape, *leaf.shape[1:]), values
    )

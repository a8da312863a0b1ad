"""Points in calls of one shape: compiled once, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

CPU_LANES, FEW_LANES = 32, 4
"""Points evaluated side by side on a CPU: more would fall out of its cache. Few where there are no
more, as of chains: a program of its own, in a fifth of the time."""
FEW = 2 * FEW_LANES
"""Up to so many points are few: two such calls take less time than one of the other kind."""
GPU_LANES = 8192
THREADS = 2


def in_lanes(function: Callable, target: Any, *rows: np.ndarray, cheap: bool = False) -> Any:
    """``function(target, *rows)`` over arrays (n, ...) in calls of one shape, or that for few;
    of one large shape if ``cheap``, where a call costs more than what it computes."""
    n = len(rows[0])
    lanes = CPU_LANES if n > FEW else FEW_LANES
    lanes = lanes if jax.default_backend() == "cpu" and not cheap else GPU_LANES

    def work(start: int):
        pieces = [array[start : start + lanes] for array in rows]
        count = len(pieces[0])
        padded = [np.concatenate([p, np.repeat(p[-1:], lanes - count, axis=0)]) for p in pieces]
        out = function(target, *map(jnp.asarray, padded))
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:count], out)

    starts = range(0, n, lanes)
    # JAX releases the interpreter lock; one call leaves a second core a third idle.
    with ThreadPoolExecutor(THREADS) as pool:
        parts = [work(starts[0]), *pool.map(work, starts[1:])]
    return jax.tree.map(lambda *a: np.concatenate(a), *parts)

"""CPU time of calls, per point: what the benchmarks that compare with other codes share."""

import time
from collections.abc import Callable

import jax
import numpy as np


def microseconds(call: Callable, n: int, repeats: int = 7) -> float:
    """Best of ``repeats``, per point; the first call, not timed, compiles or fills caches."""
    jax.block_until_ready(call())
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        jax.block_until_ready(call())
        best = min(best, time.process_time() - start)
    return 1e6 * best / n


def batched(function: Callable, points: np.ndarray) -> float:
    """Microseconds of ``function`` on the rows of ``points``, in lanes of 32."""
    run = jax.jit(lambda v: jax.lax.map(function, v, batch_size=32))
    return microseconds(lambda: run(points), len(points))

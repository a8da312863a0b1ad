"""Threads that call a likelihood one point at a time, answered in batches.

dynesty moves points one by one, and a compiled likelihood answers 32 calls in the time of a few.
Each of ``size`` threads runs one of dynesty's tasks; a call waits until all that run have called.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np


class Lockstep:
    """A pool for ``dynesty.NestedSampler(pool=..., queue_size=size)``; ``loglike`` is for it."""

    def __init__(self, many: Callable[[np.ndarray], np.ndarray], size: int):
        """``many``: (n, dimension) -> (n,)."""
        self.size, self.calls = size, 0
        self._many = many
        self._changed = threading.Condition()
        self._running, self._waiting = 0, []
        self._threads = ThreadPoolExecutor(size)

    def map(self, function: Callable, arguments: Iterable) -> list:
        return list(self._threads.map(lambda argument: self._task(function, argument), arguments))

    def loglike(self, x: np.ndarray) -> float:
        call = [np.array(x), None]
        with self._changed:
            alone = self._running == 0
            if alone:
                return float(self._many(call[0][None])[0])
            self._waiting.append(call)
            self._answer()
            self._changed.wait_for(lambda: call[1] is not None)
        return call[1]

    def _task(self, function: Callable, argument):
        with self._changed:
            self._running += 1
        try:
            return function(argument)
        finally:
            with self._changed:
                self._running -= 1
                self._answer()

    def _answer(self) -> None:
        """Evaluates what waits, if nothing else runs."""
        if not self._waiting or len(self._waiting) < self._running:
            return
        values = self._many(np.stack([x for x, _ in self._waiting]))
        self.calls += len(values)
        for call, value in zip(self._waiting, values, strict=True):
            call[1] = float(value)
        self._waiting = []
        self._changed.notify_all()

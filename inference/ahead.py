"""What later stages run, compiled on a thread of its own while earlier ones compute."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future


def ahead(*steps: Callable[[], None]) -> list[Future[None]]:
    """Start ``steps``, one after the other; ``result()`` of each one's future waits for it, and
    raises its error, or that of the one before.

    No daemon thread: the interpreter, should it end meanwhile, would crash in the compiler. It
    waits; ``lmltdm`` leaves at once when interrupted.
    """
    futures: list[Future[None]] = [Future() for _ in steps]

    def work() -> None:
        for number, step in enumerate(steps):
            try:
                futures[number].set_result(step())
            except BaseException as error:
                for future in futures[number:]:
                    future.set_exception(error)
                return

    threading.Thread(target=work, name="compilation").start()
    return futures

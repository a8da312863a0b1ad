"""What a long run tells while it works."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as a run goes on; ``share`` in [0, 1] is what is done of ``phase``."""

    def __call__(self, phase: str, share: float, text: str) -> None: ...


def silent(phase: str, share: float, text: str) -> None:
    """Tells nothing."""

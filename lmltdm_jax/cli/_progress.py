"""What a long run shows while it works, and the folder that it writes to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from lmltdm_jax.errors import InputError

_LOG_SECONDS = 20.0


def made_folder(path: Path) -> Path:
    """The folder, made if missing; raises InputError naming it if that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made ({error.strerror})") from None
    return path


class Display:
    """A bar with the time left on a terminal; a line now and then in a pipe or a log."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._lines = not console.is_terminal
        self._started = self._last = time.monotonic()
        self._phase = ""
        self._tasks: dict[str, Any] = {}
        self._progress = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            disable=self._lines,
        )

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._progress.stop()

    def __call__(self, phase: str, share: float, text: str) -> None:
        if self._lines:
            now = time.monotonic()
            if phase != self._phase or now - self._last > _LOG_SECONDS or share == 1.0:
                seconds = now - self._started
                typer.echo(f"{seconds:6.0f} s  {phase:<8} {share:4.0%}  {text}", err=True)
                self._phase, self._last = phase, now
            return
        bar = "sample" if phase == "warm up" else phase
        if bar not in self._tasks:
            self._tasks[bar] = self._progress.add_task(bar, total=1.0, text=text)
        self._progress.update(self._tasks[bar], completed=share, text=text)

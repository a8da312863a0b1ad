"""State of a run on disk: written whole after every step, so that it can be killed at any time."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import time
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax

from lmltdm_jax.errors import InputError

Kept = TypeVar("Kept")
"""A dataclass of what is kept, with the seconds of work in it, ``wall_s``."""
_WRITING = 0.05
"""Of the time of short steps, at most."""


class Checkpoint(Generic[Kept]):
    """A state, and its file in a folder (None: no file), which belongs to one ``fingerprint``.

    A pickle of arrays: load only files that you wrote yourself.
    """

    def __init__(self, folder: Path | None, fingerprint: str, file: str, empty: Kept):
        """
        Raises:
            InputError: the file is damaged or belongs to a run with other settings.
        """
        self.path = None if folder is None else folder / file
        self.fingerprint = fingerprint
        self.state = empty if self.path is None or not self.path.exists() else self._load(self.path)
        self._started = time.perf_counter() - self.state.wall_s  # pyright: ignore[reportAttributeAccessIssue]
        self._next_write = 0.0
        self._unwritten = False

    def keep(self, **changes: Any) -> Kept:
        """The state with changes and the time so far, on disk before it is returned.

        Raises:
            InputError: the file cannot be written.
        """
        self._change(changes)
        self.flush()
        return self.state

    def keep_often(self, **changes: Any) -> Kept:
        """As :meth:`keep`, for short steps: on disk once the time of twenty writes has passed since
        the last one, which is what a kill loses at most. At the end :meth:`flush` what is left.

        Raises:
            InputError: the file cannot be written.
        """
        self._change(changes)
        if time.perf_counter() >= self._next_write:
            self.flush()
        return self.state

    def flush(self) -> None:
        """What is not yet on disk.

        Raises:
            InputError: the file cannot be written.
        """
        if self.path is not None and self._unwritten:
            begun = time.perf_counter()
            self._save(self.path)
            done = time.perf_counter()
            self._next_write = done + (done - begun) / _WRITING
            self._unwritten = False

    def _change(self, changes: dict[str, Any]) -> None:
        wall_s = time.perf_counter() - self._started
        self.state = dataclasses.replace(self.state, wall_s=wall_s, **changes)  # pyright: ignore[reportArgumentType]
        self._unwritten = True

    def _load(self, path: Path) -> Kept:
        try:
            with path.open("rb") as stream:
                fingerprint, state = pickle.load(stream)
        except Exception as error:
            raise InputError(f"{path}: cannot be read ({error}); remove it") from None
        if fingerprint != self.fingerprint:
            raise InputError(
                f"{path} belongs to a run with another preset, model, seed, size or version; "
                "choose another output folder, or remove that file"
            )
        return state

    def _save(self, path: Path) -> None:
        """Replace the file at once; a kill leaves the old one or the new one."""
        hidden = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with hidden.open("wb") as stream:
                pickle.dump((self.fingerprint, jax.device_get(self.state)), stream)
            os.replace(hidden, path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        finally:
            with contextlib.suppress(OSError):
                hidden.unlink()

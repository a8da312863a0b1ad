"""State of a run on disk: written whole after every step, so that it can be killed at any time."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any, Generic, TypeVar

import jax

from lmltdm_jax.errors import InputError

from .nuts import Block
from .target import Evaluated

FILE = "checkpoint.pkl"
Kept = TypeVar("Kept")


@dataclasses.dataclass(frozen=True)
class State:
    """How far a fit has come."""

    stage: Any = None
    """the last complete :class:`smc.Stage`"""
    learned: Any = None
    """what was learned from it, :class:`learn.Learned`"""
    chains: Any = None
    """NUTS state of all chains"""
    points: Evaluated | None = None
    """where the chains are"""
    blocks: tuple[Block, ...] = ()
    """draws after warm-up"""
    done: int = 0
    """blocks done, warm-up included"""
    wall_s: float = 0.0

    def replace(self, **changes: Any) -> State:
        return dataclasses.replace(self, **changes)


class Checkpoint(Generic[Kept]):
    """A file in a folder (None: nothing is kept), belonging to one ``fingerprint``.

    A pickle of arrays: load only files that you wrote yourself.
    """

    def __init__(self, folder: Path | None, fingerprint: str, file: str, empty: Kept):
        self.path = None if folder is None else folder / file
        self.fingerprint, self.empty = fingerprint, empty

    def load(self) -> Kept:
        """The state kept, or the empty one.

        Raises:
            InputError: the file is damaged or belongs to a run with other settings.
        """
        if self.path is None or not self.path.exists():
            return self.empty
        try:
            with self.path.open("rb") as stream:
                fingerprint, state = pickle.load(stream)
        except Exception as error:
            raise InputError(f"{self.path}: cannot be read ({error}); remove it") from None
        if fingerprint != self.fingerprint:
            raise InputError(
                f"{self.path} belongs to a run with another preset, model, seed, size or version; "
                "choose another output folder, or remove that file"
            )
        return state

    def save(self, state: Kept) -> None:
        """Replace the file at once; a kill leaves the old one or the new one."""
        if self.path is None:
            return
        hidden = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            with hidden.open("wb") as stream:
                pickle.dump((self.fingerprint, jax.device_get(state)), stream)
            os.replace(hidden, self.path)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror})") from None
        finally:
            with contextlib.suppress(OSError):
                hidden.unlink()

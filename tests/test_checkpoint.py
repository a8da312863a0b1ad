"""The state of a run on disk: every long step at once, short steps without much writing."""

import dataclasses
import time

import numpy as np
import pytest
from lmltdm_jax.inference.checkpoint import Checkpoint

from lmltdm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Work:
    steps: int = 0
    wall_s: float = 0.0


def on_disk(folder) -> int:
    return Checkpoint(folder, "this", "work.pkl", Work()).state.steps


def test_a_long_step_is_on_disk_at_once(tmp_path):
    checkpoint = Checkpoint(tmp_path, "this", "work.pkl", Work())
    for steps in range(1, 5):
        assert checkpoint.keep(steps=steps).steps == steps == on_disk(tmp_path)


def test_short_steps_are_written_in_a_twentieth_of_the_time(tmp_path, monkeypatch):
    """A clock that only writing (1 s each) and steps (3 s each) move: the next write is 20 s
    after the first, and flush loses nothing."""
    now, written = [100.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    checkpoint = Checkpoint(tmp_path, "this", "work.pkl", Work())
    save = checkpoint._save

    def slow(path):
        now[0] += 1.0
        written.append(checkpoint.state.steps)
        save(path)

    monkeypatch.setattr(checkpoint, "_save", slow)
    for steps in range(1, 18):
        now[0] += 3.0
        assert checkpoint.keep_often(steps=steps).steps == steps
    np.testing.assert_array_equal(written, [1, 8, 15])
    assert on_disk(tmp_path) == 15
    checkpoint.flush()
    assert on_disk(tmp_path) == 17
    checkpoint.flush()
    assert len(written) == 4


def test_another_run_is_refused(tmp_path):
    Checkpoint(tmp_path, "this", "work.pkl", Work()).keep(steps=1)
    with pytest.raises(InputError, match="another output folder"):
        Checkpoint(tmp_path, "that", "work.pkl", Work())

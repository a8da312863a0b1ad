"""Compilation on its own thread: order, errors, nothing to wait for."""

import subprocess
import sys
import threading

import pytest
from lmltdm_jax.inference.ahead import ahead


def test_steps_follow_each_other_on_one_other_thread():
    told, go = [], threading.Event()

    def first():
        go.wait(10.0)
        told.append(("first", threading.current_thread()))

    one, two = ahead(first, lambda: told.append(("second", threading.current_thread())))
    assert not one.done() and not two.done()
    go.set()
    assert two.result(10.0) is None and one.done()
    (a, of_a), (b, of_b) = told
    assert (a, b) == ("first", "second") and of_a is of_b is not threading.current_thread()


def test_an_error_reaches_who_waits_for_it_or_for_what_follows():
    def broken():
        raise ValueError("no program")

    good, bad, never = ahead(lambda: None, broken, lambda: pytest.fail("after an error"))
    assert good.result(10.0) is None
    for future in (bad, never):
        with pytest.raises(ValueError, match="no program"):
            future.result(10.0)


def test_nothing_to_compile():
    assert ahead() == []


@pytest.mark.parametrize("interrupt", ["raise KeyboardInterrupt", "raise SystemExit(130)"])
def test_the_command_line_does_not_wait_for_it_when_interrupted(interrupt):
    code = f"""
import time
from lmltdm_jax import cli
from lmltdm_jax.inference.ahead import ahead

def app():
    ahead(lambda: time.sleep(300.0))
    {interrupt}

cli.app = app
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=120.0, capture_output=True)
    assert done.returncode == 130, done.stderr.decode()

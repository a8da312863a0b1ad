"""Compilation of the package's own programs: where there is a choice, the compiler that is fast.

XLA's newer emitters for fused loops on a CPU take up to twice as long over these graphs (68 s
against 30 s for the gradient of the posterior, on a busy machine) and the result is no faster. JAX
0.10 can still go without; 0.12 cannot, and knows no such option.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import equinox as eqx
import jax

Args = ParamSpec("Args")
Result = TypeVar("Result")

_WISHES = {"xla_cpu_use_fusion_emitters": False}


@functools.cache
def compiler_options() -> dict[str, Any]:
    """``compiler_options`` of ``jax.jit`` for the backend in use; empty where none is known."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda: 0.0, compiler_options=_WISHES).lower().compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return _WISHES


def top_level_jit(function: Callable[Args, Result]) -> Callable[Args, Result]:
    """``equinox.filter_jit`` with :func:`compiler_options`; not for calls inside another jit."""

    @functools.cache
    def compiled() -> Any:
        # At the first call: an import must not choose the backend.
        options = {"compiler_options": compiler_options()}
        return eqx.filter_jit(function, **options)  # pyright: ignore[reportCallIssue]

    @functools.wraps(function)
    def call(*args: Args.args, **kwargs: Args.kwargs) -> Result:
        return compiled()(*args, **kwargs)

    return call

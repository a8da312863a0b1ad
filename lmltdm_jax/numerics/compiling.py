"""Compilation of the package's own programs: where there is a choice, the compiler that is fast.

A program that runs once is not worth optimising: the Hessian of the likelihood compiles in 29 s
instead of 47, and runs for 0.15 s instead of 0.1.

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
_UNOPTIMISED = {"xla_backend_optimization_level": 0}


@functools.cache
def compiler_options(runs_once: bool = False) -> dict[str, Any]:
    """``compiler_options`` of ``jax.jit`` for the backend in use; empty where none is known."""
    if jax.default_backend() != "cpu":
        return {}
    wishes = _WISHES | (_UNOPTIMISED if runs_once else {})
    return {name: wish for name, wish in wishes.items() if _is_known({name: wish})}


def _is_known(options: dict[str, Any]) -> bool:
    try:
        jax.jit(lambda: 0.0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


def top_level_jit(
    function: Callable[Args, Result], runs_once: bool = False
) -> Callable[Args, Result]:
    """``equinox.filter_jit`` with :func:`compiler_options`; not for calls inside another jit."""

    @functools.cache
    def compiled() -> Any:
        # At the first call: an import must not choose the backend.
        options = {"compiler_options": compiler_options(runs_once)}
        return eqx.filter_jit(function, **options)  # pyright: ignore[reportCallIssue]

    @functools.wraps(function)
    def call(*args: Args.args, **kwargs: Args.kwargs) -> Result:
        return compiled()(*args, **kwargs)

    return call

"""Time of the combined likelihood: value and value-and-gradient, single point and batched.

    python benchmarks/engine.py [--preset talk2024] [--points 2048]

Prints compile seconds (cold, no persistent cache), then microseconds a point. One Python process,
float64; set the number of cores outside (e.g. ``taskset -c 0``). The gradient column divided by
the value column says what the gradient costs; finite differences would cost 2 x 7 values.
"""

import argparse
import time

import jax
import numpy as np

from lmltdm_jax import PARAMETER_TABLE, Likelihood, Parameters


def prior_draws(n: int, seed: int = 0) -> np.ndarray:
    """(n, 8) points of the prior box."""
    u = np.random.default_rng(seed).uniform(size=(n, len(PARAMETER_TABLE)))
    low, high = np.log(np.array([info.prior for info in PARAMETER_TABLE])).T
    return np.exp(low + u * (high - low))


def seconds(function, argument, repeats: int = 5) -> float:
    """Best of ``repeats`` wall times of one call, results waited for."""
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(argument))
        best = min(best, time.perf_counter() - start)
    return best


def compile_seconds(function, argument) -> float:
    """Wall time of tracing, lowering and compiling."""
    start = time.perf_counter()
    function.lower(argument).compile()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="talk2024")
    parser.add_argument("--points", type=int, default=2048)
    arguments = parser.parse_args()
    likelihood = Likelihood.from_preset(arguments.preset)

    def value(vector):
        return likelihood(Parameters.from_vector(vector))

    points = prior_draws(arguments.points)
    print(f"preset {arguments.preset}, {jax.devices()[0].device_kind}, jax {jax.__version__}")
    print(f"{'':<18}{'compile s':>11}{'single us':>12}{'batched us':>12}")
    for label, function in (("value", value), ("value and grad", jax.value_and_grad(value))):
        single = jax.jit(function)
        batched = jax.jit(lambda v, f=function: jax.lax.map(f, v, batch_size=32))
        compiling = compile_seconds(single, points[0])
        jax.block_until_ready(single(points[0]))
        jax.block_until_ready(batched(points))
        one = 1e6 * seconds(single, points[0], 50)
        many = 1e6 * seconds(batched, points) / len(points)
        print(f"{label:<18}{compiling:>11.1f}{one:>12.1f}{many:>12.1f}")


if __name__ == "__main__":
    main()

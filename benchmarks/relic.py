"""Time and memory of Omega h^2: value, gradient, compilation, against scipy in the same run.

    python benchmarks/relic.py [--batch 100000]

CPU time of one process, all its threads, so that other work on the machine counts less; float64.
Set the number of cores outside (e.g. ``taskset -c 0``). The points are the 31 reference points of
the tests, repeated. scipy solves the same Boltzmann equation (Radau, rtol 1e-6) with our
<sigma v> handed to it for nothing, so its column is a lower bound. The times of micrOMEGAs are
quoted from the reference table, per point, from another machine.
"""

import argparse
import json
import math
import resource
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicSpline

from lmltdm_jax import Parameters
from lmltdm_jax.constants import M_PLANCK, OMEGA_H2_PREFACTOR
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.numerics.compiling import compiler_options
from lmltdm_jax.observables.relic_density import _plasma_at, relic_density
from lmltdm_jax.parameters import PARAMETER_NAMES
from lmltdm_jax.widths import build_widths

MICROMEGAS_S = {"darkOmega, Fast=0, -O2": 0.258, "darkOmega, Fast=1, -O2": 0.0164}
"""Median CPU seconds a point (micrOMEGAs 6.0, reference table of this project)."""

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "relic.json"
KEYS = ("MZp", "gX", "sTh", "MX", "MH1", "QPhi", "lPX", "QX")
LANES = 32
SM = StandardModel.load("talk2024")


def solution(vector):
    """(Omega h^2, x, <sigma v>) of one point."""
    point = build_point(Parameters.from_vector(vector), SM)
    found = relic_density(point, build_widths(point))
    return found.omega_h2, found.x, found.sigma_v


def omega(vector):
    return solution(vector)[0]


def cpu_seconds(function, *arguments, repeats=5):
    """Least CPU time of one call."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        jax.block_until_ready(function(*arguments))
        best = min(best, time.process_time() - start)
    return best


def compiled(function, argument):
    """The compiled function and CPU seconds of tracing, lowering and compiling."""
    start = time.process_time()
    program = jax.jit(function, compiler_options=compiler_options()).lower(argument).compile()
    return program, time.process_time() - start


def plasma_splines(m_x, ln_x):
    """ln h and ln of h (1 + dln h/dln T / 3)/sqrt(g) over ln x."""
    return (
        CubicSpline(ln_x, np.log(np.asarray(v)))
        for v in _plasma_at(m_x / jnp.asarray(np.exp(ln_x)))
    )


def radau(m_x, x, sigma_v, x_end=1e8):
    """Omega h^2 by scipy from the table of <sigma v>, constant beyond its end."""
    ln_average = CubicSpline(np.log(x), np.log(sigma_v))
    ln_h, ln_speed = plasma_splines(m_x, np.linspace(0.0, math.log(x_end), 2000))
    scale = 0.5 * math.sqrt(math.pi / 45.0) * M_PLANCK * m_x

    def coefficients(ln_x):
        z = math.exp(ln_x)
        average = math.exp(ln_average(min(ln_x, math.log(x[-1]))))
        rate = scale / z * math.exp(ln_speed(ln_x)) * average
        bare = math.log(45.0 / (2.0 * math.pi**4) * z**2 * special.kve(2, z)) - z
        return rate, bare - float(ln_h(ln_x))

    def rhs(ln_x, w):
        rate, ln_yeq = coefficients(ln_x)
        return [-rate * (math.exp(w[0]) - math.exp(min(2.0 * ln_yeq - w[0], 300.0)))]

    def jacobian(ln_x, w):
        rate, ln_yeq = coefficients(ln_x)
        return [[-rate * (math.exp(w[0]) + math.exp(min(2.0 * ln_yeq - w[0], 300.0)))]]

    start = [coefficients(0.0)[1]]
    span = (0.0, math.log(x_end))
    found = solve_ivp(rhs, span, start, "Radau", rtol=1e-6, atol=1e-6, jac=jacobian)
    return OMEGA_H2_PREFACTOR * m_x * math.exp(found.y[0, -1])


def memory_mb():
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=100_000)
    count = parser.parse_args().batch
    inputs = [p["inputs"] for p in json.loads(GOLDEN.read_text())["points"]]
    points = np.array([[p[k] for k in KEYS] for p in inputs], dtype=float)
    timed = np.tile(points, (33, 1))[:1024]

    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}; CPU us a point")
    print(f"{'':<18}{'compile s':>11}{'single':>10}{f'batched by {LANES}':>16}")
    both = jax.value_and_grad(omega)
    batched = {}
    for label, function in (("value", omega), ("value and grad", both)):
        single, seconds = compiled(function, points[0])
        many, _ = compiled(lambda v, f=function: jax.lax.map(f, v, batch_size=LANES), timed)
        batched[label] = 1e6 * cpu_seconds(many, timed) / len(timed)
        one = 1e6 * np.median([cpu_seconds(single, p, repeats=20) for p in points])
        print(f"{label:<18}{seconds:>11.1f}{one:>10.0f}{batched[label]:>16.0f}")

    ours, x, average = (np.asarray(a) for a in jax.jit(lambda v: jax.lax.map(solution, v))(points))
    m_x = points[:, PARAMETER_NAMES.index("m_x")]
    start = time.process_time()
    theirs = np.array([radau(*args) for args in zip(m_x, x, average, strict=True)])
    scipy_us = 1e6 * (time.process_time() - start) / len(points)
    value, gradient = batched["value"], batched["value and grad"]
    print(f"\n{'':<32}{'us a point':>12}{'/ value':>9}{'/ value and grad':>18}")
    rows = {"scipy Radau": scipy_us} | {
        f"{name} (quoted)": 1e6 * seconds for name, seconds in MICROMEGAS_S.items()
    }
    for name, us in rows.items():
        print(f"{name:<32}{us:>12.0f}{us / value:>9.0f}{us / gradient:>18.0f}")
    worst = np.abs(ours / theirs - 1.0).max()
    print(f"largest difference to scipy {worst:.0e}")

    large = np.tile(points, (count // len(points) + 1, 1))[:count]
    many, _ = compiled(lambda v: jax.lax.map(both, v, batch_size=LANES), large)
    before = memory_mb()
    jax.block_until_ready(many(large))
    print(f"{count} points, value and grad: {memory_mb():.0f} MB resident, {before:.0f} MB before")


if __name__ == "__main__":
    main()

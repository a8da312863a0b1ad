"""Time of N_eff: the table, the solve behind it, and scipy on the same equations, in one run.

    python benchmarks/neff.py [--points 64]

CPU time of one process, all its threads, so that other work on the machine counts less; float64.
Set the number of cores outside (e.g. ``taskset -c 0``). scipy integrates the same right-hand side
(jitted, one call from Python a step) with the tolerances given; the difference of N_eff to it is
printed, too.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from lmltdm_jax import Parameters
from lmltdm_jax.observables import plasma
from lmltdm_jax.observables import thermal_history as th
from lmltdm_jax.observables.n_eff import late_neutrinos

TABLE_POINTS = 65536


def draws(n: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """(m_Z' [GeV], g_X, epsilon) where closure D holds: 2 to 100 MeV, 1e-7 to 1e-2."""
    u, v = np.random.default_rng(seed).uniform(size=(2, n))
    m, g = 2e-3 * 50.0**u, 1e-7 * 1e5**v
    return m, g, g / 70


def scipy_n_eff(method: str, rtol: float):
    """Closure D of one point by scipy, as a function of (m [GeV], epsilon)."""

    @jax.jit
    def rhs(y, m, width):
        return th._equilibrium_rhs(y, m, width, "D", True)

    jacobian = jax.jit(jax.jacfwd(rhs))

    def solve(m_zp: float, epsilon: float) -> float:
        m = jnp.asarray(1e3 * m_zp)
        width = th._width_ee(m, jnp.asarray(epsilon))
        start, length = th._range(m)
        found = solve_ivp(
            lambda _, y: np.asarray(rhs(y, m, width)),
            (0.0, float(length)),
            [float(jnp.log(start)), 0.0, 0.0],
            method,
            jac=lambda _, y: np.asarray(jacobian(y, m, width)),
            rtol=rtol,
            atol=1e-2 * rtol,
        )
        assert found.success, found.message
        _, d, eta = found.y[:, -1]
        rho = plasma.neutrino_moments(jnp.asarray(eta)).rho
        return float(th._N_EFF_FACTOR * np.exp(4 * d) * rho / (np.pi**2 / 15))

    return solve


def seconds(function, argument, repeats: int = 5) -> float:
    """Least CPU time of ``repeats`` calls, results waited for; the first call is not counted."""
    times = []
    for _ in range(1 + repeats):
        start = time.process_time()
        jax.block_until_ready(function(argument))
        times.append(time.process_time() - start)
    return min(times[1:])


def compile_seconds(function, argument) -> float:
    """CPU time of tracing, lowering and compiling."""
    start = time.process_time()
    function.lower(argument).compile()
    return time.process_time() - start


def report(label: str, compiling: float | None, micro: float) -> None:
    first = "" if compiling is None else f"{compiling:.1f}"
    print(f"{label:<44}{first:>11}{micro:>14.4g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=64)
    n = parser.parse_args().points
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
    print(f"{'':<44}{'compile s':>11}{'us a point':>14}")

    m, g, _ = draws(TABLE_POINTS)
    table = jax.jit(lambda v: jax.lax.map(lambda p: late_neutrinos(*p), v, batch_size=32))
    report(
        f"table, {TABLE_POINTS} points in lanes of 32",
        compile_seconds(table, (m, g)),
        1e6 * seconds(table, (m, g)) / TABLE_POINTS,
    )

    m, g, epsilon = draws(n)
    star = Parameters.benchmark()
    point = (float(star.m_zp), float(star.g_x), float(star.g_x) / 70)
    solves, single = {}, {}
    for closure in "BD":
        one = jax.jit(lambda v, c=closure: th.n_eff_ode(*v, c))
        many = jax.jit(jax.vmap(one))
        compiling, single[closure] = compile_seconds(one, point), 1e6 * seconds(one, point)
        report(f"closure {closure}, one point", compiling, single[closure])
        report(
            f"closure {closure}, vmap over {n}",
            compile_seconds(many, (m, g, epsilon)),
            1e6 * seconds(many, (m, g, epsilon), 2) / n,
        )
        solves[closure] = many((m, g, epsilon))
    gradient = jax.jit(jax.grad(lambda v: th.n_eff_ode(*v, "D")))
    report("closure D, gradient", compile_seconds(gradient, point), 1e6 * seconds(gradient, point))

    few = range(min(n, 8))
    for method, rtol in (("LSODA", 1e-6), ("LSODA", 1e-8), ("BDF", 1e-6)):
        solve = scipy_n_eff(method, rtol)
        solve(m[0], epsilon[0])
        start = time.process_time()
        values = [solve(m[i], epsilon[i]) for i in few]
        micro = 1e6 * (time.process_time() - start) / len(values)
        report(f"closure D, scipy {method}, rtol {rtol:g}", None, micro)
        off = np.max(np.abs(values - np.asarray(solves["D"])[: len(values)]))
        ratio = micro / single["D"]
        print(f"    {ratio:.3g} times closure D, one point; N_eff differs by at most {off:.1e}")


if __name__ == "__main__":
    main()

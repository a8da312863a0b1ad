"""Cost of a cell of a profile: ours against iminuit's migrad with numerical gradients, in one run.

    python benchmarks/profile.py [--cells 256] [--restarted 64] [--preset talk2024]

Cells are drawn at random from the 50 x 50 plane (m_h1, sin theta). Both call the same likelihood,
compiled. iminuit gets it over box coordinates (log10), where it has fewest calls, with limits. CPU
time of one process, all its threads, so that other work on the machine counts less; compilation
left out.

1. One minimisation, both from the same point, the best of the SMC's population moved to the cell.
   Ours with as many steps as a profile begins with, with twice as many, and run to the end.
2. The whole profile, SMC, sweeps and best fit included, for each of its cells; and iminuit from
   starts in one chart after another, until it is as low to 0.01, at most 40 times. The starts are
   chosen as the profile does, which is not counted.
"""

import argparse
import time

import iminuit
import jax
import numpy as np
from lmltdm_jax.inference import fit as fitting
from lmltdm_jax.inference import profile as profiling
from lmltdm_jax.inference.minimise import MAX_STEPS, minimise
from lmltdm_jax.inference.profile_grid import Grid
from lmltdm_jax.inference.profile_starts import anywhere, near

from lmltdm_jax.numerics.compiling import compiler_options

NAMES, SIZE = ("m_h1", "sin_theta"), 50
TRIED, RESTARTS = profiling.ProfileSettings.candidates, 40


class Migrad:
    """chi2 over box coordinates, and iminuit on it."""

    def __init__(self, target, free: np.ndarray):
        prior = target.coordinates.prior
        n = len(prior.parameters)

        def chi2(x):
            terms = target.likelihood.terms(*prior.physical(x))
            return (x[n:] ** 2).sum() - 2.0 * sum(terms.values())

        compiled = jax.jit(chi2, compiler_options=compiler_options())
        program = compiled.lower(np.zeros(prior.dimension)).compile()
        self.chi2 = lambda x: float(program(np.asarray(x)))
        self.limits = [*zip(*prior.box, strict=True), *[(None, None)] * (prior.dimension - n)]
        self.to_box, self.fixed = target.coordinates.to_box_many, ~free

    def __call__(self, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """chi2 and number of calls of every start (n, dimension) in y; CPU seconds."""
        found, begun = [], time.process_time()
        for x in self.to_box(starts):
            fit = iminuit.Minuit(self.chi2, x)
            fit.limits, fit.fixed = self.limits, self.fixed
            fit.migrad()
            found.append((fit.fval, fit.nfcn))
        seconds = time.process_time() - begun
        values, calls = np.array(found).T
        return values, calls, seconds


def one_minimisation(target, grid: Grid, pool, migrad: Migrad, count: int) -> None:
    _, first = near(target, grid, pool, TRIED)
    starts = first[np.random.default_rng(0).choice(len(first), count, replace=False)]
    theirs, calls, seconds = migrad(starts)
    print(f"{'one minimisation':<17}{'cells':>7}{'CPU ms a cell':>15}{'evaluations a cell':>20}")
    other = 1e3 * seconds / count
    print(f"{'iminuit':<17}{count:>7}{other:>15.1f}{calls.mean():>20.0f}   without gradient")
    few = profiling.ProfileSettings.steps
    for steps in (few, 2 * few, MAX_STEPS):
        begun = time.process_time()
        ours = minimise(target, starts, grid.free, steps=steps)
        cost = 1e3 * (time.process_time() - begun) / count
        name = f"ours, {steps} steps"
        print(f"{name:<17}{count:>7}{cost:>15.1f}{ours.steps.mean():>20.0f}   with gradient")
        excess = theirs - ours.chi2
        print(
            f"    {other / cost:.1f} times cheaper; iminuit higher by > 0.01 in "
            f"{np.mean(excess > 0.01):.0%}, lower in {np.mean(excess < -0.01):.0%}"
        )


def whole_profile(target, grid: Grid, pool, migrad: Migrad, count: int) -> None:
    begun = time.process_time()
    profile = profiling.run(target, profiling.ProfileSettings(NAMES, SIZE), seed=0)
    ours = 1e3 * (time.process_time() - begun) / len(profile.cells.chi2)
    rng = np.random.default_rng(1)
    lowest, chosen, seconds = np.full(count, np.inf), None, 0.0
    for turn in range(RESTARTS):
        cells, starts = anywhere(target, grid, pool, TRIED, turn, rng)
        chosen = rng.choice(len(cells), count, replace=False) if chosen is None else chosen
        excess = lowest - profile.cells.chi2[cells[chosen]]
        higher = np.flatnonzero(excess > 0.01)
        found, _, more = migrad(starts[chosen[higher]])
        lowest[higher], seconds = np.minimum(lowest[higher], found), seconds + more
    excess = lowest - profile.cells.chi2[cells[chosen]]
    theirs = 1e3 * seconds / count
    print(
        f"whole profile: {ours:.0f} CPU ms a cell; iminuit, restarted: {theirs:.0f} ({count} cells)"
    )
    print(
        f"    {theirs / ours:.1f} times cheaper; iminuit higher by > 0.01 in "
        f"{np.mean(excess > 0.01):.0%}, by {excess.max():.1f} at most, lower in "
        f"{np.mean(excess < -0.01):.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=256)
    parser.add_argument("--restarted", type=int, default=64)
    parser.add_argument("--preset", default="talk2024")
    options = parser.parse_args()
    target = fitting.build_target(options.preset)
    grid = Grid.over(target.coordinates.prior, NAMES, SIZE)
    small = profiling.run(target, profiling.ProfileSettings(NAMES, 2), seed=0)
    migrad = Migrad(target, grid.free)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {options.preset}")
    one_minimisation(target, grid, small.pool, migrad, options.cells)
    whole_profile(target, grid, small.pool, migrad, options.restarted)


if __name__ == "__main__":
    main()

"""Cost of a cell of a profile: ours against iminuit's migrad with numerical gradients, in one run.

    python benchmarks/profile.py [--cells 256] [--minuit 256] [--preset talk2024]

Cells are drawn at random from the 50 x 50 plane (m_h1, sin theta). Both start from the same point,
the best of the SMC's population moved to the cell, and call the same likelihood, compiled. iminuit
gets it over box coordinates (log10), where it has fewest calls, with limits. Ours is shown with as
many steps as in a profile, and run to the end. CPU time of one process, all its threads, so that
other work on the machine counts less; compilation left out. The time of the SMC and of the sweeps
over neighbours is not in it: the first falls on both, the second is what iminuit would need more
starts for.
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
from lmltdm_jax.inference.profile_starts import near

from lmltdm_jax.numerics.compiling import compiler_options

NAMES, SIZE = ("m_h1", "sin_theta"), 50


def migrad(target, starts: np.ndarray, free: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """chi2 and number of calls of every start (n, dimension) in box coordinates; CPU seconds."""
    prior = target.coordinates.prior
    n = len(prior.parameters)

    def chi2(x):
        terms = target.likelihood.terms(*prior.physical(x))
        return (x[n:] ** 2).sum() - 2.0 * sum(terms.values())

    program = jax.jit(chi2, compiler_options=compiler_options()).lower(starts[0]).compile()
    limits = [*zip(*prior.box, strict=True), *[(None, None)] * (prior.dimension - n)]
    found = []
    begun = time.process_time()
    for x in starts:
        fit = iminuit.Minuit(lambda x: float(program(np.asarray(x))), x)
        fit.limits, fit.fixed = limits, ~free
        fit.migrad()
        found.append((fit.fval, fit.nfcn))
    seconds = time.process_time() - begun
    values, calls = np.array(found).T
    return values, calls, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=256)
    parser.add_argument("--minuit", type=int, default=256)
    parser.add_argument("--preset", default="talk2024")
    options = parser.parse_args()
    target = fitting.build_target(options.preset)
    grid = Grid.over(target.coordinates.prior, NAMES, SIZE)
    settings = profiling.ProfileSettings(NAMES, 2)
    small = profiling.run(target, settings, seed=0)
    _, first = near(target, grid, small.pool, settings.candidates)
    cells = np.random.default_rng(0).choice(len(first), options.cells, replace=False)
    starts = first[cells]
    rows = []
    for name, steps in (("as in a profile", profiling.ProfileSettings.steps), ("ours", MAX_STEPS)):
        begun = time.process_time()
        rows.append((name, minimise(target, starts, grid.free, steps=steps)))
        rows[-1] += (1e3 * (time.process_time() - begun) / len(cells),)
    x = target.coordinates.to_box_many(starts[: options.minuit])
    theirs, calls, seconds = migrad(target, x, grid.free)

    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, {options.preset}")
    print(f"{'':<17}{'cells':>7}{'CPU ms a cell':>15}{'evaluations a cell':>20}")
    other = 1e3 * seconds / len(x)
    print(f"{'iminuit':<17}{len(x):>7}{other:>15.1f}{calls.mean():>20.0f}   without gradient")
    for name, ours, cost in rows:
        print(f"{name:<17}{len(cells):>7}{cost:>15.1f}{ours.steps.mean():>20.0f}   with gradient")
        excess = theirs - ours.chi2[: len(x)]
        print(
            f"    {other / cost:.1f} times cheaper; iminuit higher by > 0.01 in "
            f"{np.mean(excess > 0.01):.0%}, lower in {np.mean(excess < -0.01):.0%}"
        )


if __name__ == "__main__":
    main()

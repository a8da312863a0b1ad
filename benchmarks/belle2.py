"""Time of the Belle II shape likelihood beside pyhf on the same workspace, in one run.

    python benchmarks/belle2.py [--points 1024]

Microseconds a point, batched in lanes of 32, one process, float64; set the number of cores
outside (e.g. ``taskset -c 0``). "rates" is the spectrum of B -> K inv with all widths; the rows
with nuisances include it. pyhf evaluates one point a call with its numpy backend and has no
gradient there; its value is at given nuisances, template changes not included.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import pyhf

from lmltdm_jax import PARAMETER_TABLE, Parameters
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.belle2_data import belle2_workspace, bin_edges
from lmltdm_jax.likelihoods.belle2_shape import Belle2Shape
from lmltdm_jax.likelihoods.histfactory import loglike_per_bin
from lmltdm_jax.likelihoods.histfactory_fit import fit
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.b_to_k import spectrum_bplus_kplus_np
from lmltdm_jax.observables.b_to_k_spectrum import sm_bin_fractions
from lmltdm_jax.widths import build_widths

SM = StandardModel.load("pdg2026")
TERM = Belle2Shape.load()


def near_best_fit(n: int, seed: int = 0) -> np.ndarray:
    """(n, 8) points around a 2.1 GeV H1 with BR of order 1e-5, where a sampler spends its time."""
    rng = np.random.default_rng(seed)
    centre = {"m_zp": 0.0115, "g_x": 5e-4, "sin_theta": 4e-3, "m_x": 0.05, "m_h1": 2.1}
    centre |= {"q_phi": 0.4, "lambda_phix": 0.01, "q_x": 1.0}
    vector = np.array([centre[info.name] for info in PARAMETER_TABLE])
    return vector * np.exp(0.1 * rng.normal(size=(n, len(vector))))


def spectrum(vector):
    point = build_point(Parameters.from_vector(vector), SM)
    return spectrum_bplus_kplus_np(point, build_widths(point))


def signal(vector):
    return TERM.signal_of(sm_bin_fractions(SM, bin_edges()), spectrum(vector))


def rates(vector):
    return jnp.sum(spectrum(vector).br)


def given(vector):
    zero = jnp.zeros(len(TERM.model.parameters)), jnp.zeros(len(TERM.model.observed))
    return loglike_per_bin(TERM.model, signal(vector), *zero)


def profile(vector):
    return fit(TERM.model, signal(vector), jnp.asarray(TERM.start)).loglike


def laplace(vector):
    return fit(TERM.model, signal(vector), jnp.asarray(TERM.start)).laplace


def microseconds(call, n: int, repeats: int = 5) -> float:
    """Best of ``repeats``, per point; the first call, not timed, compiles."""
    jax.block_until_ready(call())
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        best = min(best, time.perf_counter() - start)
    return 1e6 * best / n


def pyhf_microseconds() -> float:
    workspace = pyhf.Workspace(belle2_workspace())
    model = workspace.model(modifier_settings={"normsys": {"interpcode": "code1"}})
    data, start = workspace.data(model), np.array(model.config.suggested_init())
    return microseconds(lambda: [model.logpdf(start, data) for _ in range(50)], 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1024)
    points = near_best_fit(parser.parse_args().points)
    reference = pyhf_microseconds()
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, pyhf {pyhf.__version__}")
    print(f"pyhf value at given nuisances: {reference:.0f} us")
    print(f"{'':<18}{'value us':>10}{'value+grad us':>15}{'ratio':>7}{'pyhf/value':>12}")
    for function in (rates, given, profile, laplace):
        times = []
        for f in (function, jax.value_and_grad(function)):
            batched = jax.jit(lambda v, f=f: jax.lax.map(f, v, batch_size=32))
            times.append(microseconds(lambda b=batched: b(points), len(points)))
        value, gradient = times
        print(
            f"{function.__name__:<18}{value:>10.1f}{gradient:>15.1f}{gradient / value:>7.1f}"
            f"{reference / value:>12.1f}"
        )


if __name__ == "__main__":
    main()

"""Flavour rates and Belle II's shape likelihood beside flavio, EOS and pyhf, in one run.

    python benchmarks/flavour.py [--points 1024]

flavio and EOS come with the extra ``benchmark``; what is missing is named and left out.
Microseconds of CPU time a point, one process, all its threads, float64; set the number of cores
outside (``taskset -c 0``). Ours runs in batches, in lanes of 32; the peers evaluate one point a
call, which is what they offer. In brackets: times our value.

- SM rows: a point is one form factor (its series coefficients change from point to point).
  dBR/dq2 at 26 values of q2, and the integral over six bins, each code with its own f_+ and
  quadrature (flavio: to 0.5 %, ours and EOS: to rounding); no gradients there. What does not
  change (momentum and z at each q2) is computed when compiling here, z is cached in flavio, and
  EOS computes both again.
- H1* row: B+ -> K+ inv through H1 and H2 with all widths and poles. No peer has it.
- ln L rows: "signal given" is the likelihood alone at a strength of the SM's shape; our gradient
  is to nuisances, as pyhf's with its JAX backend. "pyhf" is the numpy backend for values and the
  jitted JAX backend for gradients; its profile fit starts at our best nuisances, too.
- Last rows: the whole chain from 8 parameters of the model to ln L, gradient to all 8.
"""

import argparse
import importlib
import itertools
import logging
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyhf
from rich.console import Console
from rich.table import Table
from timing import batched, microseconds

from lmltdm_jax import PARAMETER_TABLE, Parameters
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.belle2_data import belle2_workspace, bin_edges
from lmltdm_jax.likelihoods.belle2_shape import Belle2Shape
from lmltdm_jax.likelihoods.histfactory import loglike, loglike_per_bin
from lmltdm_jax.likelihoods.histfactory_fit import fit
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.b_to_k import spectrum_bplus_kplus_np
from lmltdm_jax.observables.b_to_k_nunu import dbr_dq2_sm
from lmltdm_jax.observables.b_to_k_spectrum import sm_bin_fractions
from lmltdm_jax.widths import build_widths

SM = StandardModel.load("pdg2026")
TERM = Belle2Shape.load()
MODEL = TERM.model
Q2 = np.linspace(0.5, 22.5, 26)
BINS = np.array([0.1, 4.0, 8.0, 12.0, 16.0, 20.0, 22.5])
FINE = np.interp(np.linspace(0.0, 6.0, 49), np.arange(7), BINS)
PEER_POINTS = 3


class Row(NamedTuple):
    job: str
    ours: Callable
    points: np.ndarray
    peers: dict[str, float]
    peer_gradient: float | None = None


def near_best_fit(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 8) points around a 2.1 GeV H1 with BR of order 1e-5, where a sampler spends its time."""
    centre = {"m_zp": 0.0115, "g_x": 5e-4, "sin_theta": 4e-3, "m_x": 0.05, "m_h1": 2.1}
    centre |= {"q_phi": 0.4, "lambda_phix": 0.01, "q_x": 1.0}
    vector = np.array([centre[info.name] for info in PARAMETER_TABLE])
    return vector * np.exp(0.1 * rng.normal(size=(n, len(vector))))


def sm_spectrum(whitened):
    return jnp.sum(dbr_dq2_sm(SM.replace(bk_whitened=whitened), Q2))


def sm_bins(whitened):
    return jnp.sum(sm_bin_fractions(SM.replace(bk_whitened=whitened), FINE))


def spectrum(vector):
    point = build_point(Parameters.from_vector(vector), SM)
    return spectrum_bplus_kplus_np(point, build_widths(point))


def h1_rates(vector):
    return jnp.sum(spectrum(vector).br)


def signal(vector):
    return TERM.signal_of(sm_bin_fractions(SM, bin_edges()), spectrum(vector))


def likelihood_alone(nuisances):
    """ln L with a gamma for every sample and bin, as pyhf has them."""
    alpha, gamma = jnp.split(nuisances, [len(MODEL.parameters)])
    return loglike(MODEL, MODEL.signal(1.0), alpha, gamma.reshape(MODEL.stat.shape))


def likelihood_profiled(strength):
    return fit(MODEL, MODEL.signal(strength[0]), jnp.asarray(TERM.start)).loglike


def chain_given(vector):
    zero = jnp.zeros(len(MODEL.parameters)), jnp.zeros(len(MODEL.observed))
    return loglike_per_bin(MODEL, signal(vector), *zero)


def chain_profiled(vector):
    return fit(MODEL, signal(vector), jnp.asarray(TERM.start)).loglike


def chain_laplace(vector):
    return fit(MODEL, signal(vector), jnp.asarray(TERM.start)).laplace


def peer(name: str):
    """The module, or None and a line that says why not."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # flavio 2.7 misses a file of newer `particle`
        print(f"{name} is missing: {error!r} (pip install 'lmltdm-jax[benchmark]')")
        return None


def flavio_times(flavio) -> tuple[float, float]:
    """Spectrum and bins: the parameters are changed before every point."""
    central = flavio.default_parameters.get_central_all()
    wilson = flavio.WilsonCoefficients()
    spectrum = flavio.Observable["dBR/dq2(B+->Knunu)"]
    binned = flavio.Observable["<dBR/dq2>(B+->Knunu)"]
    shifts = 0.01 * np.arange(1, PEER_POINTS + 1)

    def run(observable, arguments):
        for shift in shifts:
            name = "B->K BSZ a1_f+"
            moved = {**central, name: central[name] * (1.0 + shift)}
            for values in arguments:
                observable.prediction_par(moved, wilson, *values)

    bins = list(itertools.pairwise(BINS))
    return (
        microseconds(lambda: run(spectrum, [(q2,) for q2 in Q2]), PEER_POINTS),
        microseconds(lambda: run(binned, bins), PEER_POINTS, 2),
    )


def eos_times(eos) -> tuple[float, float]:
    """Observables are made once; a point sets a coefficient and evaluates all of them."""
    parameters = eos.Parameters.Defaults()
    options = eos.Options(**{"form-factors": "BSZ2015", "model": "WET", "q": "u"})

    def make(name, **kinematics):
        values = {key: float(value) for key, value in kinematics.items()}
        return eos.Observable.make(name, parameters, eos.Kinematics(**values), options)

    spectrum = [make("B->Knunu::dBR/dq2", q2=q2) for q2 in Q2]
    binned = [
        make("B->Knunu::BR", q2_min=low, q2_max=high) for low, high in itertools.pairwise(BINS)
    ]
    name = "B->K::alpha^f+_1@BSZ2015"
    central = parameters[name].evaluate()

    def run(observables):
        for shift in np.linspace(0.0, 0.1, 100):
            parameters.set(name, central * (1.0 + shift))
            for observable in observables:
                observable.evaluate()

    return microseconds(lambda: run(spectrum), 100), microseconds(lambda: run(binned), 100)


def pyhf_times() -> tuple[float, float, float]:
    """Value (numpy), value and gradient (JAX, jitted), profile at strength 1 (JAX, scipy)."""
    workspace = pyhf.Workspace(belle2_workspace())

    def model():
        return workspace.model(modifier_settings={"normsys": {"interpcode": "code1"}})

    pyhf.set_backend("numpy")
    numpy_model = model()
    data, start = workspace.data(numpy_model), np.array(numpy_model.config.suggested_init())
    value = microseconds(lambda: [numpy_model.logpdf(start, data) for _ in range(50)], 50)
    pyhf.set_backend("jax")
    jax_model, data = model(), jnp.asarray(data)
    both = jax.jit(jax.value_and_grad(lambda p: jax_model.logpdf(p, data)[0]))
    gradient = microseconds(lambda: [both(start) for _ in range(50)], 50)
    near = np.array(start)
    for name, alpha in zip(MODEL.parameters, TERM.start, strict=True):
        near[jax_model.config.par_slice(name)] = alpha
    profile = microseconds(
        lambda: pyhf.infer.mle.fixed_poi_fit(1.0, data, jax_model, init_pars=list(near)), 1, 1
    )
    pyhf.set_backend("numpy")
    return value, gradient, profile


def rows(n: int) -> list[Row]:
    rng = np.random.default_rng(0)
    whitened, vectors = rng.normal(size=(n, 5)), near_best_fit(n, rng)
    nuisances = 0.1 * rng.normal(size=(n, len(MODEL.parameters) + MODEL.stat.size))
    strengths = rng.uniform(0.5, 5.0, size=(n, 1))
    spectra, bins = {}, {}
    for name, timer in (("flavio", flavio_times), ("eos", eos_times)):
        module = peer(name)
        if module is not None:
            spectra[name], bins[name] = timer(module)
    value, gradient, profile = pyhf_times()
    return [
        Row("SM dBR/dq2 at 26 q2", sm_spectrum, whitened, spectra),
        Row("SM BR in 6 bins", sm_bins, whitened, bins),
        Row("B+ -> K+ H1*, all widths", h1_rates, vectors, {}),
        Row("ln L, signal given", likelihood_alone, nuisances, {"pyhf": value}, gradient),
        Row("ln L, signal given, profiled", likelihood_profiled, strengths, {"pyhf": profile}),
        Row("chain, nuisances given", chain_given, vectors, {}),
        Row("chain, profiled", chain_profiled, vectors, {}),
        Row("chain, Laplace", chain_laplace, vectors, {}),
    ]


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1e3 else f"{value:.3g}"


def compared(peer_time: float | None, ours: float) -> str:
    return "" if peer_time is None else f"{short(peer_time)} ({short(peer_time / ours)})"


def main() -> None:
    logging.getLogger("pyhf").setLevel(logging.WARNING)  # EOS turns messages of all packages on
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1024)
    table = Table(
        title=f"microseconds a point; {jax.devices()[0].device_kind}, jax {jax.__version__}"
    )
    for heading in ("", "value", "value+grad", "ratio", "flavio", "EOS", "pyhf", "pyhf+grad"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows(parser.parse_args().points):
        value = batched(row.ours, row.points)
        gradient = batched(jax.value_and_grad(row.ours), row.points)
        peers = [compared(row.peers.get(name), value) for name in ("flavio", "eos", "pyhf")]
        last = compared(row.peer_gradient, gradient)
        ours = short(value), short(gradient), f"{gradient / value:.1f}"
        table.add_row(row.job, *ours, *peers, last)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()

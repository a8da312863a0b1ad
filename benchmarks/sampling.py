"""Whole posteriors: ``lmltdm fit`` beside dynesty and emcee on the same compiled likelihood.

    python benchmarks/sampling.py [--preset talk2024] [--quick] [--minutes 10]

Effective draws a second of wall time, compilation and every stage included, one run after the
other. Effective draws: ours and emcee's the least bulk ess of ArviZ over all parameters, walkers as
chains; dynesty's, whose draws are weighted and independent, Kish's (sum w)^2/sum w^2. emcee gets
the walkers' half of the run that is later. A peer that is not done within ``--minutes`` is stopped
and shown with how far it came: its draws do not follow the posterior yet, and effective draws a
second are an upper limit. The share of the two-body lobe (m_h1 < m_B - m_K) says whether all modes
were found in proportion.
"""

import argparse
import time

import emcee
import jax
import numpy as np
from dynesty import NestedSampler
from dynesty.utils import resample_equal
from lmltdm_jax.inference import fit as fitting
from lmltdm_jax.inference.diagnostics import arviz, summarize
from lmltdm_jax.inference.posterior import Posterior
from lmltdm_jax.inference.vector import VectorPosterior
from rich.console import Console
from rich.table import Table

_WALKERS, _BLOCK, _LIVE = 64, 100, 500


def least_ess(chains: np.ndarray) -> tuple[float, float]:
    """Least bulk ess and largest r_hat of chains (chains, draws, dimension)."""
    columns = np.moveaxis(chains, -1, 0)
    ess = [float(arviz.ess(column, method="bulk")) for column in columns]
    return min(ess), max(float(arviz.rhat(column)) for column in columns)


def two_body(post: VectorPosterior, m_h1: np.ndarray) -> float:
    """Share of draws with m_h1 [GeV] below m_B - m_K."""
    sm = post.likelihood.sm
    return float(np.mean(m_h1 < float(sm.m_bplus - sm.m_kplus)))


def ours(post: VectorPosterior, quick: bool) -> list[str]:
    begun = time.perf_counter()
    settings = fitting.QUICK if quick else fitting.FULL
    target = fitting.build_target(post.likelihood)
    posterior = Posterior.of(fitting.run(target, settings, seed=0))
    seconds = time.perf_counter() - begun
    summary = summarize(posterior)
    least = min(row["ess_bulk"] for row in summary["parameters"].values())
    r_hat = max(row["r_hat"] for row in summary["parameters"].values())
    log_z = f"{summary['log_evidence']:.2f} ± {summary['log_evidence_error']:.2f}"
    share = two_body(post, posterior.parameters["m_h1"])
    return row("lmltdm fit", seconds, least, share, log_z, f"r_hat {r_hat:.2f}")


def dynesty(post: VectorPosterior, minutes: float) -> list[str]:
    begun = time.perf_counter()
    sampler = NestedSampler(
        post.loglike,
        post.prior_transform,
        post.dimension,
        nlive=_LIVE,
        sample="rwalk",
        rstate=np.random.default_rng(0),
    )
    left = np.inf
    for result in sampler.sample(dlogz=0.1):
        left = result.delta_logz
        if time.perf_counter() - begun > 60.0 * minutes:
            break
    done = left <= 0.1
    for _ in sampler.add_live_points():
        pass
    seconds, found = time.perf_counter() - begun, sampler.results
    weights = found.importance_weights()
    draws = resample_equal(found.samples, weights, rstate=np.random.default_rng(1))
    share = two_body(post, draws[:, post.names.index("m_h1")])
    log_z = f"{found.logz[-1]:.2f} ± {found.logzerr[-1]:.2f}" if done else ""
    state = "finished" if done else f"stopped with ln Z to go {left:.2g}"
    ess = 1.0 / np.sum(weights**2)
    return row("dynesty", seconds, ess, share, log_z, f"{state}, {np.sum(found.ncall)} calls")


def run_emcee(post: VectorPosterior, minutes: float) -> list[str]:
    begun = time.perf_counter()
    rng = np.random.default_rng(0)
    u = rng.uniform(0.3, 0.7, (50 * _WALKERS, post.dimension))
    first = post.prior_transform(u)
    first = first[np.argsort(post.logpdf(first))[-_WALKERS:]]
    ends = np.array([*post.prior.ranges, *[(-6.0, 6.0)] * len(post.prior.nuisances)])
    is_log = post.prior.is_log

    def log_density(x: np.ndarray) -> np.ndarray:
        """In box coordinates, where the prior is flat."""
        with np.errstate(over="ignore"):
            vectors = np.where(is_log, 10.0**x, x)
        outside = np.any((vectors < ends[:, 0]) | (vectors > ends[:, 1]), axis=1)
        safe = np.clip(vectors, ends[:, 0], ends[:, 1])
        jacobian = np.where(is_log, x * np.log(10.0), 0.0).sum(axis=1)
        return np.where(outside, -np.inf, np.asarray(post.logpdf(safe)) + jacobian)

    sampler = emcee.EnsembleSampler(
        _WALKERS, post.dimension, log_density, vectorize=True, moves=emcee.moves.DEMove()
    )
    state = np.where(is_log, np.log10(first), first)
    while time.perf_counter() - begun < 60.0 * minutes:
        state = sampler.run_mcmc(state, _BLOCK)
    seconds = time.perf_counter() - begun
    chains = sampler.get_chain().swapaxes(0, 1)
    chains = chains[:, chains.shape[1] // 2 :]
    ess, r_hat = least_ess(chains)
    share = two_body(post, 10.0 ** chains[..., post.names.index("m_h1")])
    calls = _WALKERS * sampler.iteration
    return row("emcee (DE)", seconds, ess, share, "", f"r_hat {r_hat:.2f}, {calls} calls")


def row(name: str, seconds: float, ess: float, share: float, log_z: str, state: str) -> list[str]:
    rate = f"{ess / seconds:.3g}"
    return [name, f"{seconds:.0f}", f"{ess:.0f}", rate, f"{share:.2f}", log_z, state]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="talk2024")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    post = VectorPosterior(options.preset)
    table = Table(title=f"{options.preset}; {jax.devices()[0].device_kind}, jax {jax.__version__}")
    for heading in ("sampler", "s", "ess", "ess/s", "two-body", "ln Z", "state"):
        table.add_column(heading, justify="left" if heading in ("sampler", "state") else "right")
    table.add_row(*ours(post, options.quick))
    table.add_row(*dynesty(post, options.minutes))
    table.add_row(*run_emcee(post, options.minutes))
    Console(width=130).print(table)


if __name__ == "__main__":
    main()

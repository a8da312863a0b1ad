"""Whole posteriors: ``lmltdm fit`` beside dynesty and emcee on the same compiled likelihood.

    python benchmarks/sampling.py [--preset talk2024] [--quick] [--minutes 10]

Effective draws a second of wall time, compilation and every stage included, one run after the
other. A fit gives two kinds of draws: weighted ones, then chains (their time is that of both).
Effective draws: of weighted ones, which are dynesty's, too, Kish's (sum w)^2/sum w^2; of chains and
of emcee's walkers the least bulk ess of ArviZ over all parameters.
dynesty's calls are answered in batches (:mod:`lockstep`), faster than one by one. emcee gets the
walkers' half of the run that is later. A peer that is not done within ``--minutes`` is stopped and
shown with how far it came: its draws do not follow the posterior yet, and effective draws a second
are an upper limit. The shares of the two-body lobe (m_h1 < m_B - m_K) and of the Z' resonance say
whether all modes were found in proportion.
"""

import argparse
import time

import emcee
import jax
import numpy as np
from dynesty import NestedSampler
from lmltdm_jax.inference import fit as fitting
from lmltdm_jax.inference.convergence import worst
from lmltdm_jax.inference.diagnostics import summarize
from lmltdm_jax.inference.posterior import Posterior
from lmltdm_jax.inference.vector import VectorPosterior
from lockstep import Lockstep
from rich.console import Console
from rich.table import Table

_WALKERS, _BLOCK, _LIVE, _STEPS = 64, 100, 500, 60
_MASSES = ("m_h1", "m_zp", "m_x")


def shares(
    post: VectorPosterior, masses: list[np.ndarray], weights: np.ndarray | None = None
) -> list[str]:
    """Of draws (``_MASSES`` in GeV): m_h1 below m_B - m_K; m_zp between 1.95 and 4.5 m_x."""
    sm, (m_h1, m_zp, m_x) = post.likelihood.sm, masses
    two_body = np.average(m_h1 < float(sm.m_bplus - sm.m_kplus), weights=weights)
    resonance = np.average((m_zp > 1.95 * m_x) & (m_zp < 4.5 * m_x), weights=weights)
    return [f"{two_body:.2f}", f"{resonance:.3f}"]


def ours(post: VectorPosterior, quick: bool) -> list[list[str]]:
    begun = time.perf_counter()
    settings = fitting.QUICK if quick else fitting.FULL
    target = fitting.build_target(post.likelihood)
    explored = 0.0

    def progress(phase: str, share: float, text: str) -> None:
        nonlocal explored
        if (phase, share) == ("learn", 1.0):
            explored = time.perf_counter() - begun

    fit = fitting.run(target, settings, 0, progress=progress)
    posterior = Posterior.of(fit)
    seconds = time.perf_counter() - begun
    kept = posterior.weighted
    weighted_shares = shares(post, [kept.parameters[name] for name in _MASSES], kept.weights)
    summary = summarize(posterior)
    least = min(row["ess_bulk"] for row in summary["parameters"].values())
    r_hat = max(row["r_hat"] for row in summary["parameters"].values())
    log_z = f"{summary['log_evidence']:.3f} ± {summary['log_evidence_error']:.3f}"
    found = shares(post, [posterior.parameters[name] for name in _MASSES])
    weighted = fit.learned.importance
    state = f"{weighted.efficiency:.0%} of {summary['importance_draws']} count"
    return [
        row(
            "lmltdm fit, weighted draws",
            explored,
            weighted.effective,
            weighted_shares,
            log_z,
            state,
        ),
        row("lmltdm fit, chains", seconds, least, found, "", f"r_hat {r_hat:.3f}"),
    ]


def dynesty(post: VectorPosterior, minutes: float) -> list[str]:
    begun = time.perf_counter()
    pool = Lockstep(post.loglike, 64)
    sampler = NestedSampler(
        pool.loglike,
        post.prior_transform,
        post.dimension,
        nlive=_LIVE,
        sample="rwalk",
        walks=_STEPS,
        pool=pool,
        queue_size=pool.size,
        rstate=np.random.default_rng(0),
    )
    left, done = np.inf, True
    for result in sampler.sample(dlogz=0.1):
        left = result.delta_logz
        if time.perf_counter() - begun > 60.0 * minutes:
            done = False
            break
    for _ in sampler.add_live_points():
        pass
    seconds, found = time.perf_counter() - begun, sampler.results
    weights = found.importance_weights()
    masses = [found.samples[:, post.names.index(name)] for name in _MASSES]
    found_shares = shares(post, masses, weights)
    log_z = f"{found.logz[-1]:.3f} ± {found.logzerr[-1]:.3f}" if done else ""
    state = "finished" if done else f"stopped with ln Z to go {left:.2g}"
    ess = 1.0 / np.sum(weights**2)
    return row("dynesty", seconds, ess, found_shares, log_z, f"{state}, {pool.calls} calls")


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
    mixing = worst(dict(zip(post.names, np.moveaxis(chains, -1, 0), strict=True)))
    found = shares(post, [10.0 ** chains[..., post.names.index(name)] for name in _MASSES])
    calls = _WALKERS * sampler.iteration
    state = f"r_hat {mixing.r_hat:.2f}, {calls} calls"
    return row("emcee (DE)", seconds, mixing.ess_bulk, found, "", state)


def row(
    name: str, seconds: float, ess: float, found: list[str], log_z: str, state: str
) -> list[str]:
    rate = f"{ess / seconds:.3g}"
    return [name, f"{seconds:.0f}", f"{ess:.0f}", rate, *found, log_z, state]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="talk2024")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    post = VectorPosterior(options.preset)
    table = Table(title=f"{options.preset}; {jax.devices()[0].device_kind}, jax {jax.__version__}")
    for heading in ("sampler", "s", "ess", "ess/s", "two-body", "resonance", "ln Z", "state"):
        table.add_column(heading, justify="left" if heading in ("sampler", "state") else "right")
    for found in ours(post, options.quick):
        table.add_row(*found)
    table.add_row(*dynesty(post, options.minutes))
    table.add_row(*run_emcee(post, options.minutes))
    Console(width=130).print(table)


if __name__ == "__main__":
    main()

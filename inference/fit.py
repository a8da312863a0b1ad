"""The main job: SMC finds all modes, a flow learns them, NUTS with jumps samples them; resumable.

After every stage and every few blocks the state goes to ``checkpoint.pkl`` in the output folder;
the same fit started again there goes on from it, with the numbers it would have given in one go.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import jax
import numpy as np

from lmltdm_jax.likelihoods.total import Likelihood

from . import smc
from .ahead import ahead
from .charts import Charts, compile_charts
from .checkpoint import Checkpoint
from .convergence import R_HAT_MAX, Mixing, worst
from .coordinates import Coordinates
from .learn import Learned, LearnSettings, learn
from .nuts import Block, Chains, NutsSettings, Proposals, Sampler, compile_chains
from .prior import Prior
from .progress import Progress, silent
from .provenance import fingerprint
from .target import Evaluated, Target, columns
from .weighted import Weighted

FILE = "checkpoint.pkl"


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """Sizes of a fit."""

    particles: int
    moves: int
    """population sweeps at each SMC temperature"""
    learn: LearnSettings
    nuts: NutsSettings


FULL = FitSettings(
    particles=2048,
    moves=10,
    learn=LearnSettings(walkers=1024, walks=10, sweeps=3, epochs=30, draws=64_000, rounds=2),
    nuts=NutsSettings(
        chains=8,
        warmup_blocks=48,
        blocks=800,
        look=40,
        ess=1500.0,
        transitions=1,
        sweeps=8,
        max_tree_depth=3,
    ),
)
QUICK = FitSettings(
    particles=512,
    moves=16,
    learn=LearnSettings(walkers=512, walks=6, sweeps=3, epochs=30, draws=10_000, rounds=2),
    nuts=NutsSettings(
        chains=16,
        warmup_blocks=24,
        blocks=64,
        look=64,
        ess=1000.0,
        transitions=1,
        sweeps=6,
        max_tree_depth=3,
    ),
)


@dataclasses.dataclass(frozen=True)
class State:
    """How far a fit has come."""

    stage: smc.Stage | None = None
    """the last complete one"""
    learned: Learned | None = None
    """from it"""
    chains: Chains | None = None
    """state of NUTS"""
    points: Evaluated | None = None
    """where the chains are"""
    blocks: tuple[Block, ...] = ()
    """draws after warm-up"""
    done: int = 0
    """blocks done, warm-up included"""
    mixing: Mixing | None = None
    """of the worst parameter when the chains were last looked at"""
    wall_s: float = 0.0


@dataclasses.dataclass(frozen=True)
class Fit:
    """What was sampled. ``blocks`` are those after warm-up; ``complete`` if not interrupted."""

    target: Target
    settings: FitSettings
    seed: int
    tempered: smc.Stage
    learned: Learned
    blocks: tuple[Block, ...]
    columns: dict[str, np.ndarray]
    """of the draws, (chains, draws): observables, ``loglike_<term>`` and ``pull_<term>``"""
    weighted: Weighted
    wall_s: float
    complete: bool

    @property
    def draws(self) -> Evaluated:
        """All draws, arrays (chains, draws, ...)."""
        return _joined(self.blocks)

    def statistic(self, name: str) -> np.ndarray:
        """(chains, draws) of a field of :class:`Block`."""
        return np.concatenate([getattr(block, name) for block in self.blocks], axis=1)


def build_target(preset: str | Likelihood, **prior) -> Target:
    """Posterior of a preset (or a likelihood of your own); ``prior``: see Prior.from_table.

    ``model``, one of those, is the class of the parameters; default the dark-Higgs model.
    """
    likelihood = Likelihood.from_preset(preset) if isinstance(preset, str) else preset
    return Target(Coordinates(Prior.for_likelihood(likelihood, **prior)), likelihood)


def run(
    target: Target,
    settings: FitSettings = FULL,
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress = silent,
) -> Fit:
    """Sample the posterior.

    The chains end once every parameter's r_hat and effective sample size are good enough, at the
    latest after ``settings.nuts.blocks``. Named approximation: looking again and again stops where
    the estimates of both are good by chance, too; more ess than a verdict asks for makes up for it.

    Ctrl-C during sampling returns what there is (``complete`` is then false); before the first
    draw it raises ``KeyboardInterrupt``. Either way the checkpoint keeps the state.

    Args:
        target: see :func:`build_target`.
        settings: FULL or QUICK, or your own sizes.
        seed: the same seed gives the same draws.
        folder: where the checkpoint is; None keeps none.
        progress: told what is going on.

    Raises:
        InputError: the folder holds the checkpoint of another fit, or cannot be written.
    """
    checkpoint = Checkpoint(folder, fingerprint(target, settings, seed), FILE, State())
    n, charts = settings.nuts, Charts.of(target)
    programs = [] if _finished(checkpoint.state, n) else _programs(charts, n)
    stage, learned = _explored(target, settings, seed, checkpoint, progress, programs)
    state, total = checkpoint.state, n.warmup_blocks + n.blocks
    progress("compile", 1.0, "compiling the gradient")
    for program in programs:
        program.result()
    sampler = Sampler(
        charts,
        n,
        learned.population,
        Proposals(learned.unused, learned.density.log_density, total, seed),
        {part.number: part.walkers for part in learned.parts},
    )
    if state.chains is None:
        first, points = sampler.first(seed)
        state = checkpoint.keep(chains=first, points=points)
    try:
        while not _finished(state, n):
            chains, points, block = sampler.advance(state.chains, state.points, state.done)
            blocks = (*state.blocks, block) if state.done >= n.warmup_blocks else ()
            mixing = state.mixing
            if blocks and len(blocks) % n.look == 0:
                mixing = worst(target.coordinates.values(_joined(blocks).y))
            state = checkpoint.keep_often(
                chains=chains, points=points, blocks=blocks, done=state.done + 1, mixing=mixing
            )
            text = f"{len(blocks) * n.transitions * n.chains} draws"
            if mixing is not None:
                text += f", {mixing} (ends at {R_HAT_MAX}, {n.ess:.0f})"
            share = 1.0 if _finished(state, n) else state.done / total
            progress("sample" if blocks else "warm up", share, text)
    except KeyboardInterrupt:
        if not state.blocks:
            raise
    finally:
        checkpoint.flush()
    progress("predict", 0.0, "observables of the draws")
    found = columns(target, _joined(state.blocks).y)
    weighted = Weighted.of(target, learned.importance, np.random.default_rng([seed, 3]))
    return Fit(
        target,
        settings,
        seed,
        stage,
        learned,
        state.blocks,
        found,
        weighted,
        state.wall_s,
        _finished(state, n),
    )


def explore(
    target: Target,
    settings: FitSettings = FULL,
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress = silent,
) -> Learned:
    """The first half of :func:`run`: all modes, evidence and weighted draws, no chains.

    Arguments and errors are those of :func:`run`, which goes on from the same folder.
    """
    checkpoint = Checkpoint(folder, fingerprint(target, settings, seed), FILE, State())
    programs = [] if checkpoint.state.learned is not None else _programs(Charts.of(target))
    return _explored(target, settings, seed, checkpoint, progress, programs)[1]


def _programs(charts: Charts, nuts: NutsSettings | None = None) -> list[Future[None]]:
    """Start to compile those of the charts; then, with ``nuts``, those of the chains."""
    y = smc.prior_draws(charts.target, 4 * charts.target.dimension, np.random.default_rng(0))
    of_charts = partial(compile_charts, charts, y)
    return ahead(of_charts, *([] if nuts is None else [partial(compile_chains, charts, nuts, y)]))


def _explored(
    target: Target,
    settings: FitSettings,
    seed: int,
    checkpoint: Checkpoint[State],
    progress: Progress,
    programs: list[Future[None]],
) -> tuple[smc.Stage, Learned]:
    """The last stage and what was learned from it, from the checkpoint where it has them."""
    progress("compile", 0.0, "compiling the likelihood")
    last, particles, moves = checkpoint.state.stage, settings.particles, settings.moves
    for stage in smc.tempering(target, last, particles, moves, seed, progress):
        last = checkpoint.keep(stage=stage).stage
    assert last is not None
    learned = checkpoint.state.learned
    if learned is None:

        def told(share: float, text: str) -> None:
            progress("learn", share, text)

        programs[0].result()
        learned = learn(target, last, settings.learn, seed, told)
        checkpoint.keep(learned=learned)
    return last, learned


def _finished(state: State, settings: NutsSettings) -> bool:
    if state.done == settings.warmup_blocks + settings.blocks:
        return True
    mixing = state.mixing
    return mixing is not None and mixing.r_hat <= R_HAT_MAX and mixing.ess >= settings.ess


def _joined(blocks: tuple[Block, ...]) -> Evaluated:
    return jax.tree.map(lambda *a: np.concatenate(a, axis=1), *(b.points for b in blocks))

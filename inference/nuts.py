"""NumPyro's NUTS, many chains side by side in blocks, with jumps between the blocks.

Trajectories follow the posterior inside a chart (:mod:`charts`), in whose coordinates the relic
shell is flat, with the chart's own mass matrix; a transition that would end in another chart stays
where it was. NUTS is reversible, so what is left is a transition of the posterior within the chart,
and leaves the whole invariant.

What carries a chain from mode to mode are independent proposals after each block: draws of the
learned density, weighted before (:mod:`importance`), so that they cost nothing. Each is offered
once, to one chain, which takes it with probability min(1, w'/w), w = posterior/density (Hastings).
Where the density is too low a chain would wait long for one that it takes: population moves
(:mod:`jumps`) inside the chart, from the learned walkers, bring it away from there. All three kinds
of moves leave the posterior invariant, so their alternation does. Blocks make the run show
progress, stop and resume anywhere; one program serves warm-up and sampling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import HMCState, hmc
from numpyro.infer.hmc_util import HMCAdaptState
from numpyro.infer.util import ParamInfo

from lmltdm_jax.numerics.compiling import top_level_jit

from .archive import Archive
from .charts import Charts, evaluate_in, from_y, numbers, to_y
from .importance import Importance
from .jumps import proposer, sweep
from .lanes import THREADS
from .target import Evaluated, evaluate

TARGET_ACCEPT = 0.98
"""High: steps must be short beside walls that no chart removes."""
_FIRST_STEP_SIZE = 0.01
_EARLY = 3.0
"""Times that the proposals of a block fall by 1/e over a run."""
_MATRICES = ("inverse_mass_matrix", "mass_matrix_sqrt", "mass_matrix_sqrt_inv")
"""Fields of NumPyro's adaptation that a chart has its own of."""


@dataclasses.dataclass(frozen=True)
class NutsSettings:
    """Length of a run; a block gives each chain ``transitions`` draws."""

    chains: int
    warmup_blocks: int
    blocks: int
    """after it, at most"""
    look: int
    """blocks after which it is looked, again and again, whether the chains have run long enough"""
    ess: float
    """of every parameter that is enough, where r_hat is, too"""
    transitions: int
    """NUTS transitions a block"""
    sweeps: int
    """population sweeps after a block"""
    max_tree_depth: int

    @property
    def adapting(self) -> int:
        """Blocks in which each chain stays in a chart and looks for a step size. In what is left of
        the warm-up they spread over the charts."""
        return self.warmup_blocks * 3 // 4


class Chains(NamedTuple):
    """Where a run is; points apart."""

    state: HMCState
    """of all chains"""
    step_sizes: np.ndarray | None
    """(charts,), None while each chain still looks for its own"""


class Block(NamedTuple):
    """Draws of one block, arrays (chains, transitions, ...)."""

    points: Evaluated
    diverging: np.ndarray
    num_steps: np.ndarray
    acceptance: np.ndarray
    energy: np.ndarray


def _kernel(charts: Charts, number: jax.Array, settings: NutsSettings) -> tuple[Callable, Callable]:
    """(initial state of a chain, one transition) of NumPyro's NUTS in the w of one chart."""

    # Jitted inside the program only so that its trace is kept: NumPyro traces it several times. A
    # function of its own, because a bound method would compare the target's arrays, traced here.
    @jax.jit
    def potential(w: jax.Array) -> jax.Array:
        return charts.potential(number, w)

    init, sample = hmc(potential, algo="NUTS")

    def first_state(w: jax.Array, key: jax.Array, covariance: jax.Array) -> HMCState:
        # Every block fills in the potential and its gradient.
        return init(
            ParamInfo(w, jnp.zeros(()), jnp.zeros_like(w)),
            num_warmup=settings.warmup_blocks * settings.transitions,
            step_size=_FIRST_STEP_SIZE,
            inverse_mass_matrix=covariance,
            adapt_step_size=True,
            adapt_mass_matrix=False,
            dense_mass=True,
            target_accept_prob=TARGET_ACCEPT,
            max_tree_depth=settings.max_tree_depth,
            rng_key=key,
        )

    return first_state, sample


@top_level_jit
def _first_states(
    charts: Charts, settings: NutsSettings, y: jax.Array, keys: jax.Array, covariance: jax.Array
) -> HMCState:
    """States (n,) of n points, keys and covariances; nothing is evaluated."""
    first_state, _ = _kernel(charts, jnp.zeros((), int), settings)
    return jax.vmap(first_state)(y, keys, covariance)


@top_level_jit
def _transitions(
    charts: Charts,
    settings: NutsSettings,
    masses: HMCAdaptState,
    states: HMCState,
    numbers: jax.Array,
    step_sizes: jax.Array,
    y: jax.Array,
) -> tuple[HMCState, HMCState, jax.Array]:
    """(states, trace, its points y) after ``settings.transitions`` transitions.

    ``numbers`` (chains,) are those of the charts of ``states.z``, which are the points ``y``
    (chains, dimension); ``masses`` has the matrices of every chart (charts, dimension, dimension).
    ``step_sizes`` (chains,) replace those that the chains adapt where they are not 0.
    """

    def chain(state: HMCState, number: jax.Array, given: jax.Array, y: jax.Array):
        first_state, sample = _kernel(charts, number, settings)
        # NumPyro's kernel learns its settings by being initialised.
        jax.eval_shape(first_state, state.z, state.rng_key, jnp.eye(len(state.z)))

        def transition(carry: tuple[HMCState, jax.Array], refresh: jax.Array):
            state, y = carry
            # A trajectory of step size 0 stays where it is and evaluates the gradient there, which
            # the jumps have not done: the program holds the gradient (and compiles it) only once.
            adapt = state.adapt_state
            own = jnp.where(given > 0.0, given, adapt.step_size)
            step_size = jnp.where(refresh, 0.0, own)
            moved = sample(state._replace(adapt_state=adapt._replace(step_size=step_size)))
            kept = state._replace(
                z_grad=moved.z_grad, potential_energy=moved.potential_energy, rng_key=moved.rng_key
            )
            stayed = moved._replace(
                z=state.z, z_grad=state.z_grad, potential_energy=state.potential_energy
            )
            there, _, there_number = charts.to_y(number, moved.z)
            inside = there_number == number
            moved = jax.tree.map(lambda a, b: jnp.where(inside, a, b), moved, stayed)
            state = jax.tree.map(lambda a, b: jnp.where(refresh, a, b), kept, moved)
            y = jnp.where(inside & ~refresh, there, y)
            return (state, y), (state, y)

        matrices = {name: getattr(masses, name)[number] for name in _MATRICES}
        state = state._replace(adapt_state=state.adapt_state._replace(**matrices))
        refresh = jnp.arange(settings.transitions + 1) == 0
        (state, _), (trace, path) = jax.lax.scan(transition, (state, y), refresh)
        return state, *jax.tree.map(lambda a: a[1:], (trace, path))

    return jax.vmap(chain)(states, numbers, step_sizes, y)


def bulk_covariance(y: np.ndarray) -> np.ndarray:
    """Covariance (d, d) in which points far away do not hide the width of the bulk.

    Of points pulled in to twice the 16-84 % half-width around the median, coordinate by coordinate.
    """
    centre = np.median(y, axis=0)
    width = 2.0 * (np.subtract(*np.percentile(y, (84, 16), axis=0)) / 2.0 + 1e-12)
    return np.atleast_2d(np.cov(np.clip(y, centre - width, centre + width).T))


def pooled(step_sizes: np.ndarray, of: np.ndarray, charts: int) -> np.ndarray:
    """(charts,): a tenth of the least that the chains in each chart ``of`` (chains,) found; of
    all charts for those without.

    Of the last steps, not of NumPyro's average over the warm-up, which so few transitions leave too
    large where the integrator becomes unstable at once. A tenth of the least, because one or two
    chains a chart do not meet all of its walls while they look for a step, and what jumps have
    brought beside one diverges the more often the longer the trajectory.
    """
    found = {number: 0.1 * np.min(step_sizes[of == number]) for number in np.unique(of)}
    least = min(found.values())
    return np.array([found.get(number, least) for number in range(charts)])


@dataclasses.dataclass(frozen=True)
class Proposals:
    """Weighted draws, dealt out to chains: each once."""

    draws: Importance
    log_density: Callable[[np.ndarray], np.ndarray]
    """ln of the density that they are of, (n, dimension) -> (n,)"""
    blocks: int
    seed: int

    def offered(self, points: Evaluated, number: int) -> Evaluated:
        """``points``, one a chain, after the proposals of block ``number`` of ``blocks``."""
        chains = len(points.y)
        first, end = (self._dealt(n) // chains * chains for n in (number, number + 1))
        rng = np.random.default_rng([self.seed, 2, number])
        log_w = points.log_prior + points.log_likelihood - self.log_density(points.y)
        for start in range(first, end, chains):
            new = self.draws[start : start + chains]
            accepted = np.log(rng.uniform(size=chains)) < new.log_weights - log_w
            points = points.updated(accepted, new.points)
            log_w = np.where(accepted, new.log_weights, log_w)
        return points

    def _dealt(self, number: int) -> int:
        """Draws offered before block ``number``: first many, as most runs end early."""
        passed = np.expm1(-_EARLY * number / self.blocks) / np.expm1(-_EARLY)
        return int(passed * len(self.draws.log_weights))


class Sampler:
    """Chains side by side; :meth:`advance` runs one block, the first call compiles it."""

    def __init__(
        self,
        charts: Charts,
        settings: NutsSettings,
        population: Evaluated,
        proposals: Proposals,
        walkers: Mapping[int, np.ndarray],
    ):
        """
        Args:
            charts: of the posterior.
            settings: sizes.
            population: equally weighted draws, where the chains start.
            proposals: for what carries them from mode to mode.
            walkers: w (n, dimension) by number of the chart, for its masses; a chart without has
                those of another one.
        """
        self.charts, self.settings, self.population = charts, settings, population
        self.proposals = proposals
        self._proposers = {k: proposer(Archive.of(w)) for k, w in walkers.items()}
        some = next(iter(walkers.values()))
        straight = [walkers.get(number, some) for number in range(len(charts.each))]
        self._covariances = np.stack([bulk_covariance(w) for w in straight])
        n = len(straight)
        self._compiled = False
        self._masses = self._first(population.y[:n], 0, self._covariances).adapt_state

    def _first(self, y: np.ndarray, seed: int, covariances: np.ndarray) -> HMCState:
        keys = jax.random.split(jax.random.PRNGKey(seed), len(y))
        return _first_states(self.charts, self.settings, y, keys, covariances)

    def first(self, seed: int) -> tuple[Chains, Evaluated]:
        """As many chains in each chart, at evenly spread members of the population."""
        of = numbers(self.charts, self.population.y)
        found = np.unique(of)
        members = np.empty(self.settings.chains, int)
        for i, number in enumerate(found):
            rows = np.flatnonzero(of == number)
            seats = np.arange(i, len(members), len(found))
            members[seats] = rows[np.linspace(0, len(rows), len(seats), endpoint=False).astype(int)]
        points = self.population[members]
        covariances = np.repeat(self._covariances[:1], len(members), axis=0)
        return Chains(self._first(points.y, seed, covariances), None), points

    def advance(
        self, chains: Chains, points: Evaluated, number: int
    ) -> tuple[Chains, Evaluated, Block]:
        """Block ``number``: NUTS transitions (recorded), then jumps (not recorded)."""
        state, steps = chains
        state, of, block = self._of_all(self._moved, (state, points), steps)
        points = jax.tree.map(lambda a: a[:, -1], block.points)
        if number + 1 == self.settings.adapting:
            found = np.asarray(state.adapt_state.step_size)
            steps = pooled(found, of, len(self.charts.each))
        if steps is not None:
            points = self.proposals.offered(points, number)
        members = np.arange(self.settings.chains)
        points = self._of_all(self._walked, (members, points), number)
        self._compiled = True
        return Chains(state, steps), points, block

    def _of_all(self, work: Callable, of_chains: tuple, *others: Any) -> Any:
        """``work(*of_chains, *others)``, arrays (chains, ...) out of such arrays; on a CPU half of
        the chains on each of two threads."""
        parts = THREADS if jax.default_backend() == "cpu" else 1
        parts = parts if self.settings.chains % parts == 0 else 1

        def of_some(part: int) -> Any:
            some = jax.tree.map(lambda a: np.split(np.asarray(a), parts)[part], of_chains)
            return work(*some, *others)

        # Both at once would compile twice.
        first = [] if self._compiled else [of_some(0)]
        with ThreadPoolExecutor(parts) as pool:
            found = [*first, *pool.map(of_some, range(len(first), parts))]
        return jax.tree.map(lambda *a: np.concatenate(a), *found)

    def _moved(
        self, state: HMCState, points: Evaluated, steps: np.ndarray | None
    ) -> tuple[HMCState, np.ndarray, Block]:
        """(state, charts of the points, block) of some chains after their transitions."""
        of = numbers(self.charts, points.y)
        w, log_jacobian = from_y(self.charts, of, points.y)
        energies = -(points.log_prior + points.log_likelihood + log_jacobian)
        state = state._replace(z=w, potential_energy=energies)
        given = np.zeros(len(of)) if steps is None else steps[of]
        state, trace, path = _transitions(
            self.charts, self.settings, self._masses, state, of, given, points.y
        )
        y = np.asarray(path)
        drawn = evaluate(self.charts.target, y.reshape(-1, y.shape[-1]))
        block = Block(
            jax.tree.map(lambda a: a.reshape(*y.shape[:2], *a.shape[1:]), drawn),
            *(
                np.asarray(a)
                for a in (trace.diverging, trace.num_steps, trace.accept_prob, trace.energy)
            ),
        )
        return state, of, block

    def _walked(self, members: np.ndarray, points: Evaluated, number: int) -> Evaluated:
        """Points of some chains after population sweeps, each inside its chart."""
        rng = np.random.default_rng([self.proposals.seed, 4, number, members[0]])
        of = numbers(self.charts, points.y)
        w, log_jacobian = from_y(self.charts, of, points.y)
        walked = Evaluated(w, points.log_prior + log_jacobian, points.log_likelihood)

        def propose(rng: np.random.Generator, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            new, log_ratio = w.copy(), np.zeros(len(w))
            for k, propose_in in self._proposers.items():
                rows = np.flatnonzero(of == k)
                if len(rows):
                    new[rows], log_ratio[rows] = propose_in(rng, w[rows])
            return new, log_ratio

        for _ in range(self.settings.sweeps):
            walked, _ = sweep(rng, lambda w: evaluate_in(self.charts, of, w), walked, propose)
        y, log_jacobian = to_y(self.charts, of, walked.y)
        return Evaluated(y, walked.log_prior - log_jacobian, walked.log_likelihood)


def compile_chains(charts: Charts, settings: NutsSettings, y: np.ndarray) -> None:
    """Compile what a :class:`Sampler` runs, by a block from points ``y`` (n, dimension), more of
    them than dimensions; it is thrown away."""
    points = evaluate(charts.target, y)
    nothing = Importance(points[:0], np.zeros(0))
    proposals = Proposals(nothing, lambda y: np.zeros(len(y)), settings.warmup_blocks, seed=0)
    sampler = Sampler(charts, settings, points, proposals, {0: y})
    sampler.advance(*sampler.first(0), 0)

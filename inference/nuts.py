"""NumPyro's NUTS, many chains side by side in blocks, with population jumps between the blocks.

Trajectories follow the posterior inside a mode; what carries a chain from mode to mode is a few
sweeps of :mod:`jumps` after each block, with a fixed archive and a fixed density. Both
leave the posterior invariant, so their alternation does. Blocks make the run show progress, stop
and resume anywhere; one program serves warm-up and sampling.

On the shell the posterior is straight in y; on an island (:mod:`islands`) it is after the island's
own shift. A transition that starts there runs in those coordinates, with the island's mass matrix,
and one that would end elsewhere stays where it was: NUTS is reversible, so what is left is a
transition of the posterior within the region, and leaves the whole invariant.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import HMCState, hmc
from numpyro.infer.hmc_util import HMCAdaptState
from numpyro.infer.util import ParamInfo

from lmltdm_jax.numerics.compiling import top_level_jit

from .archive import Archive
from .flow import Density
from .islands import Island, Straightening
from .jumps import sweep
from .target import Evaluated, Target, evaluate

TARGET_ACCEPT = 0.9
_FIRST_STEP_SIZE = 0.3
_MATRICES = ("inverse_mass_matrix", "mass_matrix_sqrt", "mass_matrix_sqrt_inv")
"""Fields of NumPyro's adaptation that a region has its own of."""


@dataclasses.dataclass(frozen=True)
class NutsSettings:
    """Length of a run; ``draws`` per chain = ``blocks`` x ``transitions``."""

    chains: int
    warmup_blocks: int
    blocks: int
    transitions: int
    """NUTS transitions a block"""
    sweeps: int
    """population sweeps after a block"""
    max_tree_depth: int


class Block(NamedTuple):
    """Draws of one block, arrays (chains, transitions, ...)."""

    points: Evaluated
    diverging: np.ndarray
    num_steps: np.ndarray
    acceptance: np.ndarray
    energy: np.ndarray


class Regions(eqx.Module):
    """The shell (number 0) and the islands, each with coordinates w in which it is straight."""

    shifts: tuple[Straightening, ...]

    def number(self, y: jax.Array) -> jax.Array:
        """Of the region of a point (dimension,)."""
        found = jnp.zeros((), int)
        for i, shift in enumerate(self.shifts):
            found = jnp.where(shift.region.within(y), i + 1, found)
        return found

    def to_y(self, number: jax.Array, w: jax.Array, sign: float = 1.0) -> jax.Array:
        """w of a region -> y; with ``sign`` -1 the inverse."""
        for i, shift in enumerate(self.shifts):
            w = w.at[shift.axis].add(jnp.where(number == i + 1, sign * shift(w), 0.0))
        return w


def _kernel(
    target: Target, regions: Regions, number: jax.Array, settings: NutsSettings
) -> tuple[Callable, Callable]:
    """(initial state of a chain, one transition) of NumPyro's NUTS in the w of one region."""

    # Jitted inside the program only so that its trace is kept: NumPyro traces it several times. A
    # function of its own, because a bound method would compare the target's arrays, traced here.
    @jax.jit
    def potential(w: jax.Array) -> jax.Array:
        return target.potential(regions.to_y(number, w))

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
    target: Target, settings: NutsSettings, y: jax.Array, keys: jax.Array, covariance: jax.Array
) -> HMCState:
    """States (n,) of n points, keys and covariances; nothing is evaluated."""
    first_state, _ = _kernel(target, Regions(()), jnp.zeros((), int), settings)
    return jax.vmap(first_state)(y, keys, covariance)


@top_level_jit
def _transitions(
    target: Target,
    regions: Regions,
    settings: NutsSettings,
    masses: HMCAdaptState,
    states: HMCState,
    y: jax.Array,
    potential: jax.Array,
) -> tuple[HMCState, HMCState]:
    """(states, trace) after ``settings.transitions`` transitions from ``y`` (chains, dimension).

    ``masses`` has the matrices of every region (regions, dimension, dimension).
    """

    def chain(state: HMCState, y: jax.Array, potential: jax.Array) -> tuple[HMCState, HMCState]:
        number = regions.number(y)
        first_state, sample = _kernel(target, regions, number, settings)
        # NumPyro's kernel learns its settings by being initialised.
        jax.eval_shape(first_state, y, state.rng_key, jnp.eye(len(y)))

        def transition(state: HMCState, refresh: jax.Array) -> tuple[HMCState, HMCState]:
            # A trajectory of step size 0 stays where it is and evaluates the gradient there, which
            # the jumps have not done: the program holds the gradient (and compiles it) only once.
            adapt = state.adapt_state
            step_size = jnp.where(refresh, 0.0, adapt.step_size)
            moved = sample(state._replace(adapt_state=adapt._replace(step_size=step_size)))
            kept = state._replace(
                z_grad=moved.z_grad, potential_energy=moved.potential_energy, rng_key=moved.rng_key
            )
            stayed = moved._replace(
                z=state.z, z_grad=state.z_grad, potential_energy=state.potential_energy
            )
            inside = regions.number(regions.to_y(number, moved.z)) == number
            moved = jax.tree.map(lambda a, b: jnp.where(inside, a, b), moved, stayed)
            state = jax.tree.map(lambda a, b: jnp.where(refresh, a, b), kept, moved)
            return state, state

        matrices = {name: getattr(masses, name)[number] for name in _MATRICES}
        state = state._replace(
            z=regions.to_y(number, y, -1.0),
            potential_energy=potential,
            adapt_state=state.adapt_state._replace(**matrices),
        )
        refresh = jnp.arange(settings.transitions + 1) == 0
        state, trace = jax.lax.scan(transition, state, refresh)
        trace = jax.tree.map(lambda a: a[1:], trace)
        trace = trace._replace(z=jax.vmap(lambda w: regions.to_y(number, w))(trace.z))
        return state._replace(z=trace.z[-1]), trace

    return jax.vmap(chain)(states, y, potential)


def bulk_covariance(y: np.ndarray) -> np.ndarray:
    """Covariance (d, d) in which islands far away do not hide the width of the bulk.

    Of points pulled in to twice the 16-84 % half-width around the median, coordinate by coordinate.
    """
    centre = np.median(y, axis=0)
    width = 2.0 * (np.subtract(*np.percentile(y, (84, 16), axis=0)) / 2.0 + 1e-12)
    return np.atleast_2d(np.cov(np.clip(y, centre - width, centre + width).T))


class Sampler:
    """Chains side by side; :meth:`advance` runs one block, the first call compiles it."""

    def __init__(
        self,
        target: Target,
        settings: NutsSettings,
        population: Evaluated,
        islands: Sequence[Island] = (),
    ):
        """``population``: equally weighted draws, where the chains start; it shapes the masses."""
        self.target, self.settings, self.population = target, settings, population
        self.regions = Regions(tuple(island.shift for island in islands))
        on_shell = np.asarray(jax.vmap(self.regions.number)(population.y)) == 0
        # Too few for a covariance of rank: the whole population has one.
        enough = np.sum(on_shell) > 2 * target.dimension
        shell = population.y[on_shell] if enough else population.y
        straight = [shell, *(island.straight for island in islands)]
        self._covariances = np.stack([bulk_covariance(y) for y in straight])
        n = len(straight)
        self._masses = self._first(population.y[:n], 0, self._covariances).adapt_state

    def _first(self, y: np.ndarray, seed: int, covariances: np.ndarray) -> HMCState:
        keys = jax.random.split(jax.random.PRNGKey(seed), len(y))
        return _first_states(self.target, self.settings, y, keys, covariances)

    def first_state(self, seed: int) -> tuple[HMCState, Evaluated]:
        """Chains at evenly spread members of the population."""
        n = self.settings.chains
        members = np.linspace(0, len(self.population.y), n, endpoint=False).astype(int)
        points = self.population[members]
        covariances = np.repeat(self._covariances[:1], n, axis=0)
        return self._first(points.y, seed, covariances), points

    def advance(
        self,
        state: HMCState,
        points: Evaluated,
        archive: Archive,
        density: Density,
        rng: np.random.Generator,
    ) -> tuple[HMCState, Evaluated, Block]:
        """One block: NUTS transitions (recorded), then population sweeps (not recorded)."""
        energies = -(points.log_prior + points.log_likelihood)
        state, trace = _transitions(
            self.target, self.regions, self.settings, self._masses, state, points.y, energies
        )
        shape = (self.settings.chains, self.settings.transitions)
        y = np.asarray(trace.z)
        drawn = evaluate(self.target, y.reshape(-1, y.shape[-1]))
        block = Block(
            jax.tree.map(lambda a: a.reshape(*shape, *a.shape[1:]), drawn),
            *(
                np.asarray(a)
                for a in (trace.diverging, trace.num_steps, trace.accept_prob, trace.energy)
            ),
        )
        points = drawn[np.arange(shape[0]) * shape[1] + shape[1] - 1]
        for _ in range(self.settings.sweeps):
            points, _ = sweep(rng, self.target, points, archive, density=density)
        return state, points, block

"""NumPyro's NUTS, many chains side by side in blocks, with population jumps between the blocks.

Trajectories follow the posterior inside a mode; what carries a chain from mode to mode is a few
sweeps of :mod:`jumps` after each block, with a fixed archive and a fixed density. Both
leave the posterior invariant, so their alternation does. Blocks make the run show progress, stop
and resume anywhere; one program serves warm-up and sampling.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.hmc import HMCState, hmc
from numpyro.infer.util import ParamInfo

from lmltdm_jax.numerics.compiling import top_level_jit

from .archive import Archive
from .flow import Density
from .jumps import sweep
from .target import Evaluated, Target, evaluate

TARGET_ACCEPT = 0.9
_FIRST_STEP_SIZE = 0.3


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


def _kernel(target: Target, settings: NutsSettings) -> tuple[Callable, Callable]:
    """(initial state of a chain, one transition) of NumPyro's NUTS on a target."""

    # Jitted inside the program only so that its trace is kept: NumPyro traces it several times. A
    # function of its own, because a bound method would compare the target's arrays, traced here.
    @jax.jit
    def potential(y: jax.Array) -> jax.Array:
        return target.potential(y)

    init, sample = hmc(potential, algo="NUTS")

    def first_state(y: jax.Array, key: jax.Array, covariance: jax.Array) -> HMCState:
        # Every block fills in the potential and its gradient.
        return init(
            ParamInfo(y, jnp.zeros(()), jnp.zeros_like(y)),
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
    first_state, _ = _kernel(target, settings)
    return jax.vmap(first_state, in_axes=(0, 0, None))(y, keys, covariance)


@top_level_jit
def _transitions(
    target: Target, settings: NutsSettings, states: HMCState, y: jax.Array, potential: jax.Array
) -> tuple[HMCState, HMCState]:
    """(states, trace) after ``settings.transitions`` transitions from ``y`` (chains, dimension)."""
    first_state, sample = _kernel(target, settings)
    # NumPyro's kernel learns its settings by being initialised.
    jax.eval_shape(first_state, y[0], states.rng_key[0], jnp.eye(y.shape[1]))

    def transition(state: HMCState, refresh: jax.Array) -> tuple[HMCState, HMCState]:
        # A trajectory of step size 0 stays where it is and evaluates the gradient there, which
        # the jumps have not done: the program holds the gradient (and compiles it) only once.
        adapt = state.adapt_state
        step_size = jnp.where(refresh, 0.0, adapt.step_size)
        moved = sample(state._replace(adapt_state=adapt._replace(step_size=step_size)))
        kept = state._replace(
            z_grad=moved.z_grad, potential_energy=moved.potential_energy, rng_key=moved.rng_key
        )
        state = jax.tree.map(lambda a, b: jnp.where(refresh, a, b), kept, moved)
        return state, state

    def chain(state: HMCState, y: jax.Array, potential: jax.Array) -> tuple[HMCState, HMCState]:
        state = state._replace(z=y, potential_energy=potential)
        refresh = jnp.arange(settings.transitions + 1) == 0
        state, trace = jax.lax.scan(transition, state, refresh)
        return state, jax.tree.map(lambda a: a[1:], trace)

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

    def __init__(self, target: Target, settings: NutsSettings):
        self.target, self.settings = target, settings

    def first_state(self, population: Evaluated, seed: int) -> tuple[HMCState, Evaluated]:
        """Chains at evenly spread members of a population, mass matrix from the bulk of it."""
        n = self.settings.chains
        members = np.linspace(0, len(population.y), n, endpoint=False).astype(int)
        points = population[members]
        covariance = bulk_covariance(population.y)
        keys = jax.random.split(jax.random.PRNGKey(seed), n)
        states = _first_states(self.target, self.settings, points.y, keys, jnp.asarray(covariance))
        return states, points

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
        state, trace = _transitions(self.target, self.settings, state, points.y, energies)
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

"""Islands off the shell: found on their side, straightened, and covered by their own density."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lmltdm_jax.inference.importance import importance
from lmltdm_jax.inference.islands import (
    H1Pole,
    IslandSettings,
    UpperBranch,
    ZpResonance,
    learn_islands,
    sheared,
)
from lmltdm_jax.inference.jumps import cross
from lmltdm_jax.inference.learned_shell import SLOPE, LearnedShift
from lmltdm_jax.inference.target import Target, evaluate

AXIS, WIDTH, SHARE = 3, 0.005, 0.1
FAILURE_PROBABILITY = 1e-4
"""Of the statistical test below, were its seed drawn anew: bounds are 4 standard deviations."""

SIZES = IslandSettings()


class Names(NamedTuple):
    names: tuple[str, ...] = ("a", "b", "c", "d")
    parameters: tuple[str, ...] = ("a", "b", "c", "d")


class Prior(NamedTuple):
    prior: Names = Names()


def bend(y):
    """Where the island is along the axis."""
    return 1.0 + 0.2 * jnp.sin(2.0 * y[..., 0]) + 0.1 * y[..., 1] * jnp.tanh(y[..., 2])


def normal(x, width):
    return -0.5 * (x / width) ** 2 - jnp.log(width * jnp.sqrt(2 * jnp.pi))


class ShellAndIsland(Target):
    """A flat shell with 0.9 of the posterior, a bent island above it with 0.1; Z = 1."""

    coordinates: Prior = Prior()
    likelihood: None = None

    @property
    def dimension(self):
        return 4

    @property
    def shell_axis(self):
        return AXIS

    def evaluate(self, y):
        d, others = y[AXIS], jnp.sum(normal(y[:3], 1.0))
        core = jnp.log(1 - SHARE) + normal(d, WIDTH)
        island = jnp.log(SHARE) + normal(d - bend(y), WIDTH)
        excess = jnp.where(d < 0.3, -SLOPE * d, SLOPE * (d - bend(y)))
        return jnp.zeros(()), others + jnp.logaddexp(core, island), excess

    def to_upper_branch(self, y):
        return 1.0 + 0.8 * (bend(y) - 1.0)


@pytest.fixture(scope="module")
def population():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((600, 4)) * [1, 1, 1, WIDTH]
    y[:60, AXIS] += np.asarray(bend(y[:60]))
    return evaluate(ShellAndIsland(), y)


def test_the_island_is_found_straightened_and_covered(population):
    target, rng = ShellAndIsland(), np.random.default_rng(1)
    (island,) = learn_islands(target, population, SIZES, 40, rng, seed=0)
    assert island.share == pytest.approx(SHARE)
    assert isinstance(island.shift.region, UpperBranch) and island.shift.axis == AXIS
    assert np.std(island.straight[:, AXIS]) < 2 * WIDTH
    weighted = importance(target, island.density, 20_000, rng)
    above = weighted.points.y[:, AXIS] > 0.3
    assert np.mean(above) > 0.99
    # Its share of the evidence; learned from sixty members, one draw in twenty counts.
    assert weighted.log_z == pytest.approx(np.log(SHARE), abs=4 * weighted.log_z_error)
    assert weighted.log_z_error < 0.05
    assert weighted.efficiency > 0.05


class Masses(NamedTuple):
    names: tuple[str, ...] = ("m_zp", "m_x", "m_h1", "lambda_phix")
    parameters: tuple[str, ...] = names


class MassPrior(NamedTuple):
    prior: Masses = Masses()


def pole(y):
    """log10 of the m_zp with the right relic density beside the Z' pole."""
    return y[..., 1] + 0.45 + 0.05 * jnp.tanh(y[..., 2])


class Resonance(ShellAndIsland):
    """0.1 of a posterior: m_zp is fixed at the resonance, the coupling is free."""

    coordinates: MassPrior = MassPrior()

    def evaluate(self, y):
        island = jnp.log(SHARE) + normal(y[AXIS] + 2.0, 0.4) + normal(y[0] - pole(y), WIDTH)
        excess = 50.0 * (y[0] - pole(y))
        return jnp.zeros(()), jnp.sum(normal(y[1:3], 1.0)) + island, excess


class ShellAndResonance(Resonance):
    """The rest of it is a shell, on which the coupling is fixed."""

    def evaluate(self, y):
        log_prior, island, excess = super().evaluate(y)
        core = jnp.log(1 - SHARE) + normal(y[AXIS], WIDTH) + jnp.sum(normal(y[:3], 1.0))
        excess = jnp.where(y[AXIS] > -0.1, -SLOPE * y[AXIS], excess)
        return log_prior, jnp.logaddexp(core, island), excess


def test_the_resonance_is_straightened_along_the_mass_of_the_zp():
    rng = np.random.default_rng(5)
    y = rng.standard_normal((600, 4)) * [1, 1, 1, WIDTH]
    y[:60, 0] = np.asarray(pole(y[:60])) + WIDTH * rng.standard_normal(60)
    y[:60, AXIS] = -2.0 + 0.4 * rng.standard_normal(60)
    target = ShellAndResonance()
    found = list(learn_islands(target, evaluate(target, y), SIZES, 40, rng, seed=0))
    # Where m_h1 is little more than 2 m_x the shell is a region of its own.
    assert [type(island.shift.region) for island in found] == [H1Pole, ZpResonance]
    assert found[0].shift.axis == AXIS
    assert np.all(H1Pole(axis=AXIS, m_h1=2, m_x=1).within(found[0].straight))
    island = found[1]
    assert island.share == pytest.approx(SHARE, abs=0.002) and island.shift.axis == 0
    # The island alone: in the whole posterior the flow of the shell covers the shell.
    weighted = importance(Resonance(), island.density, 20_000, rng)
    assert weighted.log_z == pytest.approx(np.log(SHARE), abs=4 * weighted.log_z_error)
    assert weighted.log_z_error < 0.05
    assert weighted.efficiency > 0.05


def test_crossings_leave_the_posterior_alone_and_find_the_other_branch(population):
    """From the shell alone to the right share of the island, by crossings only."""
    target, rng = ShellAndIsland(), np.random.default_rng(4)
    points = population[np.arange(60, 600)]
    points = jax.tree.map(lambda a: np.concatenate([a, a]), points)
    for _ in range(120):
        new = evaluate(target, cross(rng, target, points.y))
        ratio = new.log_likelihood - points.log_likelihood
        points = points.updated(np.log(rng.uniform(size=len(ratio))) < ratio, new)
    share = np.mean(points.y[:, AXIS] > 0.3)
    # Every member crossed several times: the draws are independent.
    assert share == pytest.approx(SHARE, abs=4 * np.sqrt(SHARE * (1 - SHARE) / 540))
    core = points.y[points.y[:, AXIS] < 0.3, AXIS]
    assert core.std() == pytest.approx(WIDTH, rel=0.2)


def test_no_island_without_members_or_shell(population):
    rng = np.random.default_rng(2)
    only_core = population[np.arange(60, 600)]
    assert not list(learn_islands(ShellAndIsland(), only_core, SIZES, 1, rng, 0))

    class NoShell(ShellAndIsland):
        @property
        def shell_axis(self):
            return None

    assert not list(learn_islands(NoShell(), population, SIZES, 1, rng, 0))


def test_a_shear_moves_one_axis_and_keeps_volumes():
    rng = np.random.default_rng(3)
    shift = LearnedShift.zero(Names().names, AXIS, seed=1)
    weights = tuple(w + 0.3 * jnp.asarray(rng.standard_normal(w.shape)) for w in shift.weights)
    shift = LearnedShift(**{**vars(shift), "weights": weights})
    y = rng.standard_normal((20, 4))
    moved = sheared(y, shift, 1.0)
    np.testing.assert_array_equal(moved[:, :3], y[:, :3])
    assert np.std(moved[:, 3] - y[:, 3]) > 1e-3
    np.testing.assert_allclose(sheared(moved, shift, -1.0), y, atol=1e-12)
    jacobian = jax.jacfwd(lambda v: v.at[AXIS].add(shift(v)))(jnp.asarray(y[0]))
    assert np.linalg.det(jacobian) == pytest.approx(1.0, abs=1e-12)


def test_ratios_of_masses_that_the_axis_enters_are_not_seen():
    names = ("m_zp", "m_x", "m_h1", "d")
    assert LearnedShift.zero(names, 3).ratios == ((2, 1), (0, 1))
    assert LearnedShift.zero(names, 0).ratios == ((2, 1),)
    for axis in range(4):
        shift = LearnedShift.zero(names, axis, seed=2)
        shift = LearnedShift(**{**vars(shift), "weights": tuple(w + 0.1 for w in shift.weights)})
        slope = jax.grad(shift)(jnp.array([0.1, 0.2, 0.3, 0.4]))
        assert slope[axis] == 0.0 and np.count_nonzero(slope) == 3

"""Tempering, jumps and NUTS on a target whose evidence, modes and widths are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lmltdm_jax.inference import nuts, smc
from lmltdm_jax.inference.archive import Archive
from lmltdm_jax.inference.chart_kinds import ZpResonance
from lmltdm_jax.inference.charts import Charts, from_y
from lmltdm_jax.inference.importance import Importance, importance
from lmltdm_jax.inference.jumps import difference, proposer, sweep
from lmltdm_jax.inference.target import Evaluated, Target, evaluate

WIDE, COVARIANCE = 20.0, np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 0.04]])
SHARE, DISTANCE = 0.7, 6.0
FAILURE_PROBABILITY = 1e-4
"""Of each statistical test below, were its seed drawn anew: bounds are 4 standard deviations."""


class TwoModes(Target):
    """Prior N(0, 20^2); likelihood two correlated Gaussians at -6 (0.3) and +6 (0.7)."""

    coordinates: None = None
    likelihood: None = None

    @property
    def dimension(self):
        return 3

    @property
    def shell_axis(self):
        return None

    @property
    def has_shell(self):
        return False

    def evaluate(self, y):
        precision = jnp.linalg.inv(COVARIANCE)

        def mode(centre):
            delta = y - jnp.array([centre, 0.0, 0.0])
            return -0.5 * delta @ precision @ delta

        likelihood = jnp.logaddexp(
            jnp.log(1 - SHARE) + mode(-DISTANCE), jnp.log(SHARE) + mode(DISTANCE)
        )
        prior = -0.5 * jnp.sum(y**2) / WIDE**2 - 3 * jnp.log(WIDE * jnp.sqrt(2 * jnp.pi))
        return prior, likelihood


TARGET = TwoModes()


def evaluated(y):
    return evaluate(TARGET, y)


def log_evidence():
    """Exact: each Gaussian times the prior, integrated."""
    total = COVARIANCE + WIDE**2 * np.eye(3)
    centre = np.array([DISTANCE, 0.0, 0.0])
    value = 0.5 * (np.linalg.slogdet(COVARIANCE)[1] - np.linalg.slogdet(total)[1])
    return value - 0.5 * centre @ np.linalg.solve(total, centre)


def tempered(seed, particles=1024, moves=20):
    rng = np.random.default_rng(seed)
    stage = smc.Stage(0.0, 0.0, evaluate(TARGET, WIDE * rng.standard_normal((particles, 3))), 1, 0)
    while stage.beta < 1.0:
        *_, (stage, _) = smc.run_stage(evaluated, stage, moves, rng)
    return stage


@pytest.fixture(scope="module")
def stages():
    return [tempered(seed) for seed in range(4)]


def test_evidence_and_shares_of_the_modes_repeat(stages):
    """Four seeds: ln Z has a scatter of 0.1, the share of a mode of 0.03 (measured on 40 seeds)."""
    log_z = np.array([stage.log_z for stage in stages])
    shares = np.array([np.mean(stage.points.y[:, 0] > 0) for stage in stages])
    assert log_z.mean() == pytest.approx(log_evidence(), abs=4 * 0.1 / 2)
    assert shares.mean() == pytest.approx(SHARE, abs=4 * 0.03 / 2)


def test_weights_keep_the_promised_sample_size():
    log_likelihood = np.random.default_rng(0).normal(-500, 200, size=2000)
    beta = smc.next_beta(log_likelihood, 0.0)
    weight = np.exp(beta * (log_likelihood - log_likelihood.max()))
    assert weight.sum() ** 2 / (weight**2).sum() == pytest.approx(0.6 * 2000, rel=1e-3)
    assert smc.next_beta(np.zeros(10), 0.3) == 1.0


def test_a_point_of_likelihood_zero_is_dropped_not_propagated():
    log_likelihood = np.array([-np.inf, -1.0, -1.5, -1.2])
    beta = smc.next_beta(log_likelihood, 0.0)
    assert 0.0 < beta <= 1.0


def test_differences_are_symmetric():
    archive = Archive.of(np.random.default_rng(2).standard_normal((300, 3)) ** 3)
    steps = difference(np.random.default_rng(5), np.zeros((20000, 3)), archive)
    error = steps.std(axis=0) / np.sqrt(len(steps))
    assert np.all(np.abs(steps.mean(axis=0)) < 4 * error)


def test_kernel_density_is_that_of_its_draws():
    """Integrates to one, and cells hold the share of draws that it says."""
    rng = np.random.default_rng(3)
    archive = Archive.of(np.concatenate([rng.normal(0, 1, 200), rng.normal(8, 0.1, 100)])[:, None])
    edges = np.linspace(-60, 60, 240_001)
    centres = 0.5 * (edges[1:] + edges[:-1])[:, None]
    density = np.exp(archive.log_density(centres))
    cumulative = np.cumsum(density) * (edges[1] - edges[0])
    assert cumulative[-1] == pytest.approx(1.0, abs=1e-5)
    draws = archive.draw(rng, 40_000)[:, 0]
    for quantile in (0.1, 0.3, 0.6, 0.7, 0.9):
        place = centres[np.searchsorted(cumulative, quantile), 0]
        error = np.sqrt(quantile * (1 - quantile) / len(draws))
        assert np.mean(draws < place) == pytest.approx(quantile, abs=4 * error)


def test_members_that_occur_twice_count_once():
    points = np.random.default_rng(4).standard_normal((50, 2))
    once, twice = Archive.of(points), Archive.of(np.repeat(points, 3, axis=0))
    np.testing.assert_array_equal(once.points, twice.points)


def test_jumps_leave_the_posterior_alone_whatever_the_archive(stages):
    """From exact draws, with an archive that is shifted, too narrow and has another share."""
    rng = np.random.default_rng(6)
    n = 4000
    centre = DISTANCE * np.where(rng.uniform(size=n) < SHARE, 1.0, -1.0)
    y = rng.multivariate_normal(np.zeros(3), COVARIANCE, size=n)
    y[:, 0] += centre
    points = evaluate(TARGET, y)
    wrong = rng.standard_normal((100, 3)) * [0.8, 0.5, 0.3]
    wrong[:, 0] += np.where(rng.uniform(size=100) < 0.2, 6.4, -5.6)
    archive, moved = Archive.of(wrong), 0.0
    for _ in range(40):
        points, accepted = sweep(rng, evaluated, points, proposer(archive))
        moved += accepted.mean()
    assert moved > 2.0
    y = points.y
    assert np.mean(y[:, 0] > 0) == pytest.approx(SHARE, abs=4 * np.sqrt(0.21 / n))
    inside = y - DISTANCE * np.sign(y[:, :1]) * [1.0, 0.0, 0.0]
    np.testing.assert_allclose(inside.mean(axis=0), 0.0, atol=4 / np.sqrt(n))
    np.testing.assert_allclose(np.cov(inside.T), COVARIANCE, atol=4 * np.sqrt(2 / n))


def test_temperature_where_most_members_are_impossible():
    """They are lost at once; the others are weighted as if they were all."""
    rng = np.random.default_rng(4)
    possible = -1e4 * rng.uniform(size=200)
    both = np.concatenate([possible, np.full(800, -np.inf)])
    assert smc.next_beta(both, 0.0) == pytest.approx(smc.next_beta(possible, 0.0))


def test_jumps_cross_between_modes(stages):
    y = stages[0].points.y
    archive, rng = Archive.of(y), np.random.default_rng(5)
    points = stages[0].points[np.flatnonzero(y[:, 0] < 0)]
    for _ in range(50):
        points, _ = sweep(rng, evaluated, points, proposer(archive))
    # From share 0 to its own.
    assert np.mean(points.y[:, 0] > 0) == pytest.approx(SHARE, abs=4 * 0.05)


def proposals(y, n, blocks):
    """Weighted draws of the kernel density of points."""
    archive = Archive.of(y)
    y = archive.draw(np.random.default_rng(7), n)
    draws = importance(TARGET, y, archive.log_density(y))
    return nuts.Proposals(draws, archive.log_density, blocks, 0)


@pytest.fixture(scope="module")
def sampled(stages):
    settings = nuts.NutsSettings(16, 10, 60, 60, 500.0, 4, 4, 6)
    y, blocks = stages[0].points.y, settings.warmup_blocks + settings.blocks
    offered = proposals(y, 16 * blocks * 4, blocks)
    sampler = nuts.Sampler(Charts.of(TARGET), settings, stages[0].points, offered, {0: y})
    chains, points = sampler.first(0)
    kept = []
    for i in range(blocks):
        chains, points, block = sampler.advance(chains, points, i)
        if i >= settings.warmup_blocks:
            kept.append(block)
    return chains, kept


def test_nuts_with_jumps_has_the_right_moments(sampled):
    _, blocks = sampled
    y = np.concatenate([block.points.y for block in blocks], axis=1)
    assert y.shape == (16, 240, 3)
    assert np.mean(y[..., 0] > 0) == pytest.approx(SHARE, abs=0.12)
    # The prior pulls by (1/20)^2: below what is seen here.
    assert y[..., 1].std() == pytest.approx(1.0, abs=0.1)
    assert y[..., 2].std() == pytest.approx(0.2, abs=0.02)
    assert np.mean([block.diverging.mean() for block in blocks]) < 0.05
    # Steps are shorter than those with the target acceptance.
    assert nuts.TARGET_ACCEPT < np.mean([block.acceptance.mean() for block in blocks])


def test_the_gradient_is_fresh_after_jumps(sampled):
    """A step of size zero evaluates it; a stale one would bias the next trajectory unseen."""
    (state, _), blocks = sampled
    expected = jax.vmap(jax.grad(TARGET.potential))(state.z)
    np.testing.assert_allclose(state.z_grad, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(state.z, blocks[-1].points.y[:, -1])
    energies = -(blocks[-1].points.log_prior + blocks[-1].points.log_likelihood)
    np.testing.assert_allclose(state.potential_energy, energies[:, -1], rtol=1e-9)


def test_one_step_size_after_warm_up(sampled):
    (state, step_sizes), _ = sampled
    assert np.all(np.asarray(state.i) == 70 * 4)
    assert step_sizes.shape == (1,) and 0.002 < step_sizes[0] < 0.6


def test_the_step_of_a_chart_is_a_tenth_of_the_least_that_its_chains_found():
    found = nuts.pooled(np.array([0.4, 0.1, 0.3, 0.2]), np.array([0, 2, 0, 2]), 4)
    np.testing.assert_allclose(found, [0.03, 0.01, 0.01, 0.01])


def test_proposals_alone_are_independent_draws_of_the_posterior():
    """Every chain starts at the same point of the small mode; each draw is offered once."""
    rng, chains = np.random.default_rng(9), 500
    y = np.where(rng.uniform(size=(400, 1)) < 0.5, 1.0, -1.0) * [DISTANCE, 0.0, 0.0]
    y = y + 1.3 * rng.multivariate_normal(np.zeros(3), COVARIANCE, size=400)
    offered = proposals(y, chains * 40, 2)
    start = evaluate(TARGET, np.tile([-DISTANCE, 0.0, 0.0], (chains, 1)))
    points = offered.offered(offered.offered(start, 0), 1)
    assert np.all(np.any(points.y != start.y, axis=1))
    assert np.mean(points.y[:, 0] > 0) == pytest.approx(SHARE, abs=4 * np.sqrt(0.21 / chains))
    inside = points.y - DISTANCE * np.sign(points.y[:, :1]) * [1.0, 0.0, 0.0]
    np.testing.assert_allclose(np.cov(inside.T), COVARIANCE, atol=4 * np.sqrt(2 / chains))


@pytest.mark.parametrize(("draws", "blocks"), [(51_200, 848), (8000, 88), (90, 7)])
def test_every_proposal_is_dealt_to_one_block(draws, blocks):
    """In as many blocks as there can be, to eight chains; first ones have most."""
    nothing = Evaluated(np.zeros((draws, 1)), np.zeros(draws), np.zeros(draws))
    offered = nuts.Proposals(Importance(nothing, np.zeros(draws)), lambda y: y[:, 0], blocks, 0)
    ends = [offered._dealt(number) for number in range(blocks + 1)]
    assert ends[0] == 0 and ends[-1] == draws and np.all(np.diff(ends) >= 0)
    assert ends[blocks // 3 + 1] > 0.6 * draws


class Halves(Charts):
    """Two charts with a boundary where most points are, the second one bent and stretched (whatever
    chart that is), and forces that are those of something else."""

    def number(self, y):
        return jnp.where(y[0] > DISTANCE + 0.3, 1, 0)

    def _bent(self, w):
        return jnp.array([0.0, jnp.sin(2.0 * w[0]) + 0.3 * jnp.sinh(w[2]) ** 2, 0.0])

    def to_y(self, number, w):
        stretched = jnp.where(number == 1, w.at[2].set(jnp.sinh(w[2])) + self._bent(w), w)
        log_jacobian = jnp.where(number == 1, jnp.log(jnp.cosh(w[2])), 0.0)
        return stretched, log_jacobian, self.number(stretched)

    def from_y(self, number, y):
        w = y.at[2].set(jnp.arcsinh(y[2]))
        w = jnp.where(number == 1, w - self._bent(w), y)
        return w, jnp.where(number == 1, jnp.log(jnp.cosh(w[2])), 0.0)

    def potential(self, number, w):
        y, log_jacobian, _ = self.to_y(number, w)
        exact = TARGET.potential(y) - log_jacobian
        return jax.lax.stop_gradient(exact) + 0.8 * (exact - jax.lax.stop_gradient(exact))


def test_charts_leave_the_posterior_alone():
    """From exact draws, by trajectories and by sweeps."""
    rng, n = np.random.default_rng(8), 4000
    centre = np.array([DISTANCE, 0.0, 0.0])
    y = rng.multivariate_normal(centre, COVARIANCE, size=n)
    inside = y[:, 0] > DISTANCE + 0.3
    charts = Halves(TARGET, (None, ZpResonance()))
    walkers = {0: y[~inside][:300], 1: from_y(charts, 1, y[inside][:300])[0]}
    settings = nuts.NutsSettings(n, 4, 1, 1, 500.0, 3, 3, 4)
    start = evaluate(TARGET, y)
    sampler = nuts.Sampler(charts, settings, start, proposals(y[:50], n, 5), walkers)
    state = sampler._first(y, 0, np.repeat(np.cov(y.T)[None], n, axis=0))
    # In warm-up no proposal is taken, which would hide what is wrong.
    _, points, _ = sampler.advance(nuts.Chains(state, None), start, 0)
    moved = np.any(points.y != y, axis=1)
    np.testing.assert_array_equal(points.y[:, 0] > DISTANCE + 0.3, inside)
    assert moved[inside].mean() > 0.9 and moved[~inside].mean() > 0.9
    np.testing.assert_allclose(points.y.mean(axis=0), centre, atol=4 / np.sqrt(n))
    np.testing.assert_allclose(np.cov(points.y.T), COVARIANCE, atol=4 * np.sqrt(2 / n))
    # Of either side alone, where a flow across the plane would show first.
    for side in (inside, ~inside):
        change = points.y[side].mean(axis=0) - y[side].mean(axis=0)
        error = np.sqrt(2.0 / side.sum()) * y[side].std(axis=0)
        assert np.all(np.abs(change) < 4 * error)

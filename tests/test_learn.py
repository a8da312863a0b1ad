"""Learned shell, flow and importance weights; the whole global stage on targets with known ln Z."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from lmltdm_jax.inference import smc
from lmltdm_jax.inference.archive import Archive
from lmltdm_jax.inference.coordinates import Coordinates
from lmltdm_jax.inference.flow import Flow, Mixture
from lmltdm_jax.inference.importance import importance
from lmltdm_jax.inference.learn import LearnSettings, learn
from lmltdm_jax.inference.learned_shell import LearnedShift, learn_shift
from lmltdm_jax.inference.prior import Prior
from lmltdm_jax.inference.target import Target, evaluate

FAILURE_PROBABILITY = 1e-4
"""Of each statistical test below, were its seed drawn anew: bounds are 4 standard deviations."""
SETTINGS = LearnSettings(shell_draws=0, sweeps=40, every=4, epochs=25, draws=20_000, rounds=1)
BOX = 10.0


class Analytic(Target):
    """Prior flat in [-10, 10]^4 (opened to a logistic edge of 0.01), likelihoods of known Z."""

    coordinates: Coordinates | None = None
    likelihood: None = None

    @property
    def dimension(self):
        return 4

    @property
    def shell_axis(self):
        return None

    def evaluate(self, y):
        log_prior = 4 * -jnp.log(2 * BOX) + jnp.sum(
            jax.nn.log_sigmoid((BOX - y) / 0.01) + jax.nn.log_sigmoid((BOX + y) / 0.01)
        )
        return log_prior, self.log_likelihood(y), jnp.zeros(())


def normal(x, centre, width):
    return -0.5 * ((x - centre) / width) ** 2 - jnp.log(width * jnp.sqrt(2 * jnp.pi))


class UnequalMixture(Analytic):
    """Two modes, a tenth of the mass in a narrow one far away."""

    def log_likelihood(self, y):
        wide = jnp.sum(normal(y, -2.0, 1.0))
        narrow = jnp.sum(normal(y, 6.0, 0.3))
        return jnp.logaddexp(jnp.log(0.9) + wide, jnp.log(0.1) + narrow)

    def inside(self, y):
        return y[:, 0] > 3.0

    share = 0.1


class CurvedShell(Analytic):
    """A shell of width 0.02 along a parabola; the rest unit normals."""

    def log_likelihood(self, y):
        return jnp.sum(normal(y[:3], 0.0, 1.0)) + normal(y[3], 0.5 * y[0] ** 2 - y[1], 0.02)

    def inside(self, y):
        return y[:, 3] > 0.5 * y[:, 0] ** 2 - y[:, 1]

    share = 0.5


class Funnel(Analytic):
    """Neal's funnel: the width of three coordinates is the exponential of the first."""

    def log_likelihood(self, y):
        width = jnp.exp(0.5 * y[0])
        return normal(y[0], -1.0, 1.0) + jnp.sum(normal(y[1:], 0.0, width))

    def inside(self, y):
        return y[:, 0] > -1.0

    share = 0.5


class TwoShells(Analytic):
    """Two curved shells that do not touch, with shares 0.7 and 0.3."""

    def log_likelihood(self, y):
        rest = jnp.sum(normal(y[:3], 0.0, 1.0))
        upper = normal(y[3], 4.0 + 0.2 * y[0] ** 2, 0.05)
        lower = normal(y[3], -4.0 - 0.2 * y[1] ** 2, 0.02)
        return rest + jnp.logaddexp(jnp.log(0.7) + upper, jnp.log(0.3) + lower)

    def inside(self, y):
        return y[:, 3] < 0.0

    share = 0.3


def tempered(target, seed, particles=768, moves=16):
    rng = np.random.default_rng(seed)
    y = rng.uniform(-BOX, BOX, size=(particles, 4))
    stage = smc.Stage(0.0, 0.0, evaluate(target, y), 1.0, 0)
    while stage.beta < 1.0:
        *_, (stage, _) = smc.run_stage(target, stage, moves, rng)
    return stage


def check(target, seed):
    """ln Z is -4 ln 20 (the likelihoods are normalised); every mode has its share."""
    learned = learn(target, tempered(target, seed).points, SETTINGS, seed)
    weighted = learned.importance
    assert weighted.log_z_error < 0.06
    assert weighted.log_z == pytest.approx(-4 * np.log(2 * BOX), abs=4 * weighted.log_z_error)
    share, error = weighted.share(target.inside(weighted.points.y))
    assert error < 0.02
    assert share == pytest.approx(target.share, abs=4 * error)
    assert learned.shift is None and len(learned.population.y) == 768


def test_evidence_and_shares_of_unequal_modes():
    check(UnequalMixture(), 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", [CurvedShell(), Funnel(), TwoShells()], ids=lambda t: type(t).__name__
)
@pytest.mark.parametrize("seed", range(3))
def test_evidence_and_shares_of_hard_shapes(target, seed):
    check(target, seed)


@pytest.fixture(scope="module")
def flow():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 3))
    x[:, 2] += x[:, 0] ** 2
    return Flow.fit(x, epochs=90, seed=0)


def test_a_flow_is_the_density_of_its_draws(flow):
    """The mean of N/q over draws of q is one for every normalised density N inside q.

    To 0.3 %: a flow whose base was trained as well, and drawn from untrained, was 3 % off.
    """
    rng = np.random.default_rng(1)
    y = flow.draw(rng, 100_000)
    log_n = np.sum(
        -0.5 * ((y - [0.3, 0.0, 0.8]) / 0.5) ** 2 - 0.5 * np.log(2 * np.pi * 0.25), axis=1
    )
    ratio = np.exp(log_n - flow.log_density(y))
    assert ratio.mean() == pytest.approx(1.0, abs=4 * ratio.std() / np.sqrt(len(ratio)))
    assert ratio.std() / np.sqrt(len(ratio)) < 0.008


def test_a_flow_follows_a_curved_density(flow):
    y = flow.draw(np.random.default_rng(2), 20_000)
    exact = np.random.default_rng(20).standard_normal((200_000, 3))
    # Quantiles: the tails of a flow are not those of the points.
    for drawn, expected in ((y[:, 2], exact[:, 2] + exact[:, 0] ** 2), (_ridge(y), exact[:, 2])):
        for q in (0.16, 0.5, 0.84):
            assert np.quantile(drawn, q) == pytest.approx(np.quantile(expected, q), abs=0.25)


def _ridge(y):
    return y[:, 2] - y[:, 0] ** 2


def test_a_flow_survives_pickling(flow):
    y = np.random.default_rng(3).standard_normal((10, 3))
    again = pickle.loads(pickle.dumps(flow))
    np.testing.assert_array_equal(again.log_density(y), flow.log_density(y))


def test_a_mixture_is_normalised_and_drawn_by_its_shares(flow):
    far = Archive.of(np.random.default_rng(4).normal(50.0, 1.0, size=(200, 3)))
    mixture = Mixture((flow, far), (0.8, 0.2))
    y = mixture.draw(np.random.default_rng(5), 10_000)
    share = np.mean(y[:, 0] > 25)
    assert share == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / 10_000))
    away = mixture.log_density(y[y[:, 0] > 25]) - far.log_density(y[y[:, 0] > 25])
    np.testing.assert_allclose(away, np.log(0.2), atol=1e-6)


def test_the_error_of_the_evidence_is_its_scatter():
    """Forty repetitions with a density that is too wide: pulls have unit width."""
    rng = np.random.default_rng(6)
    wide = Archive.of(rng.normal(0.0, 1.5, size=(300, 4)) * [1, 1, 1, 0.5])
    target = UnequalMixture()

    class Narrow(UnequalMixture):
        def log_likelihood(self, y):
            return jnp.sum(normal(y, 0.0, 0.7))

    target = Narrow()
    runs = [importance(target, wide, 1500, np.random.default_rng(s)) for s in range(40)]
    pulls = [(r.log_z + 4 * np.log(2 * BOX)) / r.log_z_error for r in runs]
    assert np.std(pulls) == pytest.approx(1.0, abs=4 / np.sqrt(80))
    assert np.mean(pulls) == pytest.approx(0.0, abs=4 / np.sqrt(40))


def test_the_shift_of_a_shell_is_found_from_points_around_it():
    rng = np.random.default_rng(7)
    y = rng.standard_normal((20_000, 4)) * [1.0, 0.5, 2.0, 0.05]
    shift = 0.03 * np.sin(y[:, 0]) + 0.02 * y[:, 1] * np.tanh(y[:, 2])
    slope = 2.0 * np.log(10.0) * (1.5 + 0.5 * np.tanh(y[:, 0]))
    y[:, 3] += 0.4
    excess = -slope * (y[:, 3] - 0.4 - shift)
    # A twentieth is on another branch.
    excess[::20] += rng.uniform(0.2, 2.0, size=1000)
    learned = learn_shift(list("abcd"), y, excess, 3, seed=0)
    left = np.asarray(jax.vmap(learned)(jnp.asarray(y))) - 0.4 - shift
    assert np.std(shift) > 0.02
    assert np.sqrt(np.mean(left**2)) < 2e-3


def test_too_few_points_teach_nothing():
    y = np.random.default_rng(8).standard_normal((50, 4))
    learned = learn_shift(list("abcd"), y, np.full(50, 0.1), 3, seed=0)
    assert float(learned(jnp.ones(4))) == 0.0


def test_coordinates_stay_a_bijection_whatever_was_learned(talk2024):
    """Round trip, and the same density at the same point: the shear has Jacobian one."""
    plain = Coordinates(Prior.for_likelihood(talk2024))
    shift = LearnedShift.zero(plain.prior.names, plain.shell_axis, seed=1)
    rng = np.random.default_rng(9)
    weights = tuple(w + 0.3 * jnp.asarray(rng.standard_normal(w.shape)) for w in shift.weights)
    sheared = plain.with_learned(LearnedShift(**{**vars(shift), "weights": weights}))
    x = plain.prior.box_from_unit(jnp.asarray(rng.uniform(0.02, 0.98, size=(200, 7))))
    y_plain, y = (jax.jit(jax.vmap(c.from_box))(x) for c in (plain, sheared))
    assert np.std(y[:, 6] - y_plain[:, 6]) > 1e-3
    np.testing.assert_allclose(sheared.to_box_many(np.asarray(y)), x, atol=1e-9)
    density = [
        jax.vmap(lambda v, c=c: c.physical(v)[2])(q) for c, q in ((plain, y_plain), (sheared, y))
    ]
    np.testing.assert_allclose(*density, atol=1e-9)

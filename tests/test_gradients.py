"""Gradients over the whole prior box, at its edges and at every threshold."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmltdm_jax import Likelihood, Parameters
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.parameters import PARAMETER_NAMES, PARAMETER_TABLE
from lmltdm_jax.prediction import OBSERVABLE_COLUMNS

LIKELIHOOD = Likelihood.from_preset("talk2024")
SM = StandardModel.load("talk2024")
# eps and the SM rate are tested on their own: Re eps passes through zero, the SM rate is constant.
NAMES = tuple(
    name
    for name in OBSERVABLE_COLUMNS
    if name not in ("kinetic_mixing", "br_bplus_kplus_nunu_sm", "delta_n_eff")
)


def prior_vectors(n, seed):
    """(n, 8) draws from the prior box; every 16th point sits on a random corner or edge."""
    rng = np.random.default_rng(seed)
    u = rng.uniform(size=(n, len(PARAMETER_TABLE)))
    edge = rng.uniform(size=u.shape) < 0.3
    edge[np.arange(n) % 16 != 0] = False
    u = np.where(edge, np.round(u), u)
    low, high = np.array([info.prior for info in PARAMETER_TABLE]).T
    return np.exp(np.log(low) + u * (np.log(high) - np.log(low)))


def log_observables(log_vector):
    """ln |observable| as a function of ln(parameter): relative gradients, all of order one.

    Zero where the observable is zero, as BR(H1 -> inv) is with all dark channels closed.
    """
    observables = LIKELIHOOD.evaluate(Parameters.from_vector(jnp.exp(log_vector))).observables
    values = jnp.stack([getattr(observables, name) for name in NAMES])
    return jnp.where(values == 0.0, 0.0, jnp.log(jnp.abs(jnp.where(values == 0.0, 1.0, values))))


def in_blocks(function, size=512):
    """``function`` over the rows of a tree of arrays, compiled once whatever their number is."""
    block = top_level_jit(lambda tree: jax.lax.map(function, tree, batch_size=32))

    def run(tree):
        n = len(jax.tree.leaves(tree)[0])
        padded = jax.tree.map(lambda a: np.concatenate([a, np.repeat(a[-1:], -n % size, 0)]), tree)
        starts = range(0, n, size)
        parts = [block(jax.tree.map(lambda a, i=i: a[i : i + size], padded)) for i in starts]
        return jax.tree.map(lambda *rows: np.concatenate(rows)[:n], *parts)

    return run


@functools.cache
def compiled():
    """(values, Jacobians by vector-Jacobian products, Jacobians by Jacobian-vector products).

    Rows of a Jacobian are mapped over, not batched: the derivative is compiled once, not per row.
    """

    def pull(pair):
        vector, cotangent = pair
        return jax.vjp(log_observables, vector)[1](cotangent)[0]

    def push(pair):
        vector, tangent = pair
        return jax.jvp(log_observables, (vector,), (tangent,))[1]

    def rows(function, size):
        one_by_one = in_blocks(function)

        def jacobian(vectors):
            n = len(vectors)
            directions = np.tile(np.eye(size), (n, 1))
            return one_by_one((np.repeat(vectors, size, axis=0), directions)).reshape(n, size, -1)

        return jacobian

    push_rows = rows(push, len(PARAMETER_TABLE))
    return (
        in_blocks(log_observables),
        rows(pull, len(NAMES)),
        lambda vectors: push_rows(vectors).transpose(0, 2, 1),
    )


def finite_differences(log_vectors, step):
    """(n, observables, parameters) by a fourth-order stencil, all shifts in one batch."""
    value, _, _ = compiled()
    n, d = log_vectors.shape
    shifts = np.array([-2, -1, 1, 2]) * step
    grid = log_vectors[:, None, None, :] + shifts[None, :, None, None] * np.eye(d)[None, None]
    values = value(grid.reshape(-1, d)).reshape(n, 4, d, -1)
    weights = np.array([1, -8, 8, -1]) / (12 * step)
    return np.einsum("k,nkdo->nod", weights, values)


def test_forward_reverse_and_finite_differences_agree():
    """Where two step sizes of the finite difference agree to 1e-5, autodiff agrees to 1e-4.

    Near a narrow pole or a threshold no step is both small and precise; such entries are left out
    of the comparison with finite differences, and the test fails if they exceed 5 %.
    """
    log_vectors = np.log(prior_vectors(64, seed=1))
    _, reverse, forward = compiled()
    reverse, forward = reverse(log_vectors), forward(log_vectors)
    assert np.all(np.isfinite(reverse))
    np.testing.assert_allclose(forward, reverse, rtol=1e-7, atol=1e-7)
    coarse, fine = finite_differences(log_vectors, 2e-4), finite_differences(log_vectors, 1e-4)
    scale = 1.0 + np.abs(fine)
    converged = np.abs(coarse - fine) < 1e-5 * scale
    assert converged.mean() > 0.95
    error = np.where(converged, np.abs(reverse - fine) / scale, 0.0)
    # Shares of 1e-4 and less carry the error of the total: 1.3e-4 at one of the points.
    is_share = np.array([name.startswith("omega_fraction") for name in NAMES])
    error[:, is_share] *= 0.5
    worst = np.unravel_index(np.argmax(error), error.shape)
    assert error.max() < 1e-4, (
        NAMES[worst[1]],
        PARAMETER_NAMES[worst[2]],
        prior_vectors(64, 1)[worst[0]],
    )


def threshold_points():
    """Points at, 1e-12 and 1e-6 (relative) below and above every threshold and pole."""
    b = Parameters.benchmark()
    places = {
        "m_zp = 2 m_e": ("m_zp", 2 * SM.m_e, {}),
        "m_zp = 2 m_mu": ("m_zp", 2 * SM.m_mu, {"m_x": 0.05}),
        "m_zp = 2 m_tau": ("m_zp", 2 * SM.m_tau, {"m_x": 0.05}),
        "m_zp = 2 m_x": ("m_zp", 0.1, {"m_x": 0.05}),
        "m_x = m_zp": ("m_x", b.m_zp, {}),
        "m_x = m_mu": ("m_x", SM.m_mu, {}),
        "m_x = m_tau": ("m_x", SM.m_tau, {}),
        "m_x = m_h1": ("m_x", b.m_h1, {}),
        "m_x = (m_zp + m_h1)/2": ("m_x", 0.5 * (b.m_zp + b.m_h1), {}),
        "m_h1 = 2 m_x": ("m_h1", 2 * b.m_x, {}),
        "m_h1 = 2 m_zp": ("m_h1", 2 * b.m_zp, {}),
        "m_h1 = 2 m_e": ("m_h1", 2 * SM.m_e, {}),
        "m_h1 = 2 m_mu": ("m_h1", 2 * SM.m_mu, {}),
        "m_h1 = 2 m_pi": ("m_h1", 2 * SM.m_piplus, {}),
        "m_h1 = 2 m_tau": ("m_h1", 2 * SM.m_tau, {}),
        "m_h1 = m_B - m_K": ("m_h1", SM.m_bplus - SM.m_kplus, {}),
        "m_h1 = m_h2 / 2": ("m_h1", 0.5 * SM.m_h2, {}),
        "m_x = (m_B - m_K)/2": ("m_x", 0.5 * (SM.m_bplus - SM.m_kplus), {"m_h1": 6.0}),
        "m_x = m_h2 / 2": ("m_x", 0.5 * SM.m_h2, {}),
    }
    for label, (name, value, others) in places.items():
        for shift in (-1e-6, -1e-12, 0.0, 1e-12, 1e-6):
            point = b.replace(**others).replace(**{name: value * (1 + shift)})
            yield f"{label} ({shift:+g})", np.asarray(point.to_vector())


def test_value_and_gradient_are_finite_at_every_threshold():
    labels, vectors = zip(*threshold_points(), strict=True)
    value, reverse, _ = compiled()
    log_vectors = np.log(np.array(vectors))
    values, gradients = value(log_vectors), reverse(log_vectors)
    bad = [
        (label, name)
        for i, label in enumerate(labels)
        for j, name in enumerate(NAMES)
        if not (np.isfinite(values[i, j]) and np.all(np.isfinite(gradients[i, j])))
    ]
    assert not bad


OPENS_FROM_NOTHING = ("m_h1 = 2 m_x", "m_h1 = 2 m_zp", "m_h1 = 2 m_e")
"""Thresholds of channels that at once outdo all others of a narrow H1, see the test of widths."""
PLACES = [label.rpartition(" (")[0] for label, _ in threshold_points()][2::5]


@functools.cache
def across_thresholds():
    """{place: (ln L, gamma_h1)} at the five shifts of :func:`threshold_points`."""

    def both(vector):
        evaluation = LIKELIHOOD.evaluate(Parameters.from_vector(vector))
        return evaluation.loglike, evaluation.observables.gamma_h1

    vectors = np.array([vector for _, vector in threshold_points()])
    rows = [column.reshape(-1, 5) for column in in_blocks(both)(vectors)]
    return dict(zip(PLACES, zip(*rows, strict=True), strict=True))


@pytest.mark.parametrize("place", [place for place in PLACES if place not in OPENS_FROM_NOTHING])
def test_the_likelihood_is_continuous_across_thresholds(place):
    """A step of 1e-12 in a mass moves ln L by less than 1e-4 (1 + |ln L|)."""
    loglike, _ = across_thresholds()[place]
    assert abs(loglike[1] - loglike[3]) < 1e-4 * (1.0 + abs(loglike[2]))


@pytest.mark.parametrize(
    ("place", "power"), list(zip(OPENS_FROM_NOTHING, (0.5, 0.5, 1.5), strict=True))
)
def test_where_a_channel_opens_from_nothing_the_width_is_continuous(place, power):
    """It grows like the velocity (scalars, Z') or its cube (fermions), from what is there below.

    Branching fractions, and with them ln L, do step there: at a distance of 1e-12 the velocity is
    1e-6 already, more than what the narrow H1 has otherwise.
    """
    _, width = across_thresholds()[place]
    assert width[2] == pytest.approx(width[1], rel=1e-9)
    near, far = width[3:] - width[2]
    assert np.log(far / near) / np.log(1e6) == pytest.approx(power, abs=1e-3)


@functools.cache
def value_and_gradient(preset):
    likelihood = Likelihood.from_preset(preset)
    return in_blocks(jax.value_and_grad(lambda v: likelihood(Parameters.from_vector(v))))


@pytest.mark.parametrize("n", [8192, pytest.param(50_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("preset", ["talk2024", "current"])
def test_no_nan_in_value_or_gradient_over_the_prior(preset, n):
    """Not one NaN or infinity in n points of each preset."""
    vectors = prior_vectors(n, seed=20)
    value, gradient = value_and_gradient(preset)(vectors)
    bad = ~(np.isfinite(value) & np.all(np.isfinite(gradient), axis=1))
    assert not bad.any(), vectors[bad][:3]


@pytest.mark.parametrize("preset", ["talk2024", "current"])
def test_outside_the_domain_is_minus_infinity_with_zero_gradient(preset):
    changes = [{"m_x": -1.0}, {"sin_theta": 1.5}, {"m_h1": float("nan")}, {"q_phi": 0.0}]
    points = [Parameters.benchmark().replace(**change).to_vector() for change in changes]
    value, gradient = value_and_gradient(preset)(np.array(points))
    np.testing.assert_array_equal(value, -np.inf)
    np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["talk2024", "current"])
def test_every_pull_has_a_finite_slope_over_the_prior(preset):
    """Minimisers take their curvature from them; a root must not end in an infinite slope."""
    likelihood = Likelihood.from_preset(preset)

    def pulls(vector):
        return likelihood.evaluate(Parameters.from_vector(vector)).pulls

    slopes = in_blocks(jax.jacfwd(pulls))(prior_vectors(1024, seed=21))
    bad = [name for name, rows in slopes.items() if not np.all(np.isfinite(rows))]
    assert not bad

"""Weighted draws: what smoothing of the largest weights does, and what it leaves alone."""

import numpy as np
import pytest
from lmltdm_jax.inference import importance as weighting
from lmltdm_jax.inference.importance import PARETO_K_MAX, Importance, smoothed
from lmltdm_jax.inference.target import Evaluated

N = 4000
TAIL = round(3 * np.sqrt(N))


def draws(log_weights):
    nothing = np.zeros(len(log_weights))
    return Importance(Evaluated(nothing[:, None], nothing, nothing), log_weights)


@pytest.mark.parametrize("k", [0.3, 0.5, 0.9])
def test_the_shape_of_a_pareto_tail_is_found(k):
    """P(w > x) = x^(-1/k). To four standard deviations of a maximum-likelihood fit to the tail,
    (1 + k)/sqrt(tail), one of 16,000 seeds fails."""
    log_w = k * np.random.default_rng(0).exponential(size=N)
    assert smoothed(log_w)[1] == pytest.approx(k, abs=4 * (1 + k) / np.sqrt(TAIL))


def test_only_the_largest_weights_move_and_keep_their_order():
    rng = np.random.default_rng(1)
    log_w = rng.permutation(np.concatenate([rng.standard_normal(N), np.full(N, -np.inf)])) + 800.0
    before = log_w.copy()
    smooth, k = smoothed(log_w)
    np.testing.assert_array_equal(log_w, before)
    order = np.argsort(log_w, kind="stable")
    tail = int(np.ceil(3 * np.sqrt(2 * N)))
    np.testing.assert_array_equal(smooth[order[:-tail]], log_w[order[:-tail]])
    assert np.all(np.diff(smooth[order[N:]]) >= 0.0) and smooth.max() <= log_w.max()
    assert (
        0.0 < np.max(np.abs(smooth[order[-tail:]] - log_w[order[-tail:]])) < 1.0
        and k < PARETO_K_MAX
    )


def test_one_draw_where_the_density_is_far_too_low_is_not_a_tenth_of_all():
    log_w = np.random.default_rng(2).standard_normal(N)
    clean = draws(log_w.copy())
    log_w[0] = np.log(0.12 * N)
    raw = np.exp(log_w)
    found = draws(log_w)
    assert raw[0] / raw.sum() > 0.06 and found.weights[0] < 0.02
    assert found.log_z == pytest.approx(clean.log_z, abs=clean.log_z_error)
    assert found.effective > 0.7 * clean.effective
    assert found.weights.sum() == pytest.approx(1.0) and found.pareto_k < PARETO_K_MAX


def test_the_mean_of_heavy_weights_scatters_less_and_stays_what_it_is():
    """k = 0.65 has no variance: the root-mean-square error over 400 samples is 0.7 to 0.8 of that
    of the plain mean; of it -0.05 is bias, within the error that a sample of 1000 has."""
    k, rng = 0.65, np.random.default_rng(3)
    log_w = k * rng.exponential(size=(400, 1000))
    exact = -np.log(1.0 - k)
    found = [draws(row) for row in log_w]
    smooth = np.array([each.log_z for each in found]) - exact
    plain = np.log(np.exp(log_w).mean(axis=1)) - exact
    assert np.sqrt(np.mean(smooth**2)) < 0.9 * np.sqrt(np.mean(plain**2))
    assert abs(smooth.mean()) < np.median([each.log_z_error for each in found])


@pytest.mark.parametrize(
    ("log_weights", "k"),
    [
        (np.zeros(N), -np.inf),
        (np.full(N, -3.0), -np.inf),
        (np.arange(20.0), np.inf),
        (np.where(np.arange(N) < 50, 0.0, -np.inf), np.inf),
    ],
    ids=["equal", "equal but not one", "few", "hardly any but zero"],
)
def test_weights_that_cannot_be_smoothed_stay(log_weights, k):
    smooth, found = smoothed(log_weights)
    np.testing.assert_array_equal(smooth, log_weights)
    assert found == k
    weights = draws(log_weights).weights
    assert weights.sum() == pytest.approx(1.0) and np.all(weights >= 0.0)


@pytest.mark.parametrize("fewer", [False, True])
def test_thinned_draws_keep_sums_and_most_of_their_worth(monkeypatch, fewer):
    """Sums of four functions over 200 ways to thin: unbiased, to four errors of the mean each (one
    of 4000 seeds fails), and heavy draws as they are."""
    rng = np.random.default_rng(5)
    log_w = 2.0 * rng.standard_normal(N)
    log_w[rng.integers(N, size=N // 5)] = -np.inf
    whole = draws(log_w)
    x = np.stack([rng.standard_normal(N), log_w > 2.0, log_w < 0.0, np.arange(N) / N])
    most, worth = (1.5, 0.6) if fewer else (4.0, 0.85)
    most *= whole.effective
    if fewer:
        monkeypatch.setattr(weighting, "_MOST_KEPT", most)
    expected, least = x @ whole.weights, 1.0 / most
    found = []
    for _ in range(200):
        rows, weights = whole.thinned(rng)
        assert len(rows) <= most < N and len(set(rows)) == len(rows)
        assert weights.sum() == pytest.approx(1.0) and np.all(np.isfinite(log_w[rows]))
        assert 1.0 / np.sum(weights**2) > worth * whole.effective
        assert set(np.flatnonzero(whole.weights > least)) <= set(rows)
        found.append(x[:, rows] @ weights)
    error = np.std(found, axis=0) / np.sqrt(200) + 1e-12
    assert np.all(np.abs(np.mean(found, axis=0) - expected) < 4.0 * error)


def test_unreliable_weights_are_said_to_be():
    log_w = 1.5 * np.random.default_rng(4).exponential(size=N)
    assert draws(log_w).pareto_k > PARETO_K_MAX

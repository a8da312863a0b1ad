"""The posteriors of both Z'-only models, drawn by hand: see :mod:`plain_importance`."""

from __future__ import annotations

import numpy as np
import pytest
from lmltdm_jax.inference import fit
from plain_importance import (
    KS,
    OF_ZP,
    SIGMAS,
    Branch,
    ByHand,
    distance,
    fitted_to_the_end,
    of_chains,
    of_weighted,
    weighted,
)

from lmltdm_jax.zp_only import ZpFermionParameters, ZpScalarParameters

pytestmark = pytest.mark.slow
DRAWS = 40_000
SHARES = (0.06, 0.34, 0.6)
"""Of the prior, past the pole of the Z' (m_zp < 2 m), below it"""
FURTHEST = (1.35, 5.0)
"""m_zp/m where the search ends, past the pole and below it"""


@pytest.fixture(scope="module", params=[ZpScalarParameters, ZpFermionParameters])
def target(request, talk2024):
    return fit.build_target(talk2024, model=request.param)


@pytest.fixture(scope="module")
def by_hand(target):
    """(draws, ln Z, its error)."""
    hand = ByHand(target, 1, DRAWS)
    hand.on_grid(("m_zp", "g_x"), OF_ZP)
    pole = hand["m_zp"] - np.log10(2.0)
    ends = [abs(np.log10(2.0 / ratio)) for ratio in FURTHEST]
    branches = [Branch(pole, sign, end) for sign, end in zip((1.0, -1.0), ends, strict=True)]
    hand.where_relic_density_is_right(hand.prior.model.dark_matter_mass, SHARES, branches)
    return weighted((hand.x, hand.log_weights(np.ones(DRAWS, bool))))


@pytest.fixture(scope="module")
def fitted(target):
    return fitted_to_the_end(target)


@pytest.fixture(params=["weighted", "chains"])
def ours(request, target, fitted):
    if request.param == "chains":
        return of_chains(target, fitted)
    return of_weighted(target, fitted.learned.importance)


def past_the_pole(target, x):
    """(n,) bool: m_zp < 2 m."""
    prior = target.coordinates.prior
    mass = x[:, prior.names.index(prior.model.dark_matter_mass)]
    return x[:, prior.names.index("m_zp")] < mass + np.log10(2.0)


def test_evidence(by_hand, fitted):
    _, log_z, error = by_hand
    found = fitted.learned.importance
    assert error < 0.01
    assert found.log_z == pytest.approx(log_z, abs=SIGMAS * np.hypot(error, found.log_z_error))


def test_weight_past_the_pole(target, by_hand, ours):
    p, error = ours.share(past_the_pole(target, ours.x))
    q, other = by_hand[0].share(past_the_pole(target, by_hand[0].x))
    assert p == pytest.approx(q, abs=SIGMAS * np.hypot(error, other))


def test_marginals(target, by_hand, ours):
    """The largest distance between the distributions of each parameter."""
    for axis, name in enumerate(target.coordinates.prior.names):
        assert distance(ours, by_hand[0], axis) < KS, name

"""The posteriors of the dark Higgs, of ``talk2024`` and ``current``, without any of the samplers.

Nested sampling did not serve as the reference: docs/sampling.md. Of ``current`` weighted draws
alone are compared, what a fit has before its chains.
"""

from __future__ import annotations

import numpy as np
import pytest
from dark_higgs_by_hand import draw_by_hand, modes
from lmltdm_jax.inference import fit
from plain_importance import (
    KS,
    SIGMAS,
    distance,
    fitted_to_the_end,
    of_chains,
    of_weighted,
    weighted,
)

# The first test makes what all compare, 24 minutes beside other work.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module", params=["talk2024", "current"])
def preset(request):
    return request.param


@pytest.fixture(scope="module")
def target(preset):
    return fit.build_target(preset)


@pytest.fixture(scope="module")
def by_hand(target):
    """(draws, ln Z, its error)."""
    return weighted(*draw_by_hand(target, 1).values())


@pytest.fixture(scope="module")
def fitted(preset, target):
    """(weighted draws with evidence; by name what is compared)."""
    if preset == "current":
        found = fit.explore(target).importance
        return found, {"weighted": of_weighted(target, found)}
    whole = fitted_to_the_end(target)
    found = whole.learned.importance
    return found, {"weighted": of_weighted(target, found), "chains": of_chains(target, whole)}


def test_evidence(by_hand, fitted):
    _, log_z, error = by_hand
    found, _ = fitted
    assert error < 0.02
    assert found.log_z == pytest.approx(log_z, abs=SIGMAS * np.hypot(error, found.log_z_error))


def test_weights_of_the_modes(target, by_hand, fitted):
    theirs = modes(target, by_hand[0].x)
    for kind, ours in fitted[1].items():
        for name, inside in modes(target, ours.x).items():
            (p, error), (q, other) = ours.share(inside), by_hand[0].share(theirs[name])
            # Draws that hardly reach a mode do not know of their own error.
            error = max(error, np.sqrt(q * (1.0 - q) * np.sum(ours.weights**2)))
            assert p == pytest.approx(q, abs=SIGMAS * np.hypot(error, other)), (kind, name)


def test_marginals(target, by_hand, fitted):
    """The largest distance between the distributions of each parameter."""
    for kind, ours in fitted[1].items():
        for axis, name in enumerate(target.coordinates.prior.names):
            assert distance(ours, by_hand[0], axis) < KS, (kind, name)

"""The posterior of ``talk2024`` without any of the samplers: draws of a density made by hand.

Importance sampling is exact for any density that is nowhere zero, whatever it is good for. This one
knows the physics and nothing that was learned: (m_zp, g_x) from a grid of g-2 and N_eff; m_x from
the prior or near the resonance and the threshold of the Z'; m_h1 from the prior or near its pole;
lambda_phix from the prior or near the two couplings that a cheap estimate of the relic density
gives; the rest from the prior. Of 1000 draws 0.8 count.

Nested sampling did not serve as the reference: docs/sampling.md.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest
from lmltdm_jax.inference import fit
from lmltdm_jax.inference.coordinates import log10_lambda_shell
from lmltdm_jax.inference.prior import Prior
from lmltdm_jax.inference.target import in_lanes
from plain_importance import KS, SIGMAS, ByHand, distance, draws_of, fitted_to_the_end
from scipy.stats import norm

from lmltdm_jax.numerics.compiling import top_level_jit

pytestmark = pytest.mark.slow
DRAWS = 2_500_000
RATIOS = ((2.0, 3.6), (1.0, 1.27))
"""m_zp/m_x of the resonance, of the threshold"""
POLE = (-3.0, 0.7)
"""log10(m_h1/(2 m_x) - 1)"""
WIDTHS = (0.02, 0.15, 0.03, 0.25)
"""Of lambda_phix around the lower (two) and the upper coupling (two) [dex]"""


@top_level_jit
def _couplings(prior: Prior, x: jax.Array):
    def both(x: jax.Array):
        params = prior.physical(x)[0].as_dark_higgs()
        return log10_lambda_shell(params), log10_lambda_shell(params, upper=True)

    return jax.vmap(both)(x)


class OfTalk(ByHand):
    """The dark Higgs on the talk's data."""

    def mass_of_x(self) -> None:
        m_zp, ends = self.x[:, self.index("m_zp")], np.log10(RATIOS)
        drawn = [m_zp - self.rng.uniform(*pair, size=self.n) for pair in ends]

        def density(m_x: np.ndarray) -> list[np.ndarray]:
            r = m_zp - m_x
            return [((r > low) & (r < high)) / (high - low) for low, high in ends]

        self.mixed("m_x", (0.6, 0.2, 0.2), drawn, density)

    def mass_of_h1(self) -> None:
        pole = np.log10(2.0) + self.x[:, self.index("m_x")]
        drawn = [pole + np.log10(1.0 + 10.0 ** self.rng.uniform(*POLE, size=self.n))]

        def density(m_h1: np.ndarray) -> list[np.ndarray]:
            beyond = np.maximum(10.0 ** (m_h1 - pole) - 1.0, 1e-12)
            inside = (np.log10(beyond) > POLE[0]) & (np.log10(beyond) < POLE[1])
            return [inside * (1.0 + beyond) / beyond / (POLE[1] - POLE[0])]

        self.mixed("m_h1", (0.65, 0.35), drawn, density)

    def coupling_of_h1(self) -> None:
        inside = np.clip(self.x, self.low + 1e-9, self.high - 1e-9)
        lower, upper = in_lanes(_couplings, self.prior, inside)
        centres = np.stack([lower, lower, upper, upper])
        widths = np.array(WIDTHS)[:, None]
        drawn = centres + widths * self.rng.standard_normal(self.n)
        shares = (0.2, 0.25, 0.15, 0.2, 0.2)
        self.mixed("lambda_phix", shares, drawn, lambda v: norm.pdf(v, centres, widths))


@pytest.fixture(scope="module")
def target(talk2024):
    return fit.build_target(talk2024)


@pytest.fixture(scope="module")
def by_hand(target):
    """(draws, ln Z, its error)."""
    hand = OfTalk(target, np.random.default_rng(1), DRAWS)
    hand.mass_and_coupling_of_the_zp()
    hand.mass_of_x()
    hand.mass_of_h1()
    hand.coupling_of_h1()
    return hand.weighted()


@pytest.fixture(scope="module")
def fitted(target):
    return fitted_to_the_end(target)


@pytest.fixture(params=["weighted", "chains"])
def ours(request, target, fitted):
    return draws_of(target, fitted, request.param)


def modes(target, x):
    """Regions that split the posterior, bool (n,) by name."""
    prior, sm = target.coordinates.prior, target.likelihood.sm
    m_zp, m_x, m_h1 = (10.0 ** x[:, prior.names.index(n)] for n in ("m_zp", "m_x", "m_h1"))
    resonance = (m_zp > 1.95 * m_x) & (m_zp < 4.5 * m_x)
    forbidden = (m_zp > m_x) & (m_zp < 1.3 * m_x)
    rest = ~resonance & ~forbidden
    return {
        "two-body lobe": m_h1 < float(sm.m_bplus - sm.m_kplus),
        "resonance of the Z'": resonance,
        "below the mass of the Z'": forbidden,
        "below the pole of H1": rest & (m_h1 < 2.0 * m_x),
        "above the pole of H1": rest & (m_h1 > 2.0 * m_x),
    }


def test_evidence(by_hand, fitted):
    _, log_z, error = by_hand
    found = fitted.learned.importance
    assert error < 0.06
    assert found.log_z == pytest.approx(log_z, abs=SIGMAS * np.hypot(error, found.log_z_error))


def test_weights_of_the_modes(target, by_hand, ours):
    theirs = modes(target, by_hand[0].x)
    for name, inside in modes(target, ours.x).items():
        (p, error), (q, other) = ours.share(inside), by_hand[0].share(theirs[name])
        assert p == pytest.approx(q, abs=SIGMAS * np.hypot(error, other)), name


def test_marginals(target, by_hand, ours):
    """The largest distance between the distributions of each parameter."""
    for axis, name in enumerate(target.coordinates.prior.names):
        assert distance(ours, by_hand[0], axis) < KS, name

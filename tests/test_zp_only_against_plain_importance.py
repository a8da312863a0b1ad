"""The posteriors of both Z'-only models without any of the samplers, as the dark Higgs has it.

Here the density by hand has (m_zp, g_x) from a grid of g-2 and N_eff, and the mass of the dark
matter from the prior or near the two places, on either side of the pole of the Z', where the relic
density is right, by bisection; the rest from the prior. Four draws in ten count.
"""

from __future__ import annotations

import jax
import numpy as np
import pytest
from lmltdm_jax.inference import fit
from lmltdm_jax.inference.target import Target, in_lanes
from plain_importance import KS, SIGMAS, ByHand, distance, draws_of, fitted_to_the_end
from scipy.stats import t as student

from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.zp_only import ZpFermionParameters, ZpScalarParameters

pytestmark = pytest.mark.slow
DRAWS = 40_000
SHARES = (0.06, 0.34, 0.6)
"""Of the prior, past the pole (m_zp < 2 m), below it"""
FURTHEST = (1.35, 5.0)
"""m_zp/m where the search ends, past the pole and below it"""
NEAREST, BISECTIONS = -5.0, 16
"""log10 of the distance from the pole [dex] where it begins"""
DEGREES, WIDTH = 4, 0.045
"""Of Student's distribution around the root, in ln Omega h2: the theory error is 0.03"""


@top_level_jit
def _excess(target: Target, x: jax.Array) -> jax.Array:
    return jax.vmap(lambda x: target.shell_excess(target.coordinates.from_box(x)))(x)


class ZpOnly(ByHand):
    def mass_of_dark_matter(self) -> None:
        name = self.prior.model.dark_matter_mass
        axis, pole = self.index(name), self.x[:, self.index("m_zp")] - np.log10(2.0)

        def excess(mass: np.ndarray) -> np.ndarray:
            x = self.x.copy()
            x[:, axis] = mass
            x = np.clip(x, self.low + 1e-9, self.high - 1e-9)
            return in_lanes(_excess, self.target, x)

        roots, widths = [], []
        for sign, ratio in zip((1.0, -1.0), FURTHEST, strict=True):
            near = np.full(self.n, NEAREST)
            far = np.full(self.n, np.log10(sign * np.log10(2.0 / ratio)))
            for _ in range(BISECTIONS):
                middle = 0.5 * (near + far)
                above = excess(pole + sign * 10.0**middle) > 0.0
                near, far = np.where(above, near, middle), np.where(above, middle, far)
            distance = 10.0 ** (0.5 * (near + far))
            ends = [excess(pole + sign * distance * factor) for factor in (0.98, 1.02)]
            slope = np.abs(ends[1] - ends[0]) / (0.04 * distance)
            roots.append(pole + sign * distance)
            widths.append(np.clip(WIDTH / np.maximum(slope, 1e-3), 1e-6, 0.05))
        centres, widths = np.array(roots), np.array(widths)
        drawn = centres + widths * self.rng.standard_t(DEGREES, size=self.n)
        self.mixed(name, SHARES, drawn, lambda v: student.pdf(v, DEGREES, centres, widths))


@pytest.fixture(scope="module", params=[ZpScalarParameters, ZpFermionParameters])
def target(request, talk2024):
    return fit.build_target(talk2024, model=request.param)


@pytest.fixture(scope="module")
def by_hand(target):
    """(draws, ln Z, its error)."""
    hand = ZpOnly(target, np.random.default_rng(1), DRAWS)
    hand.mass_and_coupling_of_the_zp()
    hand.mass_of_dark_matter()
    return hand.weighted()


@pytest.fixture(scope="module")
def fitted(target):
    return fitted_to_the_end(target)


@pytest.fixture(params=["weighted", "chains"])
def ours(request, target, fitted):
    return draws_of(target, fitted, request.param)


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

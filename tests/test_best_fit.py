"""The best fit on a pole, where a minimisation of everything ends in the valley."""

import jax.numpy as jnp
import numpy as np
import pytest
from lmltdm_jax.inference.best_fit import best_fit
from lmltdm_jax.inference.fit import build_target
from lmltdm_jax.inference.minimise import chi2_of, minimise
from lmltdm_jax.inference.profile_grid import scannable
from lmltdm_jax.inference.target import evaluate
from toy_target import Toy

WIDTH = 1e-6
"""Of the pole [dex]"""


class Pole(Toy):
    """chi2 = ln(1 + (r/WIDTH)^2), which has no residuals, of r = log10(m_zp/(2 m_x)), and parabolas
    in m_zp and all that is no mass; least 0."""

    def parts(self, u):
        """(ratio [dex], pulls)."""
        low, high = self.coordinates.prior.box
        zp, x = (self.coordinates.prior.names.index(name) for name in ("m_zp", "m_x"))
        ends = low + u * (high - low)
        others = jnp.array([i for i in range(len(low)) if i != x])
        return ends[zp] - ends[x] - np.log10(2.0), (u[others] - 0.5) / 0.2

    def residuals(self, u):
        return self.parts(u)[1]

    def chi2(self, u):
        ratio, pulls = self.parts(u)
        return jnp.log1p((ratio / WIDTH) ** 2) + jnp.sum(pulls**2)


@pytest.fixture(scope="module")
def pole(talk2024):
    plain = scannable(build_target(talk2024), ["lambda_phix"])
    return Pole(plain.coordinates, plain.likelihood)


@pytest.fixture(scope="module")
def starts(pole):
    """On the pole within its width, the rest anywhere near the middle; best first."""
    prior, rng = pole.coordinates.prior, np.random.default_rng(5)
    low, high = prior.box
    zp, x = (prior.names.index(name) for name in ("m_zp", "m_x"))
    box = low + (high - low) * rng.uniform(0.35, 0.65, (40, prior.dimension))
    box[:, x] = box[:, zp] - np.log10(2.0) + WIDTH * rng.standard_normal(40)
    y = np.asarray(prior.unconstrained_from_box(jnp.asarray(box)))
    return y[np.argsort(chi2_of(pole, evaluate(pole, y)))]


def test_on_a_pole(pole, starts):
    """A minimisation of everything ends too high, as the docstring says; the turns do not."""
    valley = minimise(pole, starts, np.ones(pole.dimension, bool))
    assert valley.chi2.min() > 0.05
    y = best_fit(pole, starts)
    assert chi2_of(pole, evaluate(pole, y[None]))[0] < 0.01


def test_where_no_minimum_belongs(pole, starts):
    """It is the first start (test_compare.py has kinds of which minima are)."""
    axis = pole.coordinates.prior.names.index("m_h1")
    right = lambda y: y[:, axis] > starts[:, axis].max() - 1e-9  # noqa: E731
    np.testing.assert_array_equal(best_fit(pole, starts, right), starts[0])


def test_shifts_end_at_the_prior(pole, starts):
    """From masses next to the upper ends, where most shifts leave the box: inside, and better."""
    prior = pole.coordinates.prior
    box = np.array(prior.box_from_unconstrained(jnp.asarray(starts)))
    box[:, prior.masses] = prior.box[1][prior.masses] - 1e-3
    y = np.asarray(prior.unconstrained_from_box(jnp.asarray(box)))
    found = best_fit(pole, y)
    inside = np.asarray(prior.box_from_unconstrained(jnp.asarray(found)))
    assert np.all((inside > prior.box[0]) & (inside < prior.box[1]))
    assert chi2_of(pole, evaluate(pole, found[None]))[0] < chi2_of(pole, evaluate(pole, y)).min()

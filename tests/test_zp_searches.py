"""Limit curves in m_zp: the number on the curve, branching fractions, ends of the range."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.likelihoods.base import Context, limit_quantile
from lmltdm_jax.likelihoods.zp_searches import ZpSearch
from lmltdm_jax.model import build_point
from lmltdm_jax.parameters import Parameters
from lmltdm_jax.widths import build_widths

pytestmark = pytest.mark.fast

SM = StandardModel.load("pdg2026")
NAMES = ("babar_4mu", "cms_4mu", "belle2_invisible", "na64e_invisible", "white_dwarf")


@functools.cache
def term(name):
    return ZpSearch.load(name)


def context(vector):
    """m_zp, g_x, m_x; these terms read no observable."""
    params = Parameters.benchmark().replace(m_zp=vector[0], g_x=vector[1], m_x=vector[2])
    point = build_point(params, SM)
    return Context(point, build_widths(point), None)  # pyright: ignore[reportArgumentType]


@functools.cache
def compiled(name, kind):
    def loglike(vector):
        return term(name).loglike(context(vector))

    derivative = {"value": loglike, "reverse": jax.jacrev(loglike), "forward": jax.jacfwd(loglike)}
    return jax.jit(derivative[kind])


def prediction(name, m_zp, g_x, m_x=50.0):
    return float(term(name).prediction(context(jnp.array([m_zp, g_x, m_x]))))


def middle(name):
    mass = [m for m, _ in term(name).curve.raw]
    return math.sqrt(mass[0] * mass[-1])


@pytest.mark.parametrize("name", NAMES)
def test_on_the_curve_without_dark_decays_the_prediction_is_one(name):
    mass = middle(name)
    limit = float(term(name).curve.limit(jnp.asarray(mass)))
    if name == "na64e_invisible":
        point = context(jnp.array([mass, 1.0, 50.0])).point
        limit /= abs(complex(point.kinetic_mixing))
    share = float(term(name).share(context(jnp.array([mass, limit, 50.0]))))
    assert prediction(name, mass, limit) == pytest.approx(share, rel=1e-12)
    expected = {"babar_4mu": 1.0, "cms_4mu": 1.0, "white_dwarf": 1.0, "na64e_invisible": 1.0}
    assert share == pytest.approx(expected.get(name, share), rel=1e-3)
    pull = float(term(name).pull(context(jnp.array([mass, limit, 50.0]))))
    assert pull == pytest.approx(limit_quantile(term(name).measurement.confidence_level) * share)


def test_invisible_share_above_the_muon_threshold_is_that_of_the_widths():
    """Two neutrinos against mu mu, tau tau closed: 1/2 at m_zp >> 2 m_mu."""
    values = context(jnp.array([2.0, 1e-2, 50.0]))
    share = float(term("belle2_invisible").share(values))
    assert share == pytest.approx(0.5, rel=2e-2)


@pytest.mark.parametrize(("name", "closed"), [("babar_4mu", 1.0), ("cms_4mu", 1.0)])
def test_decays_to_dark_matter_weaken_muon_searches(name, closed):
    mass = middle(name)
    open_, shut = (prediction(name, mass, 5e-3, m_x) for m_x in (0.1 * mass, 0.6 * mass))
    zp = context(jnp.array([mass, 5e-3, 0.1 * mass])).widths.zp
    assert open_ / shut == pytest.approx(1.0 - float(zp.xx / zp.total), rel=1e-9)
    assert shut > open_ > 0.0


def test_decays_to_dark_matter_strengthen_invisible_searches():
    name, mass = "belle2_invisible", 2.0
    assert prediction(name, mass, 5e-3, 0.1) > prediction(name, mass, 5e-3, 1.5)


@pytest.mark.parametrize(
    ("name", "mass", "published", "tolerance"),
    [
        ("babar_4mu", None, 7e-4, 0.15),
        ("belle2_invisible", 0.5, 5e-2, 0.05),
        ("white_dwarf", 0.01, 4.9e-4, 0.02),
    ],
)
def test_curves_agree_with_numbers_quoted_in_text(name, mass, published, tolerance):
    """Abstracts: BaBar 'as low as 7e-4'; Belle II '5e-2 ... for m <= 6 GeV'."""
    raw = np.array(term(name).curve.raw)
    lowest = raw[:, 1].min() if mass is None else float(term(name).curve.limit(jnp.asarray(mass)))
    assert lowest == pytest.approx(published, rel=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_smooth_curve_follows_the_raw_points(name):
    """Root mean square of ln(smooth/raw), also between points: 25 % is the digitisation of CMS."""
    raw = np.log(np.array(term(name).curve.raw))
    log_mass = np.linspace(raw[0, 0] + 1e-6, raw[-1, 0] - 1e-6, 2000)
    smooth = np.log(np.asarray(jax.vmap(term(name).curve.limit)(jnp.exp(log_mass))))
    difference = smooth - np.interp(log_mass, *raw.T)
    scatter = float(np.sqrt(np.mean(difference**2)))
    assert scatter < {"cms_4mu": 0.25, "babar_4mu": 0.4}.get(name, 0.06), scatter


def end_points(name):
    """Just outside, on and inside both ends, in the fade, and on the two muon threshold."""
    curve = term(name).curve
    low, high = curve.raw[0][0], curve.raw[-1][0]
    masses = [low * 0.99, low, low * 1.01, middle(name), high * 0.985, high, high * 1.01]
    masses += [2 * SM.m_mu, 2 * SM.m_mu * (1 + 1e-9)]
    return [jnp.array([m, 2e-3, m_x]) for m in masses for m_x in (50.0, m / 2, m / 3)]


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_at_ends_and_thresholds(name):
    """Finite everywhere; forward = reverse; 0 with gradient 0 outside the range.

    Belle II's search has no lower end: a massless Z' recoils like a light one.
    """
    raw = term(name).curve.raw
    low = 0.0 if name == "belle2_invisible" else raw[0][0]
    for vector in end_points(name):
        value = compiled(name, "value")(vector)
        forward, reverse = (compiled(name, kind)(vector) for kind in ("forward", "reverse"))
        assert np.isfinite(value) and np.all(np.isfinite(reverse))
        # A derivative that is zero up to rounding beside one of 1e6 has its rounding.
        atol = 1e-12 * (1.0 + np.abs(reverse).max())
        np.testing.assert_allclose(forward, reverse, rtol=1e-9, atol=atol)
        if not low <= vector[0] <= raw[-1][0]:
            assert value == 0.0
            np.testing.assert_array_equal(reverse, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_against_finite_differences(name):
    raw = term(name).curve.raw
    masses = [raw[0][0] * 1.015, middle(name) * 1.003, raw[-1][0] * 0.985]
    for m in masses:
        vector = jnp.array([m, 2e-3, 0.2 * m])
        gradient = np.asarray(compiled(name, "reverse")(vector) * vector)
        for i in range(3):
            step = jnp.exp(1e-6 * jnp.eye(3)[i])
            up, down = (compiled(name, "value")(v) for v in (vector * step, vector / step))
            numeric = float(up - down) / 2e-6
            scale = abs(numeric) + abs(float(compiled(name, "value")(vector)))
            assert abs(gradient[i] - numeric) < 1e-4 * scale, (m, i)

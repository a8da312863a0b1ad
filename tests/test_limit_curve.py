"""Limits as curves in a mass: shape, ends, likelihood, and those that ship with the package."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmltdm_jax import InputError, Likelihood, Parameters
from lmltdm_jax.likelihoods.base import Context, limit_quantile
from lmltdm_jax.likelihoods.limit_curve import LimitCurve, LimitCurveTerm, limit_curve_names
from lmltdm_jax.likelihoods.meson_to_h1 import MesonToH1BestFit, MesonToH1Limit
from lmltdm_jax.likelihoods.presets import load_preset
from lmltdm_jax.model import build_point
from lmltdm_jax.numerics.compiling import top_level_jit
from lmltdm_jax.observables.compute import ObservableSettings, compute_observables
from lmltdm_jax.parameters import PARAMETER_NAMES
from lmltdm_jax.widths import build_widths

BENCHMARK = Parameters.benchmark()
TERMS = {
    term.name: term
    for term in load_preset("current").terms
    if isinstance(term, MesonToH1BestFit | MesonToH1Limit)
}
"""Curves in m_h1; those in m_zp and m_x have test_zp_searches.py and test_searches.py."""
LIMITS = {name: term for name, term in TERMS.items() if isinstance(term, LimitCurveTerm)}


def own_curve(folder, rows, *lines):
    (folder / "mine.toml").write_text(
        "\n".join(['mass = "m_zp"', 'observable = "g_x"', "confidence_level = 0.90", *lines])
    )
    (folder / "mine.csv").write_text("# GeV, g_x\n" + "\n".join(rows) + "\n")
    return folder / "mine.toml"


@functools.cache
def every_term():
    """ln L of all terms and their Jacobian, of 32 points: one program for the whole file."""

    def loglikes(logs):
        # X and Z' pairs open from 1 MeV on, and narrow: H1 is invisible at every mass.
        params = BENCHMARK.replace(
            m_h1=jnp.exp(logs[0]), sin_theta=jnp.exp(logs[1]), m_x=5e-4, m_zp=4e-4, g_x=1e-6,
            lambda_phix=1e-7,
        )  # fmt: skip
        point = build_point(params, SM)
        widths = build_widths(point)
        context = Context(point, widths, compute_observables(point, widths, ObservableSettings()))
        values = jnp.stack([term.loglike(context) for term in TERMS.values()])
        return values, values

    return top_level_jit(jax.vmap(jax.jacfwd(loglikes, has_aux=True)))


def value_and_gradient(name, logs):
    """ln L (n,) and gradient (n, 2) of a term at (ln m_h1, ln sin_theta), all else as above."""
    n, row = len(logs), list(TERMS).index(name)
    padded = np.concatenate([logs, np.repeat(logs[-1:], -n % 32, axis=0)]).reshape(-1, 32, 2)
    gradients, values = map(np.concatenate, zip(*map(every_term(), padded), strict=True))
    return values[:n, row], gradients[:n, row]


SM = Likelihood.from_preset("current").sm
SMALL = math.log(1e-4)


def ends(term):
    """(ln mass, fades) of both ends of every stretch."""
    pieces = [term.error] if isinstance(term, MesonToH1BestFit) else term.curve.segments
    return [(x, math.isfinite(x)) for s in pieces for x in (s.low, s.high)]


@pytest.mark.parametrize("name", TERMS)
def test_terms_fade_without_a_jump_of_value_or_gradient(name):
    """On both sides of each end, and of where the fade begins."""
    term = TERMS[name]
    pieces = [term.error] if isinstance(term, MesonToH1BestFit) else term.curve.segments
    both = itertools.chain(*((piece, piece) for piece in pieces))
    for (end, fades), piece in zip(ends(term), both, strict=True):
        if not fades:
            continue
        inward = 1.0 if end == piece.low else -1.0
        middle = end + inward * piece.edge
        masses = [end - 1e-7, end, end + 1e-7, middle - 1e-7, middle + 1e-7, end - inward * 1e-3]
        value, gradient = value_and_gradient(name, np.array([[m, SMALL] for m in masses]))
        np.testing.assert_allclose(value[:3], 0.0, atol=1e-12)
        np.testing.assert_allclose(gradient[:3], 0.0, atol=1e-4)
        below, above = gradient[3:5]
        np.testing.assert_allclose(below, above, rtol=1e-3, atol=1e-3 * np.abs(above).max())
        assert value[5] == 0.0 and not np.any(gradient[5])


@pytest.mark.parametrize("name", TERMS)
def test_gradients_are_the_slope(name):
    highs = [x for x, fades in ends(TERMS[name])[1::2]]
    logs = np.array([[h - d, SMALL] for h in highs for d in (0.005, 0.02, 0.1)])
    value, gradient = value_and_gradient(name, logs)
    for i in range(2):
        shift = 1e-6 * np.eye(2)[i]
        up, down = (value_and_gradient(name, logs + sign * shift)[0] for sign in (1, -1))
        scale = np.abs(gradient[:, i]) + np.abs(value) + 1e-12
        assert np.max(np.abs(gradient[:, i] - (up - down) / 2e-6) / scale) < 1e-4


@pytest.mark.parametrize("name", LIMITS)
def test_on_the_curve_the_term_has_its_quantile(name):
    term = LIMITS[name]
    z = limit_quantile(term.measurement.confidence_level)
    for segment in term.curve.segments:
        low = segment.low if math.isfinite(segment.low) else math.log(1e-3)
        mass = jnp.exp(0.5 * (low + segment.high))
        ratio = term.curve.relative_rate(mass, term.curve.limit(mass))
        assert float(ratio) == pytest.approx(1.0, rel=1e-12)
        assert z == pytest.approx(1.6449, abs=1e-4)


@pytest.mark.parametrize("name", LIMITS)
def test_smooth_curve_follows_the_table(name):
    """The median within 10 %, no swing of the spline beyond the table's own scatter."""
    curve = LIMITS[name].curve
    raw = np.array([row for row in curve.raw if row[0] > 0.0 and not math.isnan(row[1])])
    smooth = np.asarray(jax.vmap(curve.limit)(jnp.array(raw[:, 0])))
    inside = np.isfinite(smooth)
    assert np.sum(~inside) <= 2 * len(curve.segments)
    difference = np.log(smooth[inside] / raw[inside, 1])
    assert np.median(np.abs(difference)) < 0.15
    fine = np.concatenate(
        [np.linspace(max(s.spline.knots[0], s.low), s.high, 2001)[1:-1] for s in curve.segments]
    )
    values = np.asarray(jax.vmap(curve.limit)(jnp.exp(fine)))
    assert values.min() > 0.7 * raw[:, 1].min() and values.max() < 1.3 * raw[:, 1].max()


def test_best_fit_is_preferred_and_no_signal_is_zero():
    for name in ("babar_k_x", "babar_kstar_x"):
        grid = np.linspace(math.log(1e-9), math.log(0.1), 400)
        found, _ = value_and_gradient(name, np.stack([np.zeros(400), grid], axis=1))
        assert abs(found[0]) < 1e-6
        assert 0.0 < found.max() < 0.5
        assert found[-1] < -100.0


def test_three_lines_of_toml_and_a_table(tmp_path):
    path = own_curve(tmp_path, ["0.005,5e-4", "0.02,1e-3", "0.1,4e-3"], "power = 2")
    term = LimitCurveTerm.read(path)
    assert term.name == "mine" and str(term.measurement) == "< 1 (90 % CL)"
    likelihood = Likelihood("mine", (term,), SM, ObservableSettings(), "pdg2026")
    loglike = jax.jit(lambda m, g: likelihood(BENCHMARK.replace(m_zp=m, g_x=g)))
    z = limit_quantile(0.9)
    assert float(loglike(0.02, 1e-3)) == pytest.approx(-0.5 * z**2)
    assert float(loglike(0.02, 2e-3)) == pytest.approx(-0.5 * (4 * z) ** 2)
    assert float(loglike(0.2, 1e-3)) == 0.0 == float(loglike(0.001, 1e-3))


@pytest.mark.parametrize("power", ["1.0", "1", "2.0", "4"])
def test_second_derivatives_of_no_signal_are_finite(tmp_path, power):
    """K -> pi H1 above its end is exactly 0, and a Hessian of the likelihood passes through it."""
    path = own_curve(tmp_path, ["0.005,5e-4", "0.02,1e-3", "0.1,4e-3"], f"power = {power}")
    curve = LimitCurve.read(path)
    rate = jax.jit(jax.hessian(lambda v: curve.relative_rate(v[0], v[1])))
    for mass in (0.001, 0.005, 0.02, 0.2):
        for value in (0.0, 1e-3):
            assert np.all(np.isfinite(rate(jnp.array([mass, value])))), (mass, value)
    found = float(rate(jnp.array([0.02, 0.0]))[1, 1])
    assert found == pytest.approx(2e6 if float(power) == 2.0 else 0.0)


def test_gap_and_open_lower_end(tmp_path):
    rows = ["0,1", "0.1,1", "0.2,2", "0.3,", "0.4,1", "0.5,1", "0.6,3"]
    curve = LimitCurve.read(own_curve(tmp_path, rows, "open_below = true"))
    rate = jax.vmap(lambda m: curve.relative_rate(m, jnp.asarray(1.0)))
    masses = jnp.array([1e-6, 0.01, 0.15, 0.25, 0.3, 0.35, 0.5, 0.7])
    expected = np.array([1, 1, np.nan, 0, 0, 0, 1, 0])
    found = np.asarray(rate(masses))
    known = ~np.isnan(expected)
    np.testing.assert_allclose(found[known], expected[known], rtol=1e-12)
    assert 0.5 < found[2] < 1.0
    assert np.all(np.isinf(np.asarray(jax.vmap(curve.limit)(masses[3:6]))))
    assert len(curve.segments) == 2 and len(curve.raw) == 7


@pytest.mark.parametrize(
    ("rows", "lines", "message"),
    [
        (["0.1,1", "0.1,2", "0.2,1"], (), "masses must increase"),
        (["0.1,1", "0.2,-1", "0.3,1"], (), "limits be positive"),
        (["0.1,one", "0.2,1"], (), "could not convert"),
        (["0.1,1,2", "0.2,1"], (), "mine.csv"),
        (["0.1,1"], (), "at least two"),
    ],
)
def test_bad_tables_are_named(tmp_path, rows, lines, message):
    with pytest.raises(InputError, match=message):
        LimitCurve.read(own_curve(tmp_path, rows, *lines))


def test_bad_keys_are_named(tmp_path):
    path = own_curve(tmp_path, ["0.1,1", "0.2,1"])
    path.write_text('mass = "m_a"\nobservable = "g_x"\nconfidence_level = 0.9\n')
    with pytest.raises(InputError, match="'m_a' is no parameter"):
        LimitCurve.read(path)
    path.write_text('mass = "m_zp"\nobservable = "g_x"\n')
    with pytest.raises(InputError, match="'confidence_level' is missing"):
        LimitCurve.read(path)
    path.write_text('mass = "m_zp"\nobservable = "gx"\nconfidence_level = 0.9\n')
    with pytest.raises(InputError, match="'gx' is no observable and no parameter"):
        LimitCurve.read(path)


def test_light_h1_is_excluded_by_kaons():
    """sin theta = 6e-3 by more than two orders of magnitude in the rate below 0.25 GeV."""
    assert "sin_theta" in PARAMETER_NAMES
    masses = np.log([0.05, 0.09, 0.2, 0.24])
    excluded, allowed = (
        value_and_gradient("na62_kpi_x", np.stack([masses, np.full(4, math.log(s))], axis=1))[0]
        for s in (6e-3, 3e-5)
    )
    assert np.all(excluded < -0.5 * 500.0**2) and np.all(allowed > -0.5)


@pytest.mark.parametrize("name", limit_curve_names())
def test_a_curve_loaded_twice_compiles_once(name):
    """Two trees with unequal constants are two programs; gaps are nan, which equals nothing."""
    preset = load_preset("current").terms, load_preset("current").terms
    first, second = (next(t for t in terms if t.name == name) for terms in preset)
    assert jax.tree.structure(first) == jax.tree.structure(second)

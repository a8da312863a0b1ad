"""Charts of the relic shell: bijections with the Jacobian they say, flat where the posterior is."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jacobian_of_charts import error_of_jacobian
from lmltdm_jax.inference import fit, jumps
from lmltdm_jax.inference import learn as learning
from lmltdm_jax.inference.archive import Archive
from lmltdm_jax.inference.chart_kinds import (
    AbovePole,
    BelowPole,
    Elsewhere,
    Forbidden,
    PastZpResonance,
    ZpResonance,
)
from lmltdm_jax.inference.charts import Charts, evaluate_in, from_y, numbers, onto_shell, to_y
from lmltdm_jax.inference.importance import Importance
from lmltdm_jax.inference.learn import Part, Patchwork
from lmltdm_jax.inference.target import evaluate

from lmltdm_jax.zp_only import ZpFermionParameters, ZpScalarParameters

DRAWS = Path(__file__).parent / "golden" / "talk2024_draws.csv"
BELOW, ABOVE, FORBIDDEN, RESONANCE = 1, 2, 3, 4


@pytest.fixture(scope="module")
def target(talk2024):
    """What fixes the shell, without the terms that cost most to compile."""
    return fit.build_target(talk2024.without("belle2_br", "cmb_annihilation", "higgs_invisible"))


@pytest.fixture(scope="module")
def charts(target):
    return Charts.of(target)


@pytest.fixture(scope="module")
def draws(target):
    """y (256, 7) of draws of talk2024 that were made without charts."""
    prior = target.coordinates.prior
    with DRAWS.open(encoding="utf-8") as stream:
        lines = [line for line in stream if not line.startswith("#")]
    assert lines[0].strip().split(",") == list(prior.names)
    values = np.loadtxt(lines[1:], delimiter=",")
    return np.asarray(jax.jit(jax.vmap(target.coordinates.from_box))(np.log10(values)))


def test_every_part_of_the_posterior_has_its_chart(charts, draws):
    kinds = [type(chart) for chart in charts.each]
    assert kinds == [Elsewhere, BelowPole, AbovePole, Forbidden, ZpResonance]
    counts = np.bincount(numbers(charts, draws), minlength=5) / len(draws)
    assert counts[0] < 0.02
    # As the weighted draws say: 38, 52, 2 and 8 % (binomial error 3 %).
    np.testing.assert_allclose(counts[1:], [0.38, 0.52, 0.02, 0.08], atol=0.12)
    assert counts[FORBIDDEN] > 0.0


def test_there_and_back(charts, target, draws):
    of = numbers(charts, draws)
    w, log_jacobian = from_y(charts, of, draws)
    y, same = to_y(charts, of, w)
    np.testing.assert_allclose(y, draws, atol=1e-10)
    np.testing.assert_allclose(same, log_jacobian, atol=1e-9)
    found = evaluate_in(charts, of, w)
    plain = evaluate(target, draws)
    np.testing.assert_allclose(found.log_prior, plain.log_prior + log_jacobian, atol=1e-8)
    np.testing.assert_allclose(found.log_likelihood, plain.log_likelihood, atol=1e-6)
    others = draws[of != FORBIDDEN]
    outside = evaluate_in(charts, FORBIDDEN, from_y(charts, FORBIDDEN, others)[0])
    assert np.all(outside.log_likelihood == -np.inf)


def test_there_and_back_over_the_prior_box(charts, target):
    """Also where no coupling gives the right relic density, and at the edges."""
    prior = target.coordinates.prior
    rng = np.random.default_rng(1)
    u = rng.uniform(size=(2000, prior.dimension))
    u[::4] = np.where(u[::4] < 0.5, 1e-9, 1.0 - 1e-9)
    x = prior.box_from_unit(jnp.asarray(u))
    y = np.asarray(jax.jit(jax.vmap(target.coordinates.from_box))(x))
    of = numbers(charts, y)
    assert np.all(np.bincount(of, minlength=5) > 20)
    w, log_jacobian = from_y(charts, of, y)
    assert np.all(np.isfinite(w)) and np.all(np.isfinite(log_jacobian))
    back, _ = to_y(charts, of, w)
    np.testing.assert_allclose(back, y, atol=1e-6)
    for number in range(5):
        w, log_jacobian = from_y(charts, number, y)
        assert np.all(np.isfinite(w)) and np.all(np.isfinite(log_jacobian))


def test_points_above_a_shell_that_the_prior_cuts_off_are_no_island(charts, target):
    """Just below the resonance, with m_zp from where the end of the prior (5 MeV) is above the
    shell to where it is far below: w along the axis has no jump."""
    prior = target.coordinates.prior
    x = np.tile(np.mean(prior.box, axis=0), (60, 1))
    x[:, prior.names.index("m_zp")] = np.linspace(np.log10(0.0106), np.log10(0.03), 60)
    x[:, prior.names.index("m_x")] = x[:, prior.names.index("m_zp")] - np.log10(2.05)
    y = np.asarray(jax.jit(jax.vmap(target.coordinates.from_box))(x))
    assert np.all(numbers(charts, y) == RESONANCE)
    w = from_y(charts, RESONANCE, y)[0][:, charts.axis(RESONANCE)]
    assert np.abs(w).max() < 0.5
    assert np.abs(np.diff(w)).max() < 0.15


def test_the_resonance_is_followed_to_the_end_of_the_prior(charts, target):
    """Down to 5 MeV, where a search in t stopped short of a shell with 1 % of the posterior."""
    prior = target.coordinates.prior
    x = np.tile(np.mean(prior.box, axis=0), (200, 1))
    m_zp, g_x, m_x = (prior.names.index(name) for name in ("m_zp", "g_x", "m_x"))
    x[:, m_zp] = np.linspace(np.log10(0.012), np.log10(0.02), 200)
    x[:, g_x] = np.log10(5.3e-4)
    x[:, m_x] = np.maximum(x[:, m_zp] - np.log10(2.9), np.log10(5.05e-3))
    y = np.asarray(jax.jit(jax.vmap(target.coordinates.from_box))(x))
    assert np.all(numbers(charts, y) == RESONANCE)
    w, _ = from_y(charts, RESONANCE, y)
    w[:, charts.axis(RESONANCE)] = 0.0
    y, _ = to_y(charts, RESONANCE, w)
    excess = np.asarray(jax.jit(jax.vmap(target.shell_excess))(y))
    found = target.coordinates.values(y)["m_x"]
    there = found > 5.02e-3  # others are where the search ends
    np.testing.assert_allclose(excess[there], 0.0, atol=0.03)
    assert np.any(found[there] < 5.1e-3) and np.any(~there)
    # Draws of a broad distribution may be far beyond the end.
    w[:, charts.axis(RESONANCE)] = -np.geomspace(0.01, 1e3, len(w))
    far, log_jacobian = to_y(charts, RESONANCE, w)
    assert np.all(np.isfinite(far)) and np.all(np.isfinite(log_jacobian))
    assert np.all(np.isfinite(evaluate(target, far).log_prior))


def test_a_patchwork_knows_the_density_of_what_it_draws(charts, draws):
    """Draws count in the chart where they were drawn; all that does not count has left it."""
    of = numbers(charts, draws)
    parts = []
    for number in (BELOW, ABOVE):
        w, _ = from_y(charts, number, draws[of == number])
        parts.append(Part(number, Archive.of(w), w))
    patchwork = Patchwork(charts, tuple(parts), np.array([0.6, 0.4]))
    y, log_density = patchwork.draw(np.random.default_rng(3), 3000)
    counts = np.isfinite(log_density)
    assert np.all(log_density[~counts] == np.inf)
    assert 0.5 < counts.mean() < 1.0
    np.testing.assert_allclose(patchwork.log_density(y[counts]), log_density[counts], atol=1e-4)
    found = patchwork.log_density(draws)
    learned = (of == BELOW) | (of == ABOVE)
    np.testing.assert_array_equal(np.isfinite(found), learned)
    assert np.all(found[~learned] == -np.inf)


def test_the_axis_starts_where_the_relic_density_is_right(charts, target, draws):
    """The third iterate of the search, by Omega h2 there."""
    of = numbers(charts, draws)
    w, _ = from_y(charts, of, draws)
    first = [chart.needs[0] for chart in charts.each]
    axes = np.array([target.coordinates.prior.names.index(name) for name in first])[of]
    w[np.arange(len(w)), axes] = 0.0
    excess = np.abs(np.asarray(jax.jit(jax.vmap(target.shell_excess))(to_y(charts, of, w)[0])))
    assert excess[of == BELOW].max() < 2e-3
    assert excess[of == RESONANCE].max() < 0.03
    assert excess[of == FORBIDDEN].max() < 0.07
    assert excess[of == ABOVE].max() < 0.02
    # Before: the estimate alone.
    flat = draws.copy()
    flat[:, target.shell_axis] = 0.0
    estimated = np.asarray(jax.jit(jax.vmap(target.shell_excess))(flat))
    assert np.median(np.abs(estimated[of == BELOW])) > 0.02


@pytest.mark.parametrize("number", [BELOW, ABOVE, FORBIDDEN, RESONANCE])
def test_the_jacobian_is_that_of_the_map(charts, draws, number):
    rows = draws[numbers(charts, draws) == number][:4]
    w, log_jacobian = from_y(charts, number, rows)
    assert error_of_jacobian(charts, number, w, log_jacobian, 1e-5) < 2e-3


def test_the_force_is_the_slope_of_the_potential(charts, draws):
    """In units of a natural force of one: nine in ten within 0.1 (the others: kinks, the top)."""
    rows = draws[:64]
    of = numbers(charts, rows)
    w, _ = from_y(charts, of, rows)
    potential = jax.jit(jax.vmap(charts.potential))
    force = np.asarray(jax.jit(jax.vmap(jax.grad(charts.potential, argnums=1)))(of, w))
    found = evaluate_in(charts, of, w)
    np.testing.assert_allclose(
        potential(of, w), -(found.log_prior + found.log_likelihood), rtol=1e-9, atol=1e-6
    )
    step = 1e-5
    for axis in range(w.shape[1]):
        e = step * np.eye(w.shape[1])[axis]
        slope = (potential(of, w + e) - potential(of, w - e)) / (2 * step)
        width = np.minimum(np.std(w[of == ABOVE][:, axis]), 1.0)
        error = np.abs(slope - force[:, axis]) * width
        assert np.quantile(error, 0.5) < 0.05, axis
        assert np.quantile(error, 0.8) < 0.5, axis
    assert np.all(np.isfinite(force))


def test_points_are_put_onto_the_shell(charts, target, draws):
    """From far off it, along the axis of their chart alone; where there is none they stay."""
    of, excess = numbers(charts, draws), jax.jit(jax.vmap(target.shell_excess))
    draws, of = draws[(of == ABOVE) | (of == BELOW)], of[(of == ABOVE) | (of == BELOW)]
    at = np.arange(len(of)), np.array([charts.axis(number) for number in range(5)])[of]
    w, _ = from_y(charts, of, draws)
    w[at] += 0.3
    far, _ = to_y(charts, of, w)
    assert np.median(np.abs(excess(far))) > 0.5
    there = onto_shell(charts, of, far)
    assert np.quantile(np.abs(excess(there)), 0.95) < 0.01
    w[at] = 0.0
    np.testing.assert_allclose(there, to_y(charts, of, w)[0], atol=1e-6)
    flat = Charts.of(fit.build_target(target.likelihood.without("relic_density")))
    np.testing.assert_array_equal(onto_shell(flat, 0, draws), draws)


def test_a_chart_without_posterior_is_left_out(charts, monkeypatch):
    monkeypatch.setattr(learning, "_MOVES", 1)
    rng = np.random.default_rng(5)
    # Evidence of the posterior, by which the share of the chart is either large or nothing.
    members = learning._tempered(charts, RESONANCE, -15.0, 50, rng)
    np.testing.assert_array_equal(numbers(charts, members.y), np.full(50, RESONANCE))
    assert np.all(np.isfinite(members.log_likelihood))
    assert len(learning._tempered(charts, RESONANCE, 50.0, 50, rng).y) == 0


def test_only_charts_whose_weights_scatter_are_learned_again(charts, target, draws):
    of, log_weights = numbers(charts, draws), np.zeros(len(draws))
    log_weights[np.flatnonzero(of == ABOVE)[:8]] = 6.0
    weighted = Importance(evaluate(target, draws), log_weights)
    parts = tuple(Part(number, None, None) for number in (BELOW, ABOVE, RESONANCE))
    assert learning._good(charts, parts, weighted) == {BELOW, RESONANCE}


def test_few_points_are_those_of_many(target, draws):
    few, many = evaluate(target, draws[:3]), evaluate(target, draws)
    np.testing.assert_allclose(few.log_likelihood, many.log_likelihood[:3], rtol=1e-9)
    np.testing.assert_allclose(few.log_prior, many.log_prior[:3], rtol=1e-12)


def test_charts_need_their_parameters(talk2024):
    def kinds(likelihood, **prior):
        return [type(chart) for chart in Charts.of(fit.build_target(likelihood, **prior)).each]

    assert kinds(talk2024, fixed={"m_h1": 1.0}) == [Elsewhere, Forbidden, ZpResonance]
    along_m_x = [type(None), PastZpResonance, Forbidden, ZpResonance]
    assert kinds(talk2024, fixed={"lambda_phix": 1e-3}) == along_m_x
    for model in (ZpScalarParameters, ZpFermionParameters):
        assert kinds(talk2024, model=model) == along_m_x
    assert kinds(talk2024.without("relic_density")) == [type(None)]


@pytest.fixture(scope="module")
def fermion(talk2024):
    """Its mass is called m_chi."""
    return fit.build_target(talk2024, model=ZpFermionParameters)


@pytest.mark.parametrize(
    "kind, ratios",
    [(ZpResonance, np.full(12, 2.98)), (PastZpResonance, np.geomspace(1.9, 1.99, 12))],
)
def test_both_sides_of_the_resonance_of_a_fermion_are_straight(fermion, kind, ratios):
    """From the talk's Z' to heavier ones, by Omega h2 on the axis and by differences of the map."""
    charts, prior = Charts.of(fermion), fermion.coordinates.prior
    number = [type(chart) for chart in charts.each].index(kind)
    axis = prior.names.index("m_chi")
    assert charts.axis(number) == axis
    m_zp, q_chi = np.geomspace(0.0115, 0.2, 12), np.geomspace(0.3, 1.9, 12)
    x = np.log10(np.stack([m_zp, np.geomspace(5e-4, 1.4e-3, 12), m_zp / ratios, q_chi], 1))
    y = np.asarray(jax.vmap(fermion.coordinates.from_box)(x))
    assert np.all(numbers(charts, y) == number)
    w, log_jacobian = from_y(charts, number, y)
    np.testing.assert_allclose(to_y(charts, number, w)[0], y, atol=1e-9)
    assert error_of_jacobian(charts, number, w, log_jacobian, 1e-5) < 2e-3
    w[:, axis] = 0.0
    excess = np.asarray(jax.jit(jax.vmap(fermion.shell_excess))(to_y(charts, number, w)[0]))
    np.testing.assert_allclose(excess, 0.0, atol=0.03)


def test_there_and_back_over_the_prior_box_of_a_fermion(fermion):
    """A quarter past the pole of the Z', also where that is below the prior of m_chi."""
    charts, prior = Charts.of(fermion), fermion.coordinates.prior
    rng = np.random.default_rng(1)
    u = rng.uniform(size=(4000, prior.dimension))
    u[::4] = np.where(u[::4] < 0.5, 1e-9, 1.0 - 1e-9)
    x = np.array(prior.box_from_unit(jnp.asarray(u)))
    m_zp, m_chi = (prior.names.index(name) for name in ("m_zp", "m_chi"))
    beside = x[1::4, m_zp] - np.log10(rng.uniform(1.31, 2.0, size=1000))
    low = prior.box[0][m_chi]
    x[1::4, m_chi] = np.where(beside > low, beside, low + 1e-6)
    y = np.asarray(jax.jit(jax.vmap(fermion.coordinates.from_box))(x))
    of = numbers(charts, y)
    assert np.all(np.bincount(of, minlength=4) > 20)
    w, log_jacobian = from_y(charts, of, y)
    assert np.all(np.isfinite(w)) and np.all(np.isfinite(log_jacobian))
    np.testing.assert_allclose(to_y(charts, of, w)[0], y, atol=1e-6)


def test_without_a_shell_nothing_is_moved(talk2024):
    charts = Charts.of(fit.build_target(talk2024.without("relic_density")))
    y = np.random.default_rng(2).standard_normal((5, 7))
    np.testing.assert_array_equal(from_y(charts, 0, y)[0], y)
    np.testing.assert_array_equal(to_y(charts, 0, y)[0], y)
    np.testing.assert_array_equal(numbers(charts, y), 0)


def test_crossings_are_symmetric_and_reach_the_other_branch(target, draws):
    """From the shell to the estimate of the upper branch and back."""
    cross = jumps.crossing(target)
    rng = np.random.default_rng(4)
    y = np.repeat(draws[:1], 4000, axis=0)
    step = cross(rng, y)[:, target.shell_axis] - y[:, target.shell_axis]
    assert np.all(cross(rng, y)[:, :6] == y[:, :6])
    assert abs(np.mean(np.sign(step))) < 4 / np.sqrt(len(step))
    assert np.std(np.abs(step)) < 0.5 * np.median(np.abs(step))

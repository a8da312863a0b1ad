"""p_ann: efficiencies, conventions, boosted decays, rates at rest on poles and thresholds."""

import dataclasses
import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmltdm_jax.constants import GEV_INV2_TO_CM3_S
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.numerics.interpolate import Spline, SplineRows
from lmltdm_jax.observables import cmb_annihilation as cmb
from lmltdm_jax.parameters import Parameters
from lmltdm_jax.widths import H2Widths, build_widths

GOLDEN = json.loads((Path(__file__).parent / "golden" / "relic.json").read_text())
C = GOLDEN["meta"]["constants"]
SM = StandardModel.load("talk2024")
# alpha = 0 switches off the kinetic mixing, which the reference does not have.
GOLDEN_SM = SM.replace(
    alpha=0.0,
    m_e=C["Me"],
    m_mu=C["Mm"],
    m_tau=C["Ml"],
    m_s=C["Ms"],
    m_c=C["Mc"],
    m_b=C["Mb"],
    v_h=C["vH"],
    m_h2=C["MH2"],
)
KEYS = ("MZp", "gX", "sTh", "MX", "MH1", "QPhi", "lPX", "QX")
EFFICIENCIES = json.loads((Path(__file__).parent / "golden" / "cmb.json").read_text())


def setup(vector, reference=False):
    """Point and widths; ``reference``: the golden file's inputs, quarks in H1, fixed H2 width."""
    sm = jax.tree.map(lambda a, b: jnp.where(reference, a, b), GOLDEN_SM, SM)
    point = build_point(Parameters.from_vector(vector), sm)
    widths = build_widths(point)
    m = point.params.m_h1
    quarks = 0.0
    for m_q in (sm.m_s, sm.m_c, sm.m_b):
        beta2 = jnp.maximum(1.0 - (2.0 * m_q / m) ** 2, 0.0)
        quarks += 3.0 * (point.sin_theta * m_q / sm.v_h) ** 2 * m * beta2**1.5 / (8.0 * math.pi)
    h1 = dataclasses.replace(widths.h1, hadrons=jnp.where(reference, quarks, widths.h1.hadrons))
    fixed = H2Widths(*(jnp.asarray(w) for w in (C["wH2"], 0.0, 0.0, 0.0, 0.0)))
    h2 = jax.tree.map(lambda a, b: jnp.where(reference, a, b), fixed, widths.h2)
    return point, dataclasses.replace(widths, h1=h1, h2=h2)


@functools.partial(jax.jit, static_argnames="hadrons")
@functools.partial(jax.vmap, in_axes=(0, 0, None))
def run(vector, reference, hadrons):
    """(result, rates at rest, widths, efficiency of a Z' of energy m_x)."""
    point, widths = setup(vector, reference)
    efficiency = cmb.efficiencies(point, widths).zp
    return (
        cmb.cmb_annihilation(point, widths, hadrons),
        cmb.sigma_v_at_rest(point, widths, hadrons),
        widths,
        efficiency,
    )


SLOTS = 64


def predict(*points):
    """Results of up to SLOTS points (one compilation), first axis over the points."""
    rows = np.array([np.asarray(p.to_vector()) for p in points])
    padded = np.pad(rows, ((0, SLOTS - len(rows)), (0, 0)), "edge")
    out = run(padded, np.zeros(SLOTS, bool), "dispersive")
    return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(rows)], out)


def test_efficiency_tables():
    """Electrons, muons, pions and photons against the independent folding; bound for e+e-."""
    table = np.array(EFFICIENCIES["rows"], dtype=float)
    tables = cmb.efficiency_tables()
    names = ("electrons", "muons", "pions", "neutral_pions", "photons")
    for column, name in enumerate(names, start=1):
        known = np.isfinite(table[:, column])
        ours = getattr(tables, name)(jnp.log(table[known, 0]))
        np.testing.assert_allclose(ours, table[known, column], rtol=1e-5)
    # p_ann = f sigma v/m for a self-conjugate particle: twice ours at equal sigma v.
    m, f, largest = table[:, 0], table[:, 1], table[:, 6]
    np.testing.assert_allclose(f * largest / m, 3.2e-28, rtol=1e-9)


def test_splines_in_rows_give_the_same_numbers():
    """Inside, on the knots, outside: value and slope of each spline alone."""
    t = cmb.efficiency_tables()
    splines = (t.electrons, t.muons, t.neutral_pions)
    x = np.stack(
        [np.concatenate([s.knots[::3], np.linspace(-16.0, 12.0, 80)])[:90] for s in splines]
    )
    rows = SplineRows.stack(splines)
    slopes = jax.grad(lambda v: jnp.sum(rows(v)))(jnp.asarray(x))
    for spline, ours, slope, v in zip(splines, rows(x[..., None]), slopes, x, strict=True):
        np.testing.assert_array_equal(ours[:, 0], spline(v))
        np.testing.assert_allclose(slope, jax.vmap(jax.grad(spline))(v), rtol=1e-14, atol=1e-15)


def test_rates_at_rest_agree_with_the_reference(monkeypatch):
    """Every channel at v = 1e-3 of 31 points; d3 sits 1e-3 from its pole."""
    monkeypatch.setattr(cmb, "RELATIVE_VELOCITY", 1e-3)
    rows = np.array([[p["inputs"][k] for k in KEYS] for p in GOLDEN["points"]])
    run.clear_cache()
    _, sigma, *_ = run(rows, np.ones(len(rows), bool), "free_quarks")
    run.clear_cache()
    vector, scalar = np.asarray(sigma["vector"]), np.asarray(sigma["scalar"])
    ours = {
        "ZpZp": sigma["zpzp"][:, 0],
        "ZpH1": sigma["zph"][:, 0],
        "H1H1": sigma["hh"][:, 0],
        "mumu": vector[:, 2] + scalar[:, 1],
        "tautau": vector[:, 3] + scalar[:, 2],
        "ee": scalar[:, 0],
        "ss": scalar[:, 3],
        "cc": scalar[:, 4],
        "bb": scalar[:, 5],
    }
    table = np.array([p["sigma_v_rest"] for p in GOLDEN["points"]])
    for name, ours_of in ours.items():
        theirs = table[:, GOLDEN["meta"]["columns"].index(name)]
        ours_of = np.asarray(ours_of) * GOLDEN["meta"]["pb_per_gev2"]
        np.testing.assert_allclose(ours_of, theirs, rtol=2e-5, atol=0.0, err_msg=name)


def test_benchmark_is_nearly_invisible():
    """Z'Z' dominates; its neutrinos count zero, which leaves Z' -> e+e-: a floor near 2e-5."""
    params = Parameters.benchmark()
    result, sigma, widths, efficiency = predict(params)
    total = sum(v[0].sum() for v in sigma.values())
    assert sigma["zpzp"][0, 0] / total > 0.999
    branching = widths.zp.ee[0] / widths.zp.total[0]
    assert branching == pytest.approx(1.9e-5, rel=0.05)
    # f of a box of electrons between 0 and m_x.
    assert 0.5 < efficiency[0] / branching < 1.0
    visible = efficiency[0] * sigma["zpzp"][0, 0] + sigma["scalar"][0].sum()
    floor = 0.5 * GEV_INV2_TO_CM3_S * efficiency[0] * sigma["zpzp"][0, 0] / params.m_x
    p_ann = result.p_ann_cm3_s_gev[0]
    assert floor <= p_ann <= 0.5 * GEV_INV2_TO_CM3_S * visible / params.m_x
    assert p_ann < 1e-4 * result.sigmav_cm3_s[0] / params.m_x


def test_factor_one_half_of_a_complex_scalar():
    """The output is <sigma v>/2 of one X X* pair, in cm^3/s."""
    result, sigma, *_ = predict(Parameters.benchmark())
    pair = sum(v[0].sum() for v in sigma.values())
    assert result.sigmav_cm3_s[0] == pytest.approx(0.5 * pair * 1.16733e-17, rel=1e-5)


def test_neutrinos_deposit_nothing():
    """m_x below m_e: Z'Z' -> 4 nu is all there is, and p_ann = 0 exactly."""
    result, *_ = predict(Parameters(4e-4, 5e-4, 0.0, 5e-4, 2.0, 0.4, 1e-3))
    assert result.sigmav_cm3_s[0] > 0.0 and result.p_ann_cm3_s_gev[0] == 0.0


def test_muons_through_the_higgs_are_counted_once():
    """Narrow H1 into mu mu only (no Z', no hadrons open): p_ann = f_mu <sigma v>/(2 m_x)."""
    params = Parameters(0.5, 5e-4, 0.05, 0.12, 0.22, 0.4, 1e-4)
    result, sigma, *_ = predict(params)
    f_mu = cmb.efficiency_tables().muons(math.log(params.m_x))
    expected = 0.5 * GEV_INV2_TO_CM3_S * float(f_mu) * sigma["scalar"][0, 1] / params.m_x
    assert sigma["hh"][0, 0] == 0.0 and sigma["zpzp"][0, 0] == 0.0
    assert result.p_ann_cm3_s_gev[0] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("boost", [1.0, 1.5, 30.0])
def test_boosted_decay_conserves_energy(boost):
    """A constant f comes out unchanged; a linear f = E gives <E^2>/<E> of a box."""
    x = np.linspace(-8.0, 4.0, 2401)
    parent, mass = 0.4, 0.1
    energy = boost * parent
    constant = cmb._boosted(Spline.fit(x, 0.3 + 0.0 * x), energy, parent, mass)
    assert float(constant) == pytest.approx(0.3, rel=1e-12)
    width = math.sqrt(1.0 - boost**-2) * math.sqrt(1.0 - 4.0 * mass**2 / parent**2)
    linear = cmb._boosted(Spline.fit(x, np.exp(x)), energy, parent, mass)
    assert float(linear) == pytest.approx(0.5 * energy * (1.0 + width**2 / 3.0), rel=1e-6)


def test_rate_at_rest_follows_the_pole():
    """m_h1 across 2 m_x: a Lorentzian in m_h1^2 with the width of H1, to 1e-12 below and above."""
    base = Parameters(0.1, 1e-4, 1e-3, 0.3, 0.6, 0.1, 1e-6)
    shifts = np.array([0.0, 1e-12, -1e-12, 1e-8, -1e-8, 1e-6, -1e-6, 1e-5, -1e-5])
    _, sigma, widths, _ = predict(*(base.replace(m_h1=0.6 * (1.0 + d)) for d in shifts))
    ours = sigma["scalar"][:, 0]
    m = 0.6 * (1.0 + shifts)
    y = (0.6 - m) * (0.6 + m) + (0.3 * cmb.RELATIVE_VELOCITY) ** 2
    w = m * widths.h1.total
    np.testing.assert_allclose(ours / ours[0], w[0] ** 2 / (y**2 + w**2), rtol=1e-6)
    assert w[0] / 0.36 < 1e-5


@pytest.mark.parametrize(
    ("name", "value", "others"),
    [
        ("m_x", 0.0115, {}),
        ("m_x", 2.0, {}),
        ("m_x", 1.00575, {}),
        ("m_x", 0.1056583755, {"sin_theta": 0.1}),
        ("m_zp", 2 * 0.1056583755, {"m_x": 0.5}),
        ("m_h1", 2 * 0.1056583755, {}),
    ],
)
def test_continuity_across_thresholds(name, value, others):
    """A step of 2e-12 moves <sigma v> and p_ann by 1e-4 at most of what opens within 1 %.

    What opens does so like a square root, 1.4e-6 at 1e-12; that can dwarf what was open before.
    """
    base = Parameters.benchmark().replace(**others)
    points = [base.replace(**{name: value * (1.0 + d)}) for d in (-1e-12, 0.0, 1e-12, 0.01)]
    result, *_ = predict(*points)
    for column in (result.sigmav_cm3_s, result.p_ann_cm3_s_gev):
        assert np.all(np.isfinite(column)) and np.all(column > 0.0)
        assert np.ptp(column[:3]) < 1e-4 * column.max()


def test_wave_suppression():
    """Z'H and f f through the Z' carry v^2: below 1e-14 of Z'Z' at v = 1e-8."""
    _, sigma, *_ = predict(Parameters(0.1, 5e-3, 6e-3, 2.0, 0.5, 0.4, 0.01))
    for row in (sigma["zph"][0, 0], sigma["vector"][0, 0]):
        assert 0.0 < row < 1e-14 * sigma["zpzp"][0, 0]

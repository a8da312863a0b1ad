"""x_f, shares of the final states and <sigma v> at freeze-out and today."""

import dataclasses
import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.model import build_point
from lmltdm_jax.observables.compute import VELOCITY_TODAY
from lmltdm_jax.observables.freeze_out import CHANNELS, LEAST_SHARE, freeze_out
from lmltdm_jax.observables.relic_density import N_X, freeze_out_history, x_of_table
from lmltdm_jax.observables.thermal_average import annihilation
from lmltdm_jax.parameters import Parameters
from lmltdm_jax.widths import H2Widths, build_widths

GOLDEN = json.loads((Path(__file__).parent / "golden" / "relic.json").read_text())
C = GOLDEN["meta"]["constants"]
KEYS = ("MZp", "gX", "sTh", "MX", "MH1", "QPhi", "lPX", "QX")
# alpha = 0 switches off the kinetic mixing, which the reference does not have.
SM = StandardModel.load("talk2024").replace(
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
INERT = Parameters(0.5, 1e-3, 0.01, 0.1, 5.0, 0.4, 0.0, 0.0)


def setup(vector):
    """Point and widths as in the golden file: quarks in H1, fixed width of H2."""
    point = build_point(Parameters.from_vector(vector), SM)
    widths = build_widths(point)
    m = point.params.m_h1
    quarks = 0.0
    for m_q in (SM.m_s, SM.m_c, SM.m_b):
        beta2 = jnp.maximum(1.0 - (2.0 * m_q / m) ** 2, 0.0)
        quarks += 3.0 * (point.sin_theta * m_q / SM.v_h) ** 2 * m * beta2**1.5 / (8.0 * math.pi)
    h1 = dataclasses.replace(widths.h1, hadrons=jnp.asarray(quarks))
    h2 = H2Widths(*(jnp.asarray(w) for w in (C["wH2"], 0.0, 0.0, 0.0, 0.0)))
    return point, dataclasses.replace(widths, h1=h1, h2=h2)


@jax.jit
def run(sample):
    """(freeze-out, sigma v today, ln(Y/Y_eq), sum of rows of <sigma v> over their total)."""

    def one(vector):
        point, widths = setup(vector)
        pair = annihilation(point, widths, N_X, "free_quarks", velocities=(1e-8, VELOCITY_TODAY))
        today = sum(jnp.sum(v) for v in pair.at_velocity[1].values())
        history = freeze_out_history(point.params.m_x, pair.sigma_v)
        every = sum(jnp.sum(v) for v in pair.weighted(jnp.ones(N_X)).values())
        return (
            freeze_out(point, pair),
            today,
            history.ln_departure,
            every / jnp.sum(pair.sigma_v),
        )

    return jax.lax.map(one, sample)


@functools.cache
def golden():
    rows = [[p["inputs"][k] for k in KEYS] for p in GOLDEN["points"]]
    return jax.tree.map(np.asarray, run(np.array([*rows, np.asarray(INERT.to_vector())])))


def test_x_f_agrees_with_the_reference_codes():
    """Both step in x by about 1e-3 and take the first place beyond Y = 2.5 Y_eq, or one beside."""
    ours = golden()[0].x[:-1]
    for code in ("scipy", "micromegas"):
        theirs = np.array([p["freeze_out"]["x"][code] for p in GOLDEN["points"]])
        np.testing.assert_allclose(ours, theirs, rtol=1.6e-3)


def test_x_f_is_where_the_solution_departs():
    """Against a spline through sixteen places around it instead of a cubic through four."""
    ln_x = np.log(x_of_table(N_X))
    for x, departure in zip(golden()[0].x, golden()[2], strict=True):
        after = np.argmax(departure > math.log(2.5))
        # Far beyond freeze-out ln(Y/Y_eq) is 1e6: leave it out of the spline.
        near = slice(max(after - 8, 0), after + 8)
        roots = CubicSpline(ln_x[near], departure[near]).solve(math.log(2.5), extrapolate=False)
        assert x == pytest.approx(math.exp(roots[0]), rel=1e-4)


def test_shares_agree_with_the_reference():
    """The reference leaves g_* out of the integral: 2e-4 where a channel opens (f1)."""
    shares = golden()[0].shares
    for i, point in enumerate(GOLDEN["points"]):
        theirs = dict.fromkeys(CHANNELS, 0.0) | point["freeze_out"]["shares"]
        for name in CHANNELS:
            assert shares[name][i] == pytest.approx(theirs[name], abs=3e-4, rel=2e-3), name


def test_shares_add_up_to_one():
    total = sum(golden()[0].shares.values())
    np.testing.assert_allclose(total[:-1], 1.0, rtol=len(CHANNELS) * LEAST_SHARE)
    assert min(v.min() for v in golden()[0].shares.values()) >= 0.0
    np.testing.assert_allclose(golden()[3][:-1], 1.0, rtol=1e-12)


def test_sigma_v_at_freeze_out_and_today():
    frozen, today, *_ = golden()
    unit = GOLDEN["meta"]["pb_per_gev2"]
    theirs = [sum(p["sigma_v_rest"]) for p in GOLDEN["points"]]
    np.testing.assert_allclose(today[:-1] * unit, theirs, rtol=3e-6)
    # v_sigma is <sigma v>/2 at x = 20 and 25; b5 freezes out between them.
    index = [p["id"] for p in GOLDEN["points"]].index("b5")
    low, high = sorted(GOLDEN["points"][index]["v_sigma"]["scipy"])
    assert low < 0.5 * unit * frozen.sigma_v[index] < high


def test_nothing_to_annihilate_into():
    frozen = golden()[0]
    assert all(share[-1] == 0.0 for share in frozen.shares.values())
    # Y stays at Y_eq(1), so x^2 K_2(x)/h falls to 0.4 of itself.
    assert 1.0 < frozen.x[-1] < 4.0


def test_gradients():
    """x_f, <sigma v> there and the largest shares of a mixed point, against differences."""
    index = [p["id"] for p in GOLDEN["points"]].index("b5")
    base = np.log([GOLDEN["points"][index]["inputs"][k] for k in KEYS])

    def of(log_vector):
        point, widths = setup(jnp.exp(log_vector))
        found = freeze_out(point, annihilation(point, widths, N_X, "free_quarks"))
        shares = [found.shares[name] for name in ("zpzp", "h1h1")]
        return jnp.stack([jnp.log(found.x), jnp.log(found.sigma_v), *shares])

    forward = np.asarray(jax.jit(jax.jacfwd(of))(base))
    step = 1e-4
    shifts = base + np.concatenate([s * step * np.eye(8) for s in (-2, -1, 1, 2)])
    values = np.asarray(jax.jit(lambda v: jax.lax.map(of, v))(shifts)).reshape(4, 8, -1)
    differences = np.einsum("k,kpo->op", np.array([1, -8, 8, -1]) / (12 * step), values)
    np.testing.assert_allclose(forward, differences, rtol=1e-6, atol=1e-7)
    assert np.abs(forward).max(axis=1).min() > 1e-2

"""Thermal history against an independent code; table against the ODE."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.kinetic_mixing import kinetic_mixing
from lmltdm_jax.observables import thermal_history
from lmltdm_jax.observables.n_eff import (
    N_EFF_SM,
    delta_n_eff,
    late_neutrinos,
    n_eff,
    n_eff_theory_error,
)
from lmltdm_jax.observables.thermal_history import (
    n_eff_ode,
    n_eff_sm_ode,
    standard_model_ode,
    thermal_history_ode,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "neff.json").read_text())
SM_REFERENCE = {"A": "B", "B": "B", "D": "D"}


@functools.cache
def batched(closure):
    return jax.jit(jax.vmap(lambda m, g, e: jnp.stack(thermal_history_ode(m, g, e, closure))))


@functools.cache
def sm(closure):
    return float(n_eff_sm_ode(closure))


BATCH = 32  # one shape, one compilation


def history(closure, m_mev, g, epsilon):
    """(N_eff, T_nu/T_gamma, eta_nu) of the ODE, each of shape (n,)"""
    columns = [np.atleast_1d(c) for c in np.broadcast_arrays(1e-3 * m_mev, g, epsilon)]
    n = len(columns[0])
    padded = [np.resize(c, -(-n // BATCH) * BATCH).reshape(-1, BATCH) for c in columns]
    return np.concatenate([batched(closure)(*rows) for rows in zip(*padded, strict=True)])[:n].T


def ode(*arguments):
    return history(*arguments)[0]


def loop_epsilon(m, g):
    return jnp.abs(kinetic_mixing(m**2, g, StandardModel.load("pdg2026")))


@pytest.mark.parametrize("closure", ["B", "D"])
def test_standard_model(closure):
    # own electron-mass factors: -2.8e-4
    assert sm(closure) == pytest.approx(GOLDEN["standard_model"][closure], abs=4e-4)


@pytest.mark.parametrize("closure", ["A", "B", "D"])
def test_golden_values(closure):
    rows = [
        (block["m_MeV"], point["g"], point["g"] / 70, point[closure])
        for block in GOLDEN["grid"]
        for point in block["by_g"]
        if closure != "A"
    ]
    if closure != "B":
        rows += [(b["m_MeV"], 1e-3, 0.0, b[f"{closure}_eps0"]) for b in GOLDEN["grid"]]
    m, g, epsilon, expected = np.array(rows).T
    value = ode(closure, m, g, epsilon)
    # The electron-mass factors differ from the reference's; relative to N_eff this is 3e-4.
    np.testing.assert_allclose(value, expected, rtol=3.2e-4)
    near = (m >= 8) & (m <= 30)
    assert np.max(np.abs(value - expected)[near]) < 1e-3


def test_golden_chemical_potential():
    m, g, expected = np.array([list(row.values()) for row in GOLDEN["eta_nu_D"]]).T
    eta = history("D", m, g, g / 70)[2]
    # The electron-mass factors differ from the reference's: 4e-5 in the Standard Model already.
    np.testing.assert_allclose(eta, expected, atol=1e-4, rtol=2e-3)


def energy_ratio(t_ratio, eta):
    """(8/7)(11/4)^(4/3) rho_nu/rho_gamma of six Fermi-Dirac degrees of freedom, by scipy."""
    integral = [quad(lambda p, e=e: p**3 / (1 + np.exp(p - e)), 0, 60)[0] for e in eta]
    photons = 2 * np.pi**4 / 15
    return 8 / 7 * (11 / 4) ** (4 / 3) * 6 * np.array(integral) * t_ratio**4 / photons


def test_temperature_and_chemical_potential_give_n_eff():
    m, g = np.array([5.0, 11.5, 30.0, 11.5]), np.array([1e-4, 5e-4, 1e-3, 1e-6])
    solved = history("D", m, g, g / 70)
    np.testing.assert_allclose(energy_ratio(*solved[1:]), solved[0], rtol=1e-9)
    table = late_neutrinos(1e-3 * m, g)
    np.testing.assert_allclose(
        energy_ratio(table.t_nu_over_t_gamma, table.eta_nu) - sm("D"), table.delta_n_eff, atol=1e-3
    )
    far = late_neutrinos(1e-2, 0.0)  # no Z'
    end = standard_model_ode("D")
    assert float(far.t_nu_over_t_gamma) == pytest.approx(float(end.t_nu_over_t_gamma), abs=1e-9)
    assert float(far.eta_nu) == pytest.approx(float(end.eta_nu), abs=1e-9)


def test_golden_small_coupling():
    points = GOLDEN["closure_D_11.5MeV"]
    g = np.array([float(key) for key in points])
    np.testing.assert_allclose(ode("D", 11.5, g, g / 70), list(points.values()), atol=5e-4)


def test_golden_closure_c():
    rows = [e for e in GOLDEN["closure_C"] if e["m"] >= 1 and e["g"] > 1e-13 and e["Neff"] < 5]
    m, g, expected = np.array([[e["m"], e["g"], e["Neff"]] for e in rows]).T
    # 3.5e-3: production above the reference's starting temperature, included here; next test
    np.testing.assert_allclose(ode("C", m, g, g / 70), expected, atol=3.5e-3)


def test_golden_closure_c_from_its_own_start(monkeypatch):
    """T = 20 MeV and a Z' occupation of e^-14 at rest, where no equilibrium follows at once."""
    rows = [e for e in GOLDEN["closure_C"] if e["m"] >= 1 and 1e-13 < e["g"] < 3e-8]
    m, g, expected = np.array([[e["m"], e["g"], e["Neff"]] for e in rows if e["Neff"] < 5]).T
    ours, begin = thermal_history._range, thermal_history._freeze_in_start

    def from_20_mev(m, width_nu):
        t_start, length = ours(m, width_nu)
        cold = jnp.maximum(20.0, m / 2.5)
        return cold, length + jnp.log(cold / t_start)

    def nearly_empty(m, t_start, width_nu):
        ln_t, d, eta, *_ = begin(m, t_start, width_nu)
        return jnp.stack([ln_t, d, eta, np.log(2 / 3) + 0.0 * m, 14.0 + 0.0 * m])

    monkeypatch.setattr(thermal_history, "_range", from_20_mev)
    monkeypatch.setattr(thermal_history, "_freeze_in_start", nearly_empty)
    # Not through the compiled program, which has our start.
    solve = jax.vmap(lambda v: thermal_history._outputs(v, "C", True, 2400, ())[0])
    value = jax.jit(solve)(jnp.stack([m, g, g / 70], axis=1))
    np.testing.assert_allclose(value, expected, atol=2e-3)


def test_closures_c_and_d_join():
    m = np.array([1.2, 3.0, 10.0, 30.0, 100.0])
    difference = ode("C", m, 3e-8, 3e-8 / 70) - ode("D", m, 3e-8, 3e-8 / 70)
    assert np.max(np.abs(difference)) < 5e-5


@functools.cache
def _gradients(closure):
    """(reverse, forward, f) of N_eff against (ln m/MeV, ln g) with epsilon = g/70."""

    def f(v):
        m, g = 1e-3 * jnp.exp(v[0]), jnp.exp(v[1])
        return n_eff_ode(m, g, g / 70, closure)

    return jax.jit(jax.grad(f)), jax.jit(jax.jacfwd(f)), f


@pytest.mark.parametrize("row", GOLDEN["gradients_D"], ids=lambda r: f"{r['m_MeV']}MeV")
def test_ode_gradient_closure_d(row):
    gradient = _gradients("D")[0](jnp.log(jnp.array([row["m_MeV"], row["g"]])))
    np.testing.assert_allclose(gradient, [row["dlnm"], row["dlng"]], rtol=1e-3)


def test_ode_gradient_finite_difference():
    reverse, _, _ = _gradients("D")
    v, h = np.log([9.0, 2e-4]), 1e-3
    m, g = np.exp(v + h * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])).T
    values = ode("D", m, g, g / 70)
    numeric = [(values[0] - values[1]) / (2 * h), (values[2] - values[3]) / (2 * h)]
    np.testing.assert_allclose(reverse(jnp.asarray(v)), numeric, rtol=1e-4)


def test_ode_forward_and_reverse_agree():
    # closure A: the differentiation rule is common to all, and this one compiles fastest
    reverse, forward, _ = _gradients("A")
    v = jnp.log(jnp.array([9.0, 2e-4]))
    np.testing.assert_allclose(reverse(v), forward(v), rtol=1e-12)


@pytest.mark.parametrize("row", GOLDEN["gradients_B"], ids=lambda r: f"{r['m_MeV']}MeV")
def test_closure_b_slopes(row):
    h = 2e-3
    v = np.log([row["m_MeV"], row["g"]])
    m, g = np.exp(v + h * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])).T
    values = ode("B", m, g, g / 70)
    numeric = [(values[0] - values[1]) / (2 * h), (values[2] - values[3]) / (2 * h)]
    np.testing.assert_allclose(numeric, [row["dlnm"], row["dlng"]], rtol=1e-3)


def test_unknown_closure():
    with pytest.raises(ValueError, match="closure"):
        n_eff_ode(1e-2, 1e-4, 1e-6, "E")


def test_decoupled_z_prime():
    # Frozen in and decaying late: the energy that is left then goes like Gamma/H at decay, i.e. g.
    g = np.geomspace(1e-15, 1e-13, 32)
    for m_mev in (1.5, 10.0, 100.0):
        shift = ode("C", m_mev, g, g / 70) - sm("D")
        np.testing.assert_allclose(shift / g, shift[-1] / g[-1], rtol=0.02)
    assert abs(float(delta_n_eff(1e-2, 1e-15))) < 1e-4
    assert abs(float(delta_n_eff(1.0, 1e-3))) < 1e-4
    assert abs(float(delta_n_eff(1e-2, 0.0))) < 1e-50


def _random_points(n, m_range, g_range, seed):
    rng = np.random.default_rng(seed)
    return (np.exp(rng.uniform(*np.log(r), n)) for r in (m_range, g_range))


@pytest.mark.parametrize("closure", ["C", "D"])
def test_table_against_ode(closure):
    g_range = (3e-8, 9e-3) if closure == "D" else (1.2e-12, 3e-8)
    m, g = _random_points(24, (4e-3, 0.18), g_range, 1)
    m[0], g[0] = 11.5e-3, 5e-4 if closure == "D" else 1e-9
    exact = history(closure, 1e3 * m, g, jax.jit(jax.vmap(loop_epsilon))(m, g))
    table = late_neutrinos(m, g)
    np.testing.assert_allclose(table.delta_n_eff, exact[0] - sm("D"), atol=1e-3)
    np.testing.assert_allclose(table.t_nu_over_t_gamma, exact[1], atol=3e-4)
    np.testing.assert_allclose(table.eta_nu, exact[2], atol=1e-3)


@pytest.mark.parametrize("closure", ["C", "D"])
def test_table_gradient_against_ode(closure):
    g_range = (3e-8, 9e-3) if closure == "D" else (1.2e-12, 2.8e-8)
    m, g = _random_points(8, (5e-3, 25e-3), g_range, 4)
    table = jax.jit(jax.vmap(jax.grad(delta_n_eff, (0, 1))))(m, g)
    table = np.stack([table[0] * m, table[1] * g])

    # central differences of the ODE in ln m, ln g: 8 points x 4 shifts = one batch
    h = 2e-3
    up = np.exp(h * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]))
    ms, gs = (np.outer(up[:, 0], m).ravel(), np.outer(up[:, 1], g).ravel())
    values = ode(closure, 1e3 * ms, gs, jax.jit(jax.vmap(loop_epsilon))(ms, gs)).reshape(4, 8)
    exact = np.stack([values[0] - values[1], values[2] - values[3]]) / (2 * h)
    error = np.linalg.norm(table - exact, axis=0) / np.linalg.norm(exact, axis=0)
    matters = np.abs(delta_n_eff(m, g)) > 0.01
    assert np.max(error[matters]) < 0.01


def test_table_finite_and_smooth_everywhere():
    m, g = jnp.meshgrid(jnp.geomspace(1e-7, 1e3, 121), jnp.geomspace(1e-20, 10.0, 127))
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(delta_n_eff, (0, 1))))(
        m.ravel(), g.ravel()
    )
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in (value, *gradient))
    assert float(jnp.min(value)) > -0.05 and float(jnp.max(value)) < 20

    # C1: one-sided slopes agree at nodes, edges and in the continuation
    def line(t, s):
        return delta_n_eff(jnp.exp(t), jnp.exp(s))

    slope = jax.jit(jax.vmap(jax.grad(line, (0, 1))))
    for fixed, axis, grid in (
        (np.log(5e-4), 0, np.linspace(np.log(8e-4), np.log(1.0), 20001)),
        (np.log(11.5e-3), 1, np.linspace(np.log(1e-14), np.log(1.0), 20001)),
    ):
        args = (grid, np.full_like(grid, fixed))
        derivative = slope(*(args if axis == 0 else args[::-1]))[axis]
        assert float(jnp.max(jnp.abs(jnp.diff(derivative)))) < 0.1


def test_table_modes_agree():
    m, g = _random_points(50, (5e-4, 0.5), (1e-13, 0.1), 2)
    forward = jax.jit(jax.vmap(jax.jacfwd(delta_n_eff, (0, 1))))(m, g)
    reverse = jax.jit(jax.vmap(jax.grad(delta_n_eff, (0, 1))))(m, g)
    for a, b in zip(forward, reverse, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)
    loop = [float(delta_n_eff(a, b)) for a, b in zip(m[:5], g[:5], strict=True)]
    np.testing.assert_allclose(jax.vmap(delta_n_eff)(m, g)[:5], loop, rtol=1e-13)
    np.testing.assert_allclose(n_eff(m, g), N_EFF_SM + delta_n_eff(m, g))


def test_benchmark():
    assert float(delta_n_eff(11.5e-3, 5e-4)) == pytest.approx(0.356, abs=0.002)


def test_theory_error():
    assert float(n_eff_theory_error(15e-3, 0.2)) == pytest.approx(0.06, abs=1e-3)
    assert float(n_eff_theory_error(5e-3, 2.0)) == pytest.approx(0.3, rel=0.01)
    assert float(n_eff_theory_error(31e-3, 0.02)) < 0.01
    assert np.isfinite(jax.grad(n_eff_theory_error, (0, 1))(10e-3, 0.0)).all()


@pytest.mark.slow
def test_table_residuals_many():
    for closure, g_range in (("D", (3e-8, 9e-3)), ("C", (1.2e-12, 3e-8))):
        m, g = _random_points(300, (4e-3, 0.18), g_range, 3)
        exact = ode(closure, 1e3 * m, g, jax.jit(jax.vmap(loop_epsilon))(m, g)) - sm("D")
        assert np.max(np.abs(delta_n_eff(m, g) - exact)) < 1e-3

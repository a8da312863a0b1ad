"""Light dark matter and H1 beside the Z' in the bath of the neutrinos; the table of it."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from lmltdm_jax import Parameters
from lmltdm_jax.dark_matter import ComplexScalar, DiracFermion
from lmltdm_jax.inputs import StandardModel
from lmltdm_jax.kinetic_mixing import kinetic_mixing
from lmltdm_jax.observables.n_eff import dark_matter_shift, dark_matter_theory_error
from lmltdm_jax.observables.plasma import massive_moments
from lmltdm_jax.observables.thermal_history import (
    Species,
    light_dark_matter,
    light_h1,
    n_eff_ode,
    n_eff_sm_ode,
    thermal_history_ode,
)

GOLDEN = json.loads((Path(__file__).parent / "golden" / "neff.json").read_text())
HEAVY = 0.3  # GeV: a Z' that is gone before neutrinos decouple


@functools.cache
def alone(closure, dof, weight):
    """N_eff against the masses [MeV] of one boson, everything else heavy."""

    def one(mass):
        one = Species(1e-3 * mass, dof, weight)
        return thermal_history_ode(HEAVY, 1e-3, 0.0, closure, species=[one]).n_eff

    return jax.jit(jax.vmap(one))


@pytest.mark.parametrize("closure", ["A", "D"])
def test_three_degrees_of_freedom_are_a_vector_boson(closure):
    """Published generic neutrinophilic boson (NUDEC_BSM, arXiv:2001.04466) and golden values."""
    rows = [(b["m_MeV"], b[f"{closure}_eps0"]) for b in GOLDEN["grid"] if b["m_MeV"] >= 3]
    mass, expected = np.array(rows).T
    np.testing.assert_allclose(alone(closure, 3.0, 2.0)(mass), expected, rtol=3.2e-4)
    if closure == "A":
        published = alone("A", 3.0, 2.0)(np.resize([11.5, 5.0, 20.0], len(mass)))[:3]
        np.testing.assert_allclose(published, [3.26047, 4.13297, 3.06989], rtol=3.2e-4)


def test_complex_scalar():
    """Between nothing and the limit m << T at neutrino decoupling, (1 + 2/5.25)^(4/3)."""
    mass = np.array([0.1, 2.0, 5.0, 8.0, 12.0, 20.0, 40.0, 100.0])
    value = np.asarray(alone("A", 2.0, 1.0)(mass))
    standard_model = float(n_eff_sm_ode("B"))
    assert np.all(np.diff(value) < 0)
    assert value[0] / standard_model == pytest.approx((1 + 2 / 5.25) ** (4 / 3), rel=0.01)
    assert value[-1] == pytest.approx(standard_model, abs=1e-4)
    # more degrees of freedom, more neutrinos; nearly in proportion where there are few
    vector = np.asarray(alone("A", 3.0, 2.0)(mass))
    shift, reference = value - standard_model, vector - standard_model
    np.testing.assert_allclose(shift[4:6] / reference[4:6], 2 / 3, rtol=0.03)


@pytest.mark.parametrize("closure", ["A", "D"])
def test_decoupled_and_light(closure):
    z_prime = (15e-3, 5e-4, 5e-4 / 70)

    def both(mass):
        species = [light_dark_matter(ComplexScalar, mass[0]), light_h1(mass[1])]
        return thermal_history_ode(*z_prime, closure, species=species).n_eff

    masses = jnp.array([[300.0, 300.0], [7.0, 300.0], [300.0, 15.0], [7.0, 15.0]])
    heavy, x, h1, light = map(float, jax.jit(jax.vmap(both))(1e-3 * masses))
    assert heavy == pytest.approx(float(n_eff_ode(*z_prime, closure)), abs=1e-5)
    if closure == "A":
        assert light > x > h1 > heavy + 0.01
    else:
        # Z' <-> e+ e- is in equilibrium until X are gone: photons take their share of the entropy.
        assert max(abs(value - heavy) for value in (x, h1, light)) < 0.01


def test_gradient_along_the_mass():
    def value(mass):
        one = Species(1e-3 * mass, 2.0, 1.0)
        return thermal_history_ode(HEAVY, 1e-3, 0.0, "A", species=[one]).n_eff

    h = 1e-3
    up, down = alone("A", 2.0, 1.0)(np.resize([7.0 + h, 7.0 - h], 8))[:2]
    slope = jax.jit(jax.grad(value))(7.0)
    assert float(slope) == pytest.approx(float(up - down) / (2 * h), rel=1e-5)


def test_closure_c_has_none():
    with pytest.raises(ValueError, match="closure C"):
        thermal_history_ode(1e-2, 1e-9, 1e-11, "C", species=[light_h1(7e-3)])


@pytest.mark.parametrize("statistics", [1, -1])
@pytest.mark.parametrize(("x", "eta"), [(0.3, -0.1), (2.0, 0.0), (9.0, 0.2)])
def test_moments_are_integrals_over_the_distribution(statistics, x, eta):
    """Of three degrees of freedom, over exp(-gap)."""
    gap = x - eta

    def integral(weight):
        def integrand(p):
            energy = np.hypot(p, x)
            return p**2 * weight(p, energy) / (np.exp(energy - eta) - statistics)

        return 3.0 / (2.0 * np.pi**2) * quad(integrand, 0.0, 60.0, epsabs=0.0, limit=200)[0]

    z = massive_moments(jnp.asarray(x), jnp.asarray(gap), statistics)
    number, kinetic = integral(lambda p, e: 1.0), integral(lambda p, e: e - x)
    pressure = integral(lambda p, e: p**2 / (3.0 * e))
    size = np.exp(-gap)
    ours = size * np.array([z.n, z.kinetic, z.p])
    np.testing.assert_allclose(ours, [number, kinetic, pressure], rtol=1e-8)
    # f (1 +- f) is the derivative of f along mu/T
    h = 1e-4
    up, down = (
        np.exp(-gap - s) * massive_moments(jnp.asarray(x), gap + s, statistics).n for s in (-h, h)
    )
    assert float(size * z.n1) == pytest.approx(float(up - down) / (2.0 * h), rel=1e-6)


def test_dirac_fermion():
    """The limit m << T at neutrino decoupling: four fermions beside the six of the neutrinos."""
    one = light_dark_matter(DiracFermion, 1e-4)
    value = thermal_history_ode(HEAVY, 1e-3, 0.0, "A", species=[one]).n_eff
    standard_model = float(n_eff_sm_ode("B"))
    assert float(value) / standard_model == pytest.approx((1 + 4 / 6) ** (4 / 3), rel=0.01)


KINDS = [ComplexScalar, DiracFermion]
BATCH = 32


@functools.cache
def solved(kind, closure):
    """(m_zp, g_x, m_dm) -> what dark matter adds, of the equations; one batch, one compilation."""

    def one(m_zp, g_x, m_dm):
        epsilon = jnp.abs(kinetic_mixing(m_zp**2, g_x, StandardModel.load("pdg2026")))
        species = [light_dark_matter(kind, m_dm)]
        end = thermal_history_ode(m_zp, g_x, epsilon, closure, species=species)
        alone = thermal_history_ode(m_zp, g_x, epsilon, closure)
        ratio = jnp.log(end.t_nu_over_t_gamma / alone.t_nu_over_t_gamma)
        return jnp.stack([end.n_eff - alone.n_eff, ratio, end.eta_nu - alone.eta_nu])

    return jax.jit(jax.vmap(one))


def random_points(n, seed):
    u = np.random.default_rng(seed).uniform(size=(3, n))
    low, high = np.array([[4e-3, 2e-6, 4e-3], [0.3, 9e-3, 0.1]])[..., None]
    return low * (high / low) ** u


def table(kind):
    return functools.partial(dark_matter_shift, kind=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_table_against_the_equations(kind):
    points = random_points(BATCH, 5)
    exact, ours = solved(kind, "D")(*points), table(kind)(*points)
    assert np.ptp(exact[:, 0]) > 0.1
    np.testing.assert_allclose(ours[:, 0], exact[:, 0], atol=1e-3)
    np.testing.assert_allclose(ours[:, 1], exact[:, 1], atol=3e-4)
    np.testing.assert_allclose(ours[:, 2], exact[:, 2], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_table_residuals_many(kind):
    for seed in range(10):
        points = random_points(BATCH, 100 + seed)
        difference = np.abs(table(kind)(*points) - solved(kind, "D")(*points)).max(0)
        print(kind.__name__, difference)
        assert np.all(difference < [1e-3, 3e-4, 1e-3])


def test_gradient_of_the_table():
    points = random_points(BATCH // 4, 6)
    ours = jax.vmap(jax.grad(lambda *p: table(ComplexScalar)(*p)[0], (0, 1, 2)))(*points)
    h, rows = 2e-3, []
    for k in (0, 2):
        up, down = (points * np.exp(s * np.eye(3)[k])[:, None] for s in (h, -h))
        both = np.concatenate([up, down, up, down], axis=1)
        values = np.asarray(solved(ComplexScalar, "D")(*both))[:, 0].reshape(4, -1)
        rows.append((values[0] - values[1]) / (2.0 * h))
    exact, slopes = np.stack(rows), np.stack([ours[k] * points[k] for k in (0, 2)])
    error = np.linalg.norm(slopes - exact, axis=0)
    matters = np.abs(table(ComplexScalar)(*points)[:, 0]) > 0.01
    assert matters.sum() >= 2
    assert np.all(error[matters] < 0.01 * np.linalg.norm(exact, axis=0)[matters])


@pytest.mark.parametrize("kind", KINDS)
def test_theory_error_covers_the_closure_without_number_conservation(kind):
    """X X* <-> nu nubar and Z'Z' together, and no chemical potential, for the sampled masses."""
    m_zp, m_dm = map(np.ravel, np.meshgrid(np.geomspace(5e-3, 0.3, 8), [5e-3, 8e-3, 14e-3, 25e-3]))
    points = m_zp, np.full(BATCH, 1e-4), m_dm
    b, d = (np.asarray(solved(kind, closure)(*points))[:, 0] for closure in "BD")
    assert np.all(np.abs(d - b) < 1.2 * dark_matter_theory_error(m_dm, d, kind))


def test_finite_and_continuous_everywhere():
    rng = np.random.default_rng(3)
    points = np.exp(rng.uniform(np.log(1e-6), np.log(1e2), size=(3, 2000)))
    value, slopes = jax.vmap(
        jax.value_and_grad(lambda *p: jnp.sum(table(DiracFermion)(*p)), (0, 1, 2))
    )(*points)
    assert all(np.isfinite(x).all() for x in (value, *slopes))
    assert float(jnp.abs(table(ComplexScalar)(0.1, 1e-4, 10.0)[0])) < 1e-4  # heavy
    line = np.exp(np.linspace(np.log(2e-4), np.log(1.0), 20001))
    for k in range(3):
        fixed = [np.full(20001, v) for v in (0.03, 1e-4, 6e-3)]
        fixed[k] = line
        slope = jax.vmap(jax.grad(lambda *p: table(ComplexScalar)(*p)[0], k))(*fixed) * line
        assert float(jnp.max(jnp.abs(jnp.diff(slope)))) < 0.02


def test_likelihood_reads_it(talk2024):
    """Dark matter of 5 MeV beside a heavy Z' is seen in N_eff; beside a light one it is not."""
    point = Parameters.benchmark().replace(m_x=5e-3)
    heavy, light = (
        jax.jit(talk2024.evaluate)(point.replace(m_zp=m)).observables for m in (0.15, 11.5e-3)
    )
    assert float(heavy.delta_n_eff) == pytest.approx(0.75, abs=0.03)
    assert float(heavy.delta_n_eff_dark_matter) == pytest.approx(float(heavy.delta_n_eff), abs=0.01)
    assert abs(float(light.delta_n_eff_dark_matter)) < 0.01
    assert float(heavy.n_eff_theory_error) > 0.1 > float(light.n_eff_theory_error)

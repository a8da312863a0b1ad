"""Light X and H1 beside the Z' in the bath of the neutrinos."""

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmltdm_jax.observables.thermal_history import (
    Boson,
    light_h1,
    light_x,
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
        boson = Boson(1e-3 * mass, dof, weight)
        return thermal_history_ode(HEAVY, 1e-3, 0.0, closure, bosons=[boson]).n_eff

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
        bosons = [light_x(mass[0]), light_h1(mass[1])]
        return thermal_history_ode(*z_prime, closure, bosons=bosons).n_eff

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
        boson = Boson(1e-3 * mass, 2.0, 1.0)
        return thermal_history_ode(HEAVY, 1e-3, 0.0, "A", bosons=[boson]).n_eff

    h = 1e-3
    up, down = alone("A", 2.0, 1.0)(np.resize([7.0 + h, 7.0 - h], 8))[:2]
    slope = jax.jit(jax.grad(value))(7.0)
    assert float(slope) == pytest.approx(float(up - down) / (2 * h), rel=1e-5)


def test_closure_c_has_none():
    with pytest.raises(ValueError, match="closure C"):
        thermal_history_ode(1e-2, 1e-9, 1e-11, "C", bosons=[light_x(7e-3)])

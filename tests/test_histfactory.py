"""HistFactory model against pyhf and published fits; profile, Laplace and sampled nuisances."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pyhf
import pytest

from lmltdm_jax.errors import InputError
from lmltdm_jax.likelihoods.belle2_data import belle2_model, belle2_workspace, strength_fit
from lmltdm_jax.likelihoods.histfactory import (
    HistFactory,
    best_yield,
    bin_moments,
    loglike,
    loglike_per_bin,
)
from lmltdm_jax.likelihoods.histfactory_fit import best_alpha, fit, objective
from lmltdm_jax.numerics.positive_solve import log_determinant, solve_positive

# No preset uses these terms yet; together the tests take two minutes.
pytestmark = pytest.mark.slow


@functools.cache
def profile(channels, interpolation):
    """Batched profile ln L and slope in the signal strength."""
    model = belle2_model(channels, interpolation)
    alpha = strength_fit(channels)["alpha"]
    start = jnp.array([alpha[name] for name in model.parameters])
    return jax.jit(
        jax.vmap(jax.value_and_grad(lambda mu: fit(model, model.signal(mu), start).loglike))
    )


def pyhf_vector(model, target, mu, alpha, gamma):
    """Parameters in pyhf's order; gamma (slots, bins)."""
    vector = np.array(target.config.suggested_init())
    vector[target.config.par_slice("mu")] = mu
    for name, value in zip(model.parameters, alpha, strict=True):
        vector[target.config.par_slice(name)] = value
    channels = {c["name"]: c for c in belle2_workspace()["channels"]}
    for (channel, size), start in zip(model.channels, model.first_bins, strict=True):
        background = 0
        for sample in channels[channel]["samples"]:
            signal = any(m["type"] == "normfactor" for m in sample["modifiers"])
            background += not signal
            slot, bins = 0 if signal else background, slice(start, start + size)
            (name,) = [m["name"] for m in sample["modifiers"] if m["type"] == "staterror"]
            shift = model.stat[slot, bins] * gamma[slot, bins]
            vector[target.config.par_slice(name)] = 1.0 + shift
    return vector


# pyhf 0.7 calls a deprecated part of jsonschema.
@pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")
def test_agrees_with_pyhf_at_random_nuisances():
    model = belle2_model("combined", "piecewise")
    workspace = pyhf.Workspace(belle2_workspace())
    target = workspace.model(
        modifier_settings={"normsys": {"interpcode": "code1"}, "histosys": {"interpcode": "code0"}}
    )
    data = workspace.data(target)
    ours = jax.jit(lambda mu, a, g: loglike(model, model.signal(mu), a, g))
    rng = np.random.default_rng(1)
    rows = []
    for k in range(12):
        mu, alpha = rng.uniform(0.0, 6.0), 0.7 * rng.normal(size=len(model.parameters)) * (k > 0)
        gamma = np.clip(rng.normal(size=model.stat.shape), -0.9, 2.0) * (k > 0)
        reference = target.logpdf(pyhf_vector(model, target, mu, alpha, gamma), data)[0]
        rows.append((-2.0 * float(reference), -2.0 * float(ours(mu, alpha, gamma))))
    differences = np.array(rows) - rows[0]
    np.testing.assert_allclose(differences[:, 1], differences[:, 0], rtol=0.0, atol=1e-8)


@pytest.mark.parametrize(
    ("channels", "interpolation", "mu", "up", "z0", "z1", "minimum"),
    [
        ("ita", "piecewise", 5.41788, 1.485, 3.53694, 2.93366, 20.856850),
        ("hta", "piecewise", 2.20228, 2.3725, 1.11687, 0.59178, 4.502448),
        ("combined", "piecewise", 4.61077, 1.345, 3.46531, 2.72330, 26.620509),
    ],
)
def test_signal_strength_fits(channels, interpolation, mu, up, z0, z1, minimum):
    """Fits of the published workspace by pyhf 0.7.6 (JAX, scipy), every gamma a parameter."""
    value, slope = profile(channels, interpolation)(jnp.array([0.0, 1.0, mu, mu + up, mu - 0.01]))
    best = float(value[2])
    assert abs(float(slope[2])) < 0.01
    assert -2.0 * best == pytest.approx(minimum, abs=2e-4)
    assert np.sqrt(2.0 * (best - float(value[0]))) == pytest.approx(z0, abs=2e-3)
    assert np.sqrt(2.0 * (best - float(value[1]))) == pytest.approx(z1, abs=2e-3)
    assert 2.0 * (best - float(value[3])) == pytest.approx(1.0, abs=0.01)


def test_smooth_interpolation():
    """-2 ln L at mu = 1 and its minimum, at 4.60189: BFGS in numpy, every gamma a parameter."""
    stored = strength_fit("combined")
    value, slope = profile("combined", "smooth")(jnp.array([0.0, 1.0, stored["mu"], 4.56888, 0.0]))
    assert -2.0 * float(value[1]) == pytest.approx(33.98802872, abs=1e-6)
    assert float(value[2]) == pytest.approx(stored["loglike"], abs=1e-6)
    assert -2.0 * float(value[2]) == pytest.approx(26.62605092, abs=1e-6)
    assert abs(float(slope[2])) < 1e-4
    assert -2.0 * float(value[2]) < -2.0 * float(value[3])
    assert stored["mu"] == pytest.approx(4.60189, abs=1e-4)
    assert np.sqrt(2.0 * float(value[2] - value[1])) == pytest.approx(2.7085, abs=0.01)


MODEL = belle2_model()
START = jnp.array([strength_fit("combined")["alpha"][name] for name in MODEL.parameters])


def test_one_minimum_from_every_start():
    """The statistical nuisances are eliminated exactly: what is left has one minimum here."""
    starts = 0.8 * np.random.default_rng(3).normal(size=(32, len(START)))

    def minimum(start, mu):
        alpha, _ = best_alpha(MODEL, MODEL.signal(mu), start, 60)
        return -2.0 * objective(MODEL, MODEL.signal(mu), alpha)

    run = jax.jit(jax.vmap(minimum, in_axes=(0, None)))
    for mu in (1.0, 4.6):
        values = np.asarray(run(starts, mu))
        warm = float(run(START[None], mu)[0])
        assert values.max() < warm + 1e-5
        # A wild start may run away; it must never be better.
        assert np.mean(values > warm - 1e-5) > 0.9


@pytest.fixture(scope="module")
def fitted():
    return jax.jit(lambda mu: fit(MODEL, MODEL.signal(mu), START))(3.0)


def test_eliminated_gammas_are_at_their_maximum(fitted):
    """Against the likelihood with a gamma for every sample and bin."""
    signal = MODEL.signal(3.0)
    cells = MODEL.cells(fitted.alpha, signal)
    full = jax.jit(jax.value_and_grad(lambda g: loglike(MODEL, signal, fitted.alpha, g)))
    variance = jnp.sum((MODEL.stat * cells) ** 2, 0)
    b = jnp.sum(cells, 0) - variance
    n = 0.5 * (b + jnp.sqrt(b**2 + 4.0 * variance * MODEL.observed))
    gamma = (MODEL.observed / n - 1.0) * MODEL.stat * cells
    value, slope = full(gamma)
    assert float(jnp.abs(slope).max()) < 1e-9
    assert float(value) == pytest.approx(float(fitted.loglike), abs=1e-9)


def test_laplace_against_importance_sampling():
    """Integral over all nuisances, one z per bin, by 20000 draws from the Gaussian of the maximum.

    ln of the integral is 0.3 below Laplace's at every strength (measured 0.27 to 0.38, statistical
    error 0.04 each): what matters is that this is a constant.
    """
    best = jax.jit(lambda mu: fit(MODEL, MODEL.signal(mu), START))

    def joint(mu, x):
        return loglike_per_bin(MODEL, MODEL.signal(mu), x[: len(START)], x[len(START) :])

    hessian = jax.jit(jax.hessian(joint, 1))
    batch = jax.jit(jax.vmap(joint, in_axes=(None, 0)))
    corrections = []
    for mu in (1.0, 5.0):
        result = best(mu)
        mean, variance = bin_moments(MODEL, MODEL.signal(mu), result.alpha)
        n = best_yield(MODEL.observed, mean, variance)
        mode = jnp.concatenate([result.alpha, (n - mean) / jnp.sqrt(variance)])
        precision = -np.asarray(hessian(mu, mode))
        determinant = np.linalg.slogdet(precision)[1]
        assert determinant == pytest.approx(float(result.log_determinant), abs=1e-8)
        root = np.linalg.cholesky(np.linalg.inv(precision))
        draws = np.random.default_rng(0).normal(size=(20000, len(mode)))
        weight = np.asarray(batch(mu, mode + draws @ root.T)) - float(result.loglike)
        corrections.append(np.log(np.mean(np.exp(weight + 0.5 * np.sum(draws**2, 1)))))
    assert abs(corrections[0] - corrections[1]) < 0.2
    assert max(np.abs(corrections)) < 0.6


def test_positive_solve():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(23, 23))
    matrix, rhs = root @ root.T + np.eye(23), rng.normal(size=(23, 2))
    solution = solve_positive(matrix, rhs)
    np.testing.assert_allclose(solution.x, np.linalg.solve(matrix, rhs), rtol=1e-9, atol=1e-12)
    assert float(solution.log_determinant) == pytest.approx(np.linalg.slogdet(matrix)[1])
    assert bool(solution.positive)
    assert not bool(solve_positive(matrix - 20.0 * np.eye(23), rhs).positive)
    gradient = jax.jit(jax.grad(log_determinant))(matrix)
    np.testing.assert_allclose(gradient, np.linalg.inv(matrix), rtol=1e-9, atol=1e-12)


def test_wrong_workspaces_are_refused():
    with pytest.raises(InputError, match="unknown channel"):
        HistFactory.from_workspace(belle2_workspace(), ["nope"])

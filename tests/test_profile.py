"""``lmltdm profile``: minima of known functions, no basin missed, resuming, files and errors."""

import dataclasses
import functools

import iminuit
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from lmltdm_jax.inference import fisher
from lmltdm_jax.inference import fit as fitting
from lmltdm_jax.inference import profile as profiling
from lmltdm_jax.inference import profile_starts as starts
from lmltdm_jax.inference.charts import Charts, numbers
from lmltdm_jax.inference.minimise import Minima, chi2_of, minimise
from lmltdm_jax.inference.profile_grid import Grid, scannable
from lmltdm_jax.inference.profile_output import intervals
from lmltdm_jax.inference.target import columns, evaluate
from lmltdm_jax.inference.vector import VectorPosterior
from toy_target import Toy
from typer.testing import CliRunner

from lmltdm_jax import InputError, Parameters
from lmltdm_jax.cli import app
from lmltdm_jax.likelihoods.forecast import Forecast
from lmltdm_jax.likelihoods.zp_searches import ZpSearch
from lmltdm_jax.parameters import sampled_parameters

NAMES = ("m_h1", "sin_theta")


class Valley(Toy):
    """A curved valley, 0.01 wide, along which chi2 rises slowly; least 0 where u = 0.5."""

    def residuals(self, u):
        bend = u[3] - 0.5 - 2.0 * (u[2] - 0.5) ** 2
        return jnp.append((u - 0.5) / 0.2, bend / 0.01)

    def chi2(self, u):
        return jnp.sum(self.residuals(u) ** 2)


class Canyon(Valley):
    """A curved valley along two coordinates at once, 3e-3 wide; least 0 where u = 0.5."""

    def residuals(self, u):
        far = u[0] - 0.5
        bend = u[3] - 0.5 - far - far**2
        return jnp.append((u - 0.5) / 0.2, bend / 3e-3)


class Edge(Toy):
    """Falls towards the end of the box at u[0] = 1: the minimum lies on it."""

    def residuals(self, u):
        return jnp.append((u[1:] - 0.5) / 0.1, 2.0 * (2.0 - u[0]))

    def chi2(self, u):
        return jnp.sum(self.residuals(u) ** 2)


class Basins(Toy):
    """Two basins along u[3], which the others cannot leave; which is deeper changes over u[4]."""

    def residuals(self, u):
        """Those of the nearer basin; what rises along u[4] is no square and not among them."""
        centre = jnp.where(u[3] < 0.5, 0.2, 0.8)
        return jnp.append((u[:3] - 0.5) / 0.2, (u[3] - centre) / 0.02)

    def chi2(self, u):
        left = ((u[3] - 0.2) / 0.02) ** 2 + 10.0 * u[4]
        right = ((u[3] - 0.8) / 0.02) ** 2 + 6.0
        floor = -2.0 * jnp.logaddexp(-0.5 * left, -0.5 * right)
        return floor + jnp.sum(((u[:3] - 0.5) / 0.2) ** 2)


@pytest.fixture(scope="module")
def plain(talk2024):
    """Coordinates without a shell; a likelihood that toys only take their terms' names from."""
    target = fitting.build_target(talk2024)
    return scannable(target, ["lambda_phix"])


def toy(kind, plain):
    return kind(plain.coordinates, plain.likelihood)


def scattered(target, n, seed):
    """Starts all over the prior box."""
    prior = target.coordinates.prior
    u = np.random.default_rng(seed).uniform(0.02, 0.98, (n, prior.dimension))
    return np.asarray(prior.unconstrained_from_box(prior.box_from_unit(jnp.asarray(u))))


@pytest.mark.parametrize(("kind", "least"), [(Valley, 0.0), (Canyon, 0.0), (Edge, 4.0)])
def test_minima_of_known_functions(kind, least, plain):
    """More starts than lanes, so that lanes are refilled."""
    target = toy(kind, plain)
    y = scattered(target, 100, 1)
    free = np.ones(target.dimension, bool)
    found = minimise(target, y, free)
    assert found.y.shape == y.shape
    np.testing.assert_allclose(found.chi2, least, atol=1e-2)
    assert found.converged.mean() > 0.95 and found.steps.min() >= 1
    again = minimise(target, y, free)
    np.testing.assert_array_equal(again.y, found.y)


def test_a_start_that_cannot_win_is_given_up(plain):
    """And one that can is not; all stop when their steps are spent."""
    target = toy(Edge, plain)
    y = scattered(target, 40, 3)
    free = np.ones(target.dimension, bool)
    whole = minimise(target, y, free)
    beaten = minimise(target, y, free, bar=np.full(40, 1.0))
    assert beaten.steps.mean() < 0.8 * whole.steps.mean() and not beaten.converged.all()
    assert np.all(beaten.chi2 > 3.99)
    winning = minimise(target, y, free, bar=np.full(40, 5.0))
    np.testing.assert_allclose(winning.chi2, 4.0, atol=1e-2)
    short = minimise(target, y, free, steps=3)
    assert short.steps.max() == 3 and np.all(short.chi2 >= whole.chi2 - 1e-9)


def test_what_is_not_free_stays(plain):
    target = toy(Valley, plain)
    y = scattered(target, 40, 2)
    free = np.array([True, False, True, True, False, True, True])
    found = minimise(target, y, free)
    np.testing.assert_array_equal(found.y[:, ~free], y[:, ~free])
    prior = target.coordinates.prior
    u = np.asarray(prior.unit_from_box(prior.box_from_unconstrained(jnp.asarray(y))))
    expected = np.sum(((u[:, ~free] - 0.5) / 0.2) ** 2, axis=1)
    np.testing.assert_allclose(found.chi2, expected, atol=1e-2)


def test_no_basin_is_missed(plain):
    """Neighbours carry the deeper of two basins to every cell; both are known."""
    target, told = toy(Basins, plain), []
    settings = profiling.ProfileSettings(("m_h1", "m_zp"), 12, particles=64, moves=2)
    found = profiling.run(target, settings, seed=1, compile_last=lambda: told.append("last"))
    u = (np.arange(12) + 0.5) / 12
    least = np.minimum(10.0 * u, 6.0)[:, None] + ((u - 0.5) / 0.2) ** 2
    np.testing.assert_allclose(found.cells.chi2.reshape(12, 12), least, atol=1e-2)
    assert found.unsettled == 0 and found.delta_chi2.min() > -1e-3 and told == ["last"]


def test_every_cell_gets_starts(plain):
    """Each lies in its cell and is the best of those tried; two charts hand on a minimum, to those
    that had none near by."""
    target, rng = toy(Basins, plain), np.random.default_rng(3)
    grid = Grid.over(target.coordinates.prior, NAMES, 5)
    pool = evaluate(target, scattered(target, 60, 4))
    near, first = starts.near(target, grid, pool, 4)
    cells, second = starts.anywhere(target, grid, pool, 4, 0, rng)
    minima = Minima(second, chi2_of(target, evaluate(target, second)), cells, cells > 0)
    between, third = starts.from_minima(target, grid, minima, 60, rng)
    kinds = np.unique(numbers(Charts.of(target), second))
    np.testing.assert_array_equal(np.sort(np.concatenate([near, cells])), np.arange(25))
    np.testing.assert_array_equal(np.unique(between), cells)
    assert len(kinds) > 2 and len(between) == 2 * len(np.unique(between))
    for at, y in ((near, first), (cells, second), (between, third)):
        x = target.coordinates.to_box_many(y)
        places = np.stack(np.unravel_index(at, grid.shape), axis=-1)
        np.testing.assert_allclose(grid.cell_of(x), places, atol=1e-9)
    everything = grid.projected(np.tile(pool.y, (len(near), 1)), np.repeat(near, len(pool.y)))
    chi2 = chi2_of(target, evaluate(target, everything)).reshape(len(near), -1)
    _, best = starts.near(target, grid, pool, len(pool.y))
    np.testing.assert_allclose(chi2_of(target, evaluate(target, best)), chi2.min(axis=1))


def test_grid():
    prior = fitting.build_target("talk2024").coordinates.prior
    grid = Grid.over(prior, NAMES, 3)
    assert grid.shape == (3, 3) and not grid.free[grid.axes].any()
    np.testing.assert_allclose(grid.values(1), 1e-4 * 1000.0 ** ((np.arange(3) + 0.5) / 3))
    assert sorted(grid.neighbours()[4]) == [1, 3, 5, 7]
    assert sorted(grid.neighbours()[0]) == [-1, -1, 1, 3]
    y = np.arange(14.0).reshape(2, 7)
    moved = grid.projected(y, np.array([5, 0]))
    x = np.asarray(prior.box_from_unconstrained(jnp.asarray(moved)))
    np.testing.assert_allclose(grid.cell_of(x), [[1, 2], [0, 0]], atol=1e-9)
    np.testing.assert_array_equal(moved[:, grid.free], y[:, grid.free])
    # A mass may follow a scanned one, at their ratio, up to the end of its range.
    leaders = [prior.names[i] for i, _ in grid.moves if i is not None]
    following = [[prior.names[i] for i in others] for _, others in grid.moves]
    assert leaders == ["m_h1"] * 3 and following == [[], ["m_zp"], ["m_x"], ["m_zp", "m_x"]]
    start = np.tile(0.5 * np.sum(prior.box, axis=0), (4, 1))
    y = np.asarray(prior.unconstrained_from_box(jnp.asarray(start)))
    there = grid.projected(y, np.full(4, 7), np.arange(4))
    change = np.asarray(prior.box_from_unconstrained(jnp.asarray(there))) - start
    assert change[0, 4] > 0.3
    ratio = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * change[:, [4]]
    np.testing.assert_allclose(change[:, [0, 3]], ratio, atol=1e-12)
    np.testing.assert_allclose(change[:, [1, 2, 5, 6]], 0.0, atol=1e-12)
    at_the_end = np.array(start[:1])
    at_the_end[0, [0, 3]] = prior.box[1][[0, 3]] - 1e-3
    y = np.asarray(prior.unconstrained_from_box(jnp.asarray(at_the_end)))
    beyond = grid.projected(y, np.array([7]), np.array([3]))
    at = np.asarray(prior.box_from_unconstrained(jnp.asarray(beyond)))[0, [0, 3]]
    assert np.all(at < prior.box[1][[0, 3]]) and np.all(at > prior.box[1][[0, 3]] - 1e-5)
    for names, size, words in (
        (("q_x",), 5, "x: 'q_x' is not a sampled parameter; known: m_zp, g_x"),
        (("m_x", "m_y"), 5, "y: 'm_y' is not a sampled parameter"),
        (("m_x", "m_x"), 5, "y: 'm_x' is x already"),
        (("m_x",), 1, "size = 1 is outside its range"),
    ):
        with pytest.raises(InputError, match=words):
            Grid.over(prior, names, size)


def test_interrupted_and_resumed_gives_the_same_numbers(plain, tmp_path):
    target = toy(Basins, plain)
    settings = profiling.ProfileSettings(("m_h1",), 10, particles=64, moves=2)
    whole = profiling.run(target, settings, seed=2)

    def stop(at):
        def progress(phase, share, text):
            if phase == at:
                raise KeyboardInterrupt

        return progress

    for phase in ("temper", "cells", "best fit"):
        with pytest.raises(KeyboardInterrupt):
            profiling.run(target, settings, 2, tmp_path, stop(phase))
    resumed = profiling.run(target, settings, 2, tmp_path)
    np.testing.assert_array_equal(resumed.cells.y, whole.cells.y)
    np.testing.assert_array_equal(resumed.best.y, whole.best.y)
    with pytest.raises(InputError, match="another preset, model, seed, size"):
        profiling.run(target, settings, 3, tmp_path)


def test_intervals(plain):
    """Of a parabola, at the edge of the prior's range, and in two pieces."""
    grid = Grid.over(plain.coordinates.prior, ("m_h1",), 200)
    low, high = (ends[4] for ends in grid.prior.box)
    u = (grid.centres(0) - low) / (high - low)
    best = Minima(np.zeros((1, 7)), np.zeros(1), np.ones(1), np.ones(1, bool))

    def found(chi2):
        cells = dataclasses.replace(best, chi2=chi2)
        profile = profiling.Profile(plain, None, grid, 0, cells, best, None, {}, 0, 0, 0.0)
        ends = np.log10(np.array(intervals(profile, 1.0)))
        return (ends - low) / (high - low)

    np.testing.assert_allclose(found(((u - 0.5) / 0.1) ** 2), [[0.4, 0.6]], atol=1e-4)
    np.testing.assert_allclose(found(10.0 * u), [[0.0, 0.1]], atol=1e-6)
    two = np.minimum(((u - 0.2) / 0.1) ** 2, ((u - 0.7) / 0.1) ** 2)
    np.testing.assert_allclose(found(two), [[0.1, 0.3], [0.6, 0.8]], atol=1e-4)
    np.testing.assert_allclose(found(0.0 * u), [[0.0, 1.0]], atol=1e-12)


@pytest.fixture(scope="module")
def target(talk2024):
    """Four terms whose gradient compiles in seconds."""
    slow = ("relic_density", "cmb_annihilation", "belle2_br", "higgs_invisible")
    likelihood = talk2024.without(*slow).with_terms(ZpSearch.load("na64e_invisible"))
    return fitting.build_target(likelihood)


def test_minuit_finds_nothing_lower(target):
    """On a slice, with its numerical gradients and with ours, from where it starts by itself and
    from what was found. Dark matter of 5 MeV is a basin of its own, which few starts miss."""
    settings = profiling.ProfileSettings(("m_zp",), 6, particles=128, moves=2, starts=20)
    found = profiling.run(target, settings, seed=1)
    post = VectorPosterior(target.likelihood)
    values = np.stack(list(target.coordinates.values(found.cells.y).values()), axis=-1)
    for i, mass in enumerate(found.grid.values(0)):
        for gradient in (None, post.chi2_gradient):
            lowest = np.inf
            for start in (post.start, values[i]):
                fit = iminuit.Minuit(post.chi2, start, grad=gradient, name=post.names)
                fit.limits = list(post.prior.ranges)
                fit.values["m_zp"], fit.fixed["m_zp"] = mass, True
                fit.migrad()
                lowest = min(lowest, fit.fval)
            assert abs(found.cells.chi2[i] - lowest) < 0.01


def test_hessian_against_differences_of_the_gradient(target):
    """And errors: of what is measured, none of what is not; a forecast adds its own information."""
    x = np.array(target.coordinates.prior.box_from_physical(Parameters.benchmark()))
    y = np.asarray(target.coordinates.from_box(x))
    at = {name: float(v[0]) for name, v in columns(target, y[None]).items()}
    term = Forecast.load("cmb_s4").term(at)
    assert float(term.measurement.value) == at["n_eff"] and term.measurement.error_up == 0.03
    today = dict.fromkeys((t.name for t in target.likelihood.term_list), 1.0)
    matrix = fisher.hessian(target, today, x)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-8 * np.abs(matrix).max())
    gradient = jax.jit(lambda x: fisher._gradient(target, today, x))
    steps = 1e-5 * np.eye(len(x))
    numeric = np.array([(gradient(x + s) - gradient(x - s)) / 2e-5 for s in steps])
    np.testing.assert_allclose(matrix, numeric, atol=1e-5 * np.abs(matrix).max())
    found = fisher.at_best_fit(target, y, at, [Forecast.load("cmb_s4"), Forecast.load("hl_lhc")])
    assert list(found) == ["now", "cmb_s4", "hl_lhc", "all"]
    measured = [target.coordinates.prior.names.index(name) for name in ("m_zp", "g_x")]
    assert np.all(found["cmb_s4"].sigma[measured] < found["now"].sigma[measured])
    assert found["all"].flat < found["now"].flat


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["talk2024", "current"])
def test_hessian_is_finite_over_the_prior(preset):
    """Every fourth point at an end of a range, as best fits often are."""
    target = fitting.build_target(preset)
    prior, rng = target.coordinates.prior, np.random.default_rng(11)
    today = dict.fromkeys((t.name for t in target.likelihood.term_list), 1.0)
    unit = rng.uniform(size=(300, prior.dimension))
    at_end = rng.uniform(size=unit.shape) < 0.3
    at_end[np.arange(300) % 4 != 0] = False
    unit = np.where(at_end, np.clip(np.round(unit), 1e-9, 1.0 - 1e-9), unit)
    for x in np.asarray(prior.box_from_unit(jnp.asarray(unit))):
        matrix = fisher.hessian(target, today, x)
        assert np.all(np.isfinite(matrix)), dict(zip(prior.names, x, strict=True))


def test_flat_directions_have_no_error(target):
    low, high = target.coordinates.prior.box
    scale = high - low
    u = np.diag([100.0, 0.1, -4.0, 25.0, 0.0, 0.0, 400.0])
    # Coordinates 3 and 4 are measured in one combination only.
    u[3:5, 3:5] = 25.0 * np.array([[1.0, 1.0], [1.0, 1.0]])
    found = fisher.errors(target, u / scale[:, None] / scale)
    expected = [0.1, np.inf, np.inf, np.inf, np.inf, np.inf, 0.05]
    np.testing.assert_allclose(found.sigma / scale, expected)
    assert found.flat == 4


@pytest.fixture
def command(target, monkeypatch):
    """``lmltdm profile`` with a small pool."""
    monkeypatch.setattr(fitting, "build_target", lambda preset, model: target)
    small = functools.partial(profiling.ProfileSettings, particles=64, moves=2)
    monkeypatch.setattr(profiling, "ProfileSettings", small)
    return lambda *arguments: CliRunner().invoke(app, ["profile", *map(str, arguments)])


def test_files_of_the_command(command, target, tmp_path):
    line, plane = tmp_path / "new" / "line", tmp_path / "plane"
    result = command("--x", "m_zp", "--size", 8, "--output", line)
    assert result.exit_code == 0, result.output
    assert "68 % of m_zp: " in result.output and "unconstrained" in result.output
    result = command(
        *("--x", "m_zp", "--y", "lambda_phix", "--size", 5, "--output", plane),
        *("--projection", "cmb_s4"),
    )
    assert result.exit_code == 0, result.output
    assert "error, cmb_s4" in result.output
    for folder, shape in ((line, (8,)), (plane, (5, 5))):
        assert (folder / "profile.png").read_bytes()[:4] == b"\x89PNG"
        best = Parameters.from_toml(folder / "best_fit.toml")
        with xr.open_dataset(folder / "profile.nc", engine="h5netcdf") as data:
            assert data["delta_chi2"].shape == shape and data["delta_chi2"].min() > -1e-6
            assert data["profiled_g_x"].shape == shape and "profiled_m_zp" not in data
            assert float(data["best_m_zp"]) == pytest.approx(float(best.m_zp))
            assert data.attrs["seed"] == 0 and data.sizes["term"] == 4
            place = dict.fromkeys(data["delta_chi2"].dims, 0)
            names = [info.name for info in sampled_parameters()]
            cell = data.isel(place)
            point = {n: float(cell[n if n in place else f"profiled_{n}"]) for n in names}
    post = VectorPosterior(target.likelihood)
    assert post.chi2(np.array(list(point.values()))) == pytest.approx(float(cell["chi2"]), abs=1e-6)


def test_unusable_input_is_one_line_and_exit_code_2(command, tmp_path):
    def error(*arguments, output=tmp_path / "out"):
        result = command(*arguments, "--output", output)
        assert result.exit_code == 2, result.output
        (line,) = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
        assert not (tmp_path / "out").exists()
        return line

    assert "'m_y' is not a sampled parameter; known: m_zp, g_x" in error("--x", "m_y")
    assert "y: 'm_x' is x already" in error("--x", "m_x", "--y", "m_x")
    assert "size = 1 is outside its range (2 to 1000)" in error("--x", "m_x", "--size", 1)
    words = "unknown projection 'lhc'; known: belle2_50ab, cmb_s4, hl_lhc"
    assert words in error("--x", "m_x", "--projection", "lhc")
    occupied = tmp_path / "file"
    occupied.write_text("")
    assert "file: cannot be made" in error("--x", "m_x", output=occupied)


@pytest.mark.slow
def test_no_minimum_is_missed_in_200_cells(talk2024):
    """The plane of the README; 24 starts a cell from draws of every temperature, none of which the
    profile used."""
    target = fitting.build_target(talk2024)
    settings = profiling.ProfileSettings(NAMES, 50)
    found = profiling.run(target, settings, seed=0)
    other = profiling.run(target, dataclasses.replace(settings, size=2), seed=7)
    rng = np.random.default_rng(7)
    cells = rng.choice(2500, 200, replace=False)
    y = other.pool.y[rng.integers(len(other.pool.y), size=4800)]
    y = found.grid.projected(y, np.repeat(cells, 24))
    again = minimise(target, y, found.grid.free)
    gain = found.cells.chi2[cells] - again.chi2.reshape(200, 24).min(axis=1)
    print(f"largest gain {gain.max():.4f}, cells above 0.01: {np.sum(gain > 0.01)}")
    assert np.all(gain < 0.01)

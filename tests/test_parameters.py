"""Parameters: round trips, validation, batches, pytree behaviour, and the table behind them."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmltdm_jax import PARAMETER_TABLE, InputError, Likelihood, Parameters
from lmltdm_jax._precision import enable_compilation_cache, require_x64
from lmltdm_jax.parameters import PARAMETER_NAMES, in_domain, parameter_info, sampled_parameters

pytestmark = pytest.mark.fast

BENCHMARK = Parameters.benchmark()


def test_table_and_class_have_the_same_names_in_the_same_order():
    assert tuple(field.name for field in dataclasses.fields(Parameters)) == PARAMETER_NAMES


@pytest.mark.parametrize("info", PARAMETER_TABLE, ids=lambda info: info.name)
def test_table_rows_are_consistent(info):
    low, high = info.prior
    assert info.domain[0] < info.domain[1]
    assert low <= high
    assert info.contains(low) and info.contains(high)
    assert info.latex and info.description
    assert (low == high) == (info.scale == "fixed")
    if info.scale == "log":
        assert low > 0
    assert info.name in info.allowed
    for value in (math.nan, math.inf, -math.inf):
        assert not info.contains(value)


def test_benchmark_is_physical_and_inside_the_prior():
    BENCHMARK.validate()
    for info in sampled_parameters():
        assert info.prior[0] <= getattr(BENCHMARK, info.name) <= info.prior[1]


def test_dict_round_trip_and_default_charge():
    values = BENCHMARK.to_dict()
    assert Parameters.from_dict(values) == BENCHMARK
    del values["q_x"]
    assert Parameters.from_dict(values).q_x == 1.0


def test_toml_round_trip_is_bitwise(tmp_path, prior_points):
    drawn = prior_points(1, seed=1)
    point = Parameters(*(float(getattr(drawn, name)[0]) for name in PARAMETER_NAMES))
    path = tmp_path / "point.toml"
    point.to_toml(path)
    assert Parameters.from_toml(path) == point
    # A table at the top level reads the same.
    path.write_text(path.read_text().replace("[parameters]", ""))
    assert Parameters.from_toml(path) == point


def test_vector_round_trip_single_and_batched(prior_points):
    batch = prior_points(5, seed=2)
    assert batch.to_vector().shape == (5, len(PARAMETER_NAMES))
    back = Parameters.from_vector(batch.to_vector())
    for name in PARAMETER_NAMES:
        np.testing.assert_array_equal(getattr(back, name), getattr(batch, name))
    assert BENCHMARK.to_vector().dtype == jnp.float64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"m_x": -1.0}, r"m_x = -1 is outside its range \(allowed: 0 < m_x \[GeV\]\)"),
        ({"m_zp": 0.0}, "m_zp = 0 is outside"),
        ({"sin_theta": 1.0}, r"sin_theta = 1 is outside.*-1 < sin_theta < 1"),
        ({"q_phi": 0.0}, "any finite q_phi except 0"),
        ({"g_x": math.nan}, "g_x = nan is outside"),
        ({"m_h1": math.inf}, "m_h1 = inf is outside"),
        ({"m_h1": "heavy"}, "m_h1 = 'heavy' is not a number"),
    ],
)
def test_validation_names_parameter_value_and_range(change, message):
    with pytest.raises(InputError, match=message):
        Parameters.from_dict(BENCHMARK.to_dict() | change)


def test_validation_of_a_batch_names_the_index():
    with pytest.raises(InputError, match="m_x = -2 at index 1 is outside"):
        BENCHMARK.replace(m_x=np.array([0.1, -2.0, 0.3])).validate()


def test_unknown_and_missing_names():
    with pytest.raises(InputError, match="unknown parameter 'mass'; known: m_zp"):
        Parameters.from_dict(BENCHMARK.to_dict() | {"mass": 1.0})
    with pytest.raises(InputError, match="missing parameter 'm_x'"):
        Parameters.from_dict({k: v for k, v in BENCHMARK.to_dict().items() if k != "m_x"})
    with pytest.raises(InputError, match="unknown parameter 'mass'"):
        BENCHMARK.replace(mass=1.0)
    with pytest.raises(InputError, match="unknown parameter 'mass'"):
        parameter_info("mass")


def test_bad_files_and_vectors(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        Parameters.from_toml(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("m_x = ")
    with pytest.raises(InputError, match=r"bad\.toml: not valid TOML"):
        Parameters.from_toml(bad)
    bad.write_text("m_x = -1.0")
    with pytest.raises(InputError, match=r"bad\.toml: missing parameter"):
        Parameters.from_toml(bad)
    with pytest.raises(InputError, match="a batch of points"):
        BENCHMARK.replace(m_x=np.ones(2)).to_toml(tmp_path / "batch.toml")
    with pytest.raises(InputError, match="cannot be written"):
        BENCHMARK.to_toml(tmp_path / "no" / "folder.toml")
    with pytest.raises(InputError, match="8 entries"):
        Parameters.from_vector(jnp.ones(7))


def test_is_a_pytree_under_jit_vmap_and_grad(prior_points):
    def mass_ratio(p):
        return p.m_x / p.m_h1 * p.q_x

    assert len(jax.tree.leaves(BENCHMARK)) == len(PARAMETER_NAMES)
    assert float(jax.jit(mass_ratio)(BENCHMARK)) == pytest.approx(0.15)
    assert jax.vmap(mass_ratio)(prior_points(4, seed=3)).shape == (4,)
    gradient = jax.grad(mass_ratio)(BENCHMARK)
    assert float(gradient.m_x) == pytest.approx(0.5)
    assert float(gradient.g_x) == 0.0


def test_traced_domain_check_agrees_with_validate(prior_points):
    assert bool(jnp.all(jax.jit(in_domain)(prior_points(32, seed=4))))
    for change in ({"m_x": 0.0}, {"sin_theta": -1.0}, {"q_phi": 0.0}, {"q_x": math.nan}):
        assert not bool(in_domain(BENCHMARK.replace(**change)))


def test_without_float64_the_error_names_the_cure():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(RuntimeError, match=r'jax\.config\.update\("jax_enable_x64", True\)'):
            require_x64()
        with pytest.raises(RuntimeError, match="64-bit"):
            Likelihood.from_preset("talk2024")
    finally:
        jax.config.update("jax_enable_x64", True)
    require_x64()


def test_compilation_cache_is_optional(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    seconds = jax.config.jax_persistent_cache_min_compile_time_secs
    try:
        monkeypatch.setenv("LMLTDM_CACHE_DIR", "off")
        assert enable_compilation_cache() is None
        (tmp_path / "file").touch()
        monkeypatch.setenv("LMLTDM_CACHE_DIR", str(tmp_path / "file" / "below"))
        assert enable_compilation_cache() is None
        monkeypatch.delenv("LMLTDM_CACHE_DIR")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert enable_compilation_cache() == tmp_path / "lmltdm_jax"
        monkeypatch.setenv("LMLTDM_CACHE_DIR", str(tmp_path / "other"))
        assert enable_compilation_cache() == tmp_path / "lmltdm_jax"  # already given
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)

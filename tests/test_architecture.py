"""Rules the tree keeps: direction of imports, where terms and data are, length of files."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from lmltdm_jax import Likelihood, Term
from lmltdm_jax.likelihoods.forecast import Forecast, forecast_names
from lmltdm_jax.likelihoods.limit_curve import curve_entry, limit_curve_names
from lmltdm_jax.likelihoods.measurement import Measurement, measurement_table, measurement_terms
from lmltdm_jax.likelihoods.presets import load_preset, preset_names

pytestmark = pytest.mark.fast

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "lmltdm_jax"
MAX_LINES = 400

LAYERS = (
    {"errors", "constants", "numerics", "_precision"},
    {"dark_matter"},
    {"parameters", "inputs", "zp_only", "models"},
    {"model", "kinetic_mixing", "hadronic_widths"},
    {"widths"},
    {"observables"},
    {"likelihoods"},
    {"prediction"},
    {"inference"},
    {"cli"},
)
"""Lowest first. A module imports from its own layer and from those before it."""

NEEDS_NOTHING = {"constants", "numerics", "errors", "_precision"}
"""These import nothing of the package outside their own folder."""


def sources():
    """``{module name inside the package: path}`` of every shipped Python file."""
    found = {}
    for folder, prefix in ((PACKAGE, ()), (ROOT / "inference", ("inference",))):
        for path in folder.rglob("*.py"):
            parts = (*prefix, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(parts)] = path
    return found


def imported(name, path):
    """Names below ``lmltdm_jax`` that a file imports, as dotted strings."""
    package = name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ["lmltdm_jax", *package][: 1 + len(package) - (node.level - 1)]
            module = ".".join([*base, node.module or ""]) if node.level else node.module
            bare = module.rstrip(".") == "lmltdm_jax"
            modules = [f"lmltdm_jax.{a.name}" for a in node.names] if bare else [module]
        else:
            continue
        for module in modules:
            if module.startswith("lmltdm_jax."):
                yield module.removeprefix("lmltdm_jax.")


def layer(name):
    top = name.split(".")[0]
    return next((i for i, names in enumerate(LAYERS) if top in names), None)


MODULES = {n: p for n, p in sources().items() if n != "__init__" and not n.startswith("data.")}


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name):
    own = layer(name)
    assert own is not None, f"{name} has no layer: add it to LAYERS"
    for other in imported(name, MODULES[name]):
        if other == "__version__" or other.split(".")[0] == "data":
            continue
        assert layer(other) is not None, f"{name} imports {other}, which has no layer"
        assert layer(other) <= own, f"{name} imports {other}, which is above it"
        if name.split(".")[0] in NEEDS_NOTHING:
            assert other.split(".")[0] == name.split(".")[0], f"{name} must not import {other}"


def test_only_one_file_touches_the_configuration_of_jax():
    for name, path in MODULES.items():
        if name != "_precision":
            assert "jax.config" not in path.read_text(encoding="utf-8"), name


WAITING = {"Belle2ItaHta", "ForecastTerm", "Helium", "LimitCurveTerm", "TheoryTerm", "_Named"}
"""Belle II's rates as the alternative to their shape, helium from a fit made without a Z',
forecasts, curves of one's own, and shapes of others."""


def test_every_term_is_used_in_a_preset():
    used = {type(term) for name in preset_names() for term in load_preset(name).terms}
    for name in MODULES:
        if name.startswith("likelihoods.") and name not in ("likelihoods.base",):
            module = importlib.import_module(f"lmltdm_jax.{name.removesuffix('.__init__')}")
            for _, cls in inspect.getmembers(module, inspect.isclass):
                if issubclass(cls, Term) and cls.__module__ == module.__name__:
                    assert cls in used or cls.__name__ in WAITING, (
                        f"{cls.__name__} ({name}) is in no preset"
                    )


def test_names_of_terms_are_unique():
    for name in preset_names():
        terms = [term.name for term in Likelihood.from_preset(name).term_list]
        assert len(set(terms)) == len(terms)


MEASUREMENTS = [(file, key) for file in measurement_terms() for key in measurement_table(file)]


@pytest.mark.parametrize(("file", "key"), MEASUREMENTS)
def test_every_measurement_loads_with_its_provenance(file, key):
    entry = measurement_table(file)[key]
    required = {"quantity", "citation", "year", "confidence_level", "status", "unit"}
    assert required <= set(entry), required - set(entry)
    m = Measurement.load(file, key)
    assert m.quantity and m.citation and str(m)
    assert 1950 < m.year < 2100
    assert 0.5 < m.confidence_level < 1.0
    assert m.status in ("checked", "unverified")
    assert m.checked_against, "say what the number was compared with, or why it was not"
    assert (m.limit is None) != (m.value is None), "a value or a limit, not both"
    if m.value is not None:
        assert m.error_up is not None and m.error_up > 0
        assert m.error_down is not None and m.error_down > 0
    else:
        assert m.limit is not None and m.limit > 0


@pytest.mark.parametrize("name", limit_curve_names())
def test_every_curve_has_its_provenance_and_is_used(name):
    entry = curve_entry(name)
    assert entry["quantity"] and entry["citation"] and entry["checked_against"]
    assert 1950 < entry["year"] < 2100
    assert entry["status"] in ("checked", "unverified")
    assert any(name == term.name for p in preset_names() for term in load_preset(p).terms)


@pytest.mark.parametrize("name", forecast_names())
def test_every_forecast_has_its_provenance_and_replaces_terms_of_presets(name):
    forecast = Forecast.load(name)
    entry = forecast.entry
    assert entry["quantity"] and entry["citation"] and entry["checked_against"]
    assert entry["status"] in ("checked", "unverified") and ("error" in entry) != ("limit" in entry)
    assert all(forecast.replaced(Likelihood.from_preset(p)) for p in preset_names())


@pytest.mark.parametrize("folder", ["lmltdm_jax", "inference", "tests", "scripts", "benchmarks"])
def test_no_file_is_too_long(folder):
    for path in (ROOT / folder).rglob("*.py"):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= MAX_LINES, f"{path.relative_to(ROOT)} has {lines} lines"


def test_every_folder_of_python_is_listed_for_the_wheel():
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for path in PACKAGE.rglob("*.py")}
    assert set(listed) == {".".join(f.parts) for f in folders} | {"lmltdm_jax.inference"}

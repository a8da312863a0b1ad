"""The wheel holds everything, the editable install and the bare checkout import everything."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
IMPORT_ALL = (
    "import lmltdm_jax, lmltdm_jax.cli, lmltdm_jax.inference.batch as b; "
    "lmltdm_jax.Likelihood.from_preset('talk2024'); print(b.__file__)"
)
IGNORED = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "runs")


def run(arguments, cwd, path=None):
    """Output of a command; the checkout is on the path only if ``path`` says so."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    result = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def build_options():
    """Use the setuptools that is there, if it makes wheels by itself; else pip fetches one."""
    try:
        major, minor = map(int, version("setuptools").split(".")[:2])
    except PackageNotFoundError:
        return []
    return ["--no-build-isolation"] if (major, minor) >= (70, 1) else []


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy to build in: builds leave folders behind."""
    return shutil.copytree(ROOT, tmp_path_factory.mktemp("copy") / "repo", ignore=IGNORED)


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    """The wheel."""
    target = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", ".", "-q", "--no-deps", *build_options()]
    run([*pip, "-w", target], checkout)
    (path,) = target.glob("*.whl")
    return path


def test_wheel_holds_code_data_and_type_marker(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {f"lmltdm_jax/inference/{p.name}" for p in (ROOT / "inference").glob("*.py")}
    for path in (ROOT / "lmltdm_jax").rglob("*"):
        if path.suffix in (".py", ".toml", ".csv", ".npz", ".json") or path.name == "py.typed":
            expected.add(str(path.relative_to(ROOT)))
    assert not expected - names
    assert not [n for n in names if n.startswith(("inference/", "tests/"))]
    text = zipfile.ZipFile(wheel).read(next(n for n in names if n.endswith("entry_points.txt")))
    assert b"lmltdm = lmltdm_jax.cli:main" in text


def test_wheel_imports_outside_and_inside_the_checkout(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    for cwd in (tmp_path, ROOT):
        file = run([sys.executable, "-P", "-c", IMPORT_ALL], cwd, tmp_path / "site").strip()
        assert Path(file).is_relative_to(tmp_path / "site")


def test_bare_checkout_imports(checkout, tmp_path):
    file = run([sys.executable, "-c", IMPORT_ALL], tmp_path, checkout).strip()
    assert Path(file) == checkout / "inference" / "batch.py"


def test_editable_install_imports(checkout, tmp_path):
    """Installed into a folder of its own, so that this environment stays as it is."""
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", *build_options()]
    run([*pip, "--target", site, "-e", checkout], tmp_path)
    # Without the finder of the environment's own editable install, which comes first.
    code = (
        "import site, sys; own = '__editable__'; "
        "[sys.modules.pop(m) for m in list(sys.modules) if m.startswith(own)]; "
        "sys.meta_path[:] = [f for f in sys.meta_path if own not in str(f)]; "
        f"sys.path.insert(0, {str(site)!r}); site.addsitedir({str(site)!r}); {IMPORT_ALL}"
    )
    file = run([sys.executable, "-c", code], tmp_path).strip()
    assert Path(file).resolve() == (checkout / "inference" / "batch.py").resolve()

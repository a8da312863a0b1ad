"""Shared fixtures: points of the prior, and the likelihood of each preset."""

import os
from importlib.metadata import version

import jax
import numpy as np
import pytest

# Most programs of the tests run once: compile them without LLVM's optimisation, 40 % faster, and
# with the emitters that the package takes for its own programs (numerics/compiling.py), twice as
# fast. An option that XLA does not know would end the process. XLA_FLAGS="" tests what users run.
if version("jaxlib").startswith("0.10."):
    flags = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"
    os.environ.setdefault("XLA_FLAGS", flags)
# The command line must not write to the home of whoever runs the tests; a cache that JAX has been
# given (JAX_COMPILATION_CACHE_DIR, as CI does) stays in use.
os.environ.setdefault("LMLTDM_CACHE_DIR", "off")


_LONGEST = (
    "readme_main_job",
    "fit",
    "likelihood",
    "readme",
    "gradients",
    "profile",
    "notebooks",
    "charts",
    "learn",
)


def pytest_collection_modifyitems(items):
    # The files that take minutes go first, so that two workers end together.
    order = {f"test_{name}": number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(autouse=True, scope="module")
def _drop_compiled_programs():
    """Without this a worker of the whole suite ends with 8 GB of programs it runs no more."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def prior_points():
    """``prior_points(n, seed)``: Parameters of n draws from the prior box of the table."""
    from lmltdm_jax.parameters import PARAMETER_TABLE, Parameters

    def draw(n: int, seed: int) -> Parameters:
        rng = np.random.default_rng(seed)
        columns = {}
        for info in PARAMETER_TABLE:
            u, (low, high) = rng.uniform(size=n), info.prior
            log = info.scale == "log"
            columns[info.name] = low * (high / low) ** u if log else low + u * (high - low)
        return Parameters(**columns)

    return draw


@pytest.fixture(scope="session")
def talk2024():
    """Likelihood of the preset talk2024."""
    from lmltdm_jax import Likelihood

    return Likelihood.from_preset("talk2024")


@pytest.fixture(scope="session")
def current():
    """Likelihood of the preset current."""
    from lmltdm_jax import Likelihood

    return Likelihood.from_preset("current")

"""A measured number with its provenance, read from ``data/measurements/<term>.toml``."""

from __future__ import annotations

import dataclasses
import functools
import tomllib
from importlib import resources

import jax

from lmltdm_jax.errors import InputError


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Measurement:
    """One measurement (``value`` with errors) or one upper limit (``limit`` at a CL).

    Numbers are in ``unit``; ``confidence_level`` is that of the error or of the limit.
    ``data_sets`` names the observations that the number was made from, where another number of the
    package was made from them too: one likelihood may use each only once.
    """

    key: str
    quantity: str
    unit: str
    citation: str
    year: int
    confidence_level: float
    status: str
    value: float | None = None
    error_up: float | None = None
    error_down: float | None = None
    limit: float | None = None
    arxiv: str = ""
    checked_against: str = ""
    note: str = ""
    data_sets: tuple[str, ...] = ()

    @classmethod
    def load(cls, term: str, key: str) -> Measurement:
        """Entry ``key`` of ``data/measurements/<term>.toml``."""
        table = measurement_table(term)
        if key not in table:
            raise InputError(f"{term}.toml has no measurement '{key}'; known: {', '.join(table)}")
        entry = dict(table[key])
        error = entry.pop("error", None)
        if error is not None:
            entry["error_up"] = entry["error_down"] = error
        entry["data_sets"] = tuple(entry.get("data_sets", ()))
        known = {field.name for field in dataclasses.fields(cls)}
        return cls(key=key, **{name: entry[name] for name in entry if name in known})

    def __str__(self) -> str:
        if self.limit is not None:
            return f"< {self.limit:.4g} ({100 * self.confidence_level:g} % CL)"
        if self.error_up == self.error_down:
            return f"{self.value:.4g} +- {self.error_up:.2g}"
        return f"{self.value:.4g} +{self.error_up:.2g} -{self.error_down:.2g}"


@functools.cache
def measurement_table(term: str) -> dict[str, dict]:
    """Everything known about the measurements one term can use."""
    path = resources.files("lmltdm_jax.data") / "measurements" / f"{term}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def measurement_terms() -> list[str]:
    """Names of the shipped measurement files."""
    folder = resources.files("lmltdm_jax.data") / "measurements"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith("toml"))

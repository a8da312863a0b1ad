"""What an experiment to come would add, were today's best fit true: one number with its error.

The Asimov term: its value is the prediction at the best fit, its error the forecast's. Data:
``data/projections/<name>.toml``, with the terms of today that it replaces.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from importlib import resources
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from lmltdm_jax.errors import InputError
from lmltdm_jax.likelihoods.base import Context, GaussianTerm, limit_quantile
from lmltdm_jax.likelihoods.measurement import Measurement
from lmltdm_jax.likelihoods.total import Likelihood


class ForecastTerm(GaussianTerm):
    """Gaussian in one observable."""

    measurement: Measurement
    observable: str = eqx.field(static=True)
    theory: str = eqx.field(static=True)
    """observable with the theory error, or nothing"""
    name: str = eqx.field(static=True)

    def prediction(self, context: Context) -> jax.Array:
        return getattr(context.observables, self.observable)

    def theory_error(self, context: Context) -> jax.Array:
        return getattr(context.observables, self.theory) if self.theory else jnp.zeros(())


@dataclasses.dataclass(frozen=True)
class Forecast:
    """One file of ``data/projections``."""

    name: str
    entry: Mapping[str, Any]

    @classmethod
    def load(cls, name: str) -> Forecast:
        """By the name of its file; raises InputError listing the known ones."""
        if name not in forecast_names():
            raise InputError(f"unknown projection '{name}'; known: {', '.join(forecast_names())}")
        path = resources.files("lmltdm_jax.data") / "projections" / f"{name}.toml"
        return cls(name, tomllib.loads(path.read_text(encoding="utf-8")))

    def replaced(self, likelihood: Likelihood) -> list[str]:
        """Terms of a likelihood that this forecast is instead of."""
        return [t.name for t in likelihood.term_list if t.name in self.entry["replaces"]]

    def term(self, observables: Mapping[str, float]) -> ForecastTerm:
        """The Asimov term, from the observables at the point taken for true."""
        entry = self.entry
        if "limit" in entry:
            error = entry["limit"] / limit_quantile(entry["confidence_level"])
        else:
            error = entry["error"] * observables.get(entry.get("relative_to", ""), 1.0)
        fields = {field.name for field in dataclasses.fields(Measurement)} - {"limit"}
        known = {name: entry[name] for name in entry if name in fields}
        value = float(observables[entry["observable"]])
        data = known | {"value": value, "error_up": float(error), "error_down": float(error)}
        return ForecastTerm(
            measurement=Measurement(key=self.name, **data),
            observable=entry["observable"],
            theory=entry.get("theory_error", ""),
            name=f"forecast_{self.name}",
        )


def forecast_names() -> list[str]:
    """Names that :meth:`Forecast.load` accepts."""
    folder = resources.files("lmltdm_jax.data") / "projections"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith("toml"))

"""What a profile leaves: ``profile.nc``, ``best_fit.toml``, and intervals of one parameter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from lmltdm_jax import __version__
from lmltdm_jax.errors import InputError
from lmltdm_jax.parameters import ParameterSet

from .fisher import Errors
from .profile import Profile

ONE_PARAMETER = {"68 %": 1.0, "95 %": 4.0}
"""Delta chi2 of one and two standard deviations of one parameter (68.3 and 95.4 %)."""

Interval = tuple[float, float]


def best_parameters(profile: Profile) -> ParameterSet:
    """The best fit as a point of the model."""
    found = profile.target.coordinates.values(profile.best.y[0])
    prior = profile.target.coordinates.prior
    values = dict(prior.fixed) | {i.name: float(found[i.name]) for i in prior.parameters}
    return prior.model(**values)


def dataset(profile: Profile, errors: dict[str, Errors]) -> xr.Dataset:
    """The grid: chi2, every profiled parameter and nuisance; the best fit, its pulls and errors.

    ``sigma`` is in box coordinates (log10 of a parameter with a log prior), inf if unconstrained.
    """
    grid, cells = profile.grid, profile.cells
    on_grid = profile.target.coordinates.values(cells.y.reshape(*grid.shape, -1))
    variables = {
        "chi2": cells.chi2.reshape(grid.shape),
        "delta_chi2": profile.delta_chi2,
        "converged": cells.converged.reshape(grid.shape),
    }
    variables |= {f"profiled_{k}": v for k, v in on_grid.items() if k not in grid.names}
    terms = [term.name for term in profile.target.likelihood.term_list]
    at_best = profile.target.coordinates.values(profile.best.y[0])
    return xr.Dataset(
        {name: (grid.names, value) for name, value in variables.items()}
        | {f"best_{name}": value for name, value in at_best.items()}
        | {
            "best_chi2": profile.best.chi2[0],
            "pull": ("term", [profile.columns[f"pull_{name}"] for name in terms]),
            "sigma": (("data", "parameter"), [each.sigma for each in errors.values()]),
        },
        coords={name: grid.values(i) for i, name in enumerate(grid.names)}
        | {"term": terms, "data": list(errors), "parameter": list(grid.prior.names)},
        attrs={
            "preset": profile.target.likelihood.name,
            "model": grid.prior.model.model,
            "seed": profile.seed,
            "version": __version__,
            "sweeps": profile.sweeps,
            "unsettled_cells": profile.unsettled,
        },
    )


def write(profile: Profile, errors: dict[str, Errors], folder: Path) -> list[Path]:
    """``profile.nc`` and ``best_fit.toml`` in ``folder``; raises InputError if that cannot be."""
    table, best = folder / "profile.nc", folder / "best_fit.toml"
    try:
        dataset(profile, errors).to_netcdf(table, engine="h5netcdf")
    except OSError as error:
        raise InputError(f"{table}: cannot be written ({error.strerror})") from None
    best_parameters(profile).to_toml(best)
    return [table, best]


def intervals(profile: Profile, rise: float) -> list[Interval]:
    """Physical ranges of the one scanned parameter with Delta chi2 below ``rise``.

    Linear in chi2 between the centres of cells, on the scale of the grid. One that reaches the
    first or last centre ends at the prior's range.
    """
    grid = profile.grid
    low, high = (ends[grid.axes[0]] for ends in grid.prior.box)
    x = np.array([low, *grid.centres(0), high])
    excess = profile.delta_chi2 - rise
    excess = np.array([excess[0], *excess, excess[-1]])
    inside = excess < 0.0
    crossings = np.flatnonzero(inside[1:] != inside[:-1])
    at = x[crossings] - excess[crossings] * np.diff(x)[crossings] / np.diff(excess)[crossings]
    ends = np.array([*[low] * int(inside[0]), *at, *[high] * int(inside[-1])])
    if grid.prior.is_log[grid.axes[0]]:
        ends = 10.0**ends
    return [(float(a), float(b)) for a, b in ends.reshape(-1, 2)]

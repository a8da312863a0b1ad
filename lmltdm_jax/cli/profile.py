"""``lmltdm profile``: profile likelihood of one or two parameters; grid, best fit and figure."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lmltdm_jax.cli._console import stdout_console
from lmltdm_jax.cli._options import Folder, Model, Preset, Seed
from lmltdm_jax.cli._progress import Display, made_folder

if TYPE_CHECKING:
    from typing import Any

SIZES = {1: 100, 2: 50}
"""Cells along each axis, unless given."""
STARTS = {1: 20, 2: 1}
"""Long minimisations in each cell before its neighbours help: a line has few of them."""


def profile(
    x: Annotated[str, typer.Option("--x", help="Parameter along x; see lmltdm parameters.")],
    output: Folder,
    y: Annotated[str | None, typer.Option("--y", help="Parameter along y, for a plane.")] = None,
    preset: Preset = "talk2024",
    model: Model = "dark-higgs",
    seed: Seed = 0,
    size: Annotated[
        int | None, typer.Option(help="Cells along each axis; default 100, in a plane 50.")
    ] = None,
    projection: Annotated[
        list[str] | None,
        typer.Option(help="Forecast for the errors: belle2_50ab, cmb_s4 or hl_lhc; repeatable."),
    ] = None,
) -> None:
    """Minimise chi2 over every other parameter and nuisance in each cell of one or two parameters.

    Leaves profile.nc, best_fit.toml and profile.png.
    Ctrl-C keeps what was done; the same command again goes on from there.
    """
    from lmltdm_jax.inference import (  # pyright: ignore[reportMissingImports]
        fisher,
        profile_figure,
        profile_grid,
        profile_output,
    )
    from lmltdm_jax.inference import fit as fitting  # pyright: ignore[reportMissingImports]
    from lmltdm_jax.inference import profile as profiling  # pyright: ignore[reportMissingImports]
    from lmltdm_jax.likelihoods.forecast import Forecast
    from lmltdm_jax.models import find_model

    forecasts = [Forecast.load(name) for name in dict.fromkeys(projection or ())]
    names = (x,) if y is None else (x, y)
    cells = SIZES[len(names)] if size is None else size
    settings = profiling.ProfileSettings(names, cells, starts=STARTS[len(names)])
    target = fitting.build_target(preset, model=find_model(model))
    # Before the folder is made.
    profile_grid.Grid.over(target.coordinates.prior, names, settings.size)
    target = profile_grid.scannable(target, names)
    made_folder(output)
    hessian = (lambda: None) if forecasts else partial(fisher.compile_errors, target)
    with Display() as display:
        try:
            found = profiling.run(target, settings, seed, output, display, hessian)
            display("errors", 0.0, "the Hessian")
            errors = fisher.at_best_fit(target, found.best.y[0], found.columns, forecasts)
        except KeyboardInterrupt:
            display.close()
            typer.echo(f"interrupted; the same command goes on from {output}", err=True)
            raise
    paths = profile_output.write(found, errors, output)
    paths.append(profile_figure.write(found, errors, output))
    console = stdout_console()
    console.print(_best_fit(found, errors))
    console.print(_pulls(found))
    if y is None:
        for label, rise in profile_output.ONE_PARAMETER.items():
            ranges = profile_output.intervals(found, rise)
            text = ", ".join(f"{low:.4g} to {high:.4g}" for low, high in ranges)
            console.print(f"{label} of {x}: {text}", soft_wrap=True)
    console.print(
        f"chi2 = {found.best.chi2[0]:.3f}; {len(found.cells.chi2)} cells, {found.sweeps} sweeps, "
        f"{found.unsettled} cells not settled, {found.wall_s:.0f} s"
    )
    console.print("written: " + ", ".join(str(path) for path in paths), soft_wrap=True)


def _best_fit(found: Any, errors: dict[str, Any]) -> Table:
    """One standard deviation: a factor where the prior is logarithmic."""
    prior = found.grid.prior
    units = {info.name: info.unit for info in prior.parameters}
    table = Table(title=f"Best fit of {found.target.likelihood.name}, model {prior.model.model}")
    table.add_column("parameter")
    table.add_column("unit")
    table.add_column("value", justify="right")
    for name in errors:
        table.add_column("error" if name == "now" else f"error, {name}", justify="right")
    best = found.target.coordinates.values(found.best.y[0])
    for i, (name, value) in enumerate(best.items()):
        shown = [_error(each.sigma[i], prior.is_log[i]) for each in errors.values()]
        table.add_row(name, units.get(name, ""), f"{value:.4g}", *shown)
    return table


def _error(sigma: float, is_log: bool) -> str:
    if sigma == float("inf"):
        return "unconstrained"
    return f"×/÷ {10.0**sigma:.3g}" if is_log else f"± {sigma:.3g}"


def _pulls(found: Any) -> Table:
    table = Table(title="Terms at the best fit")
    table.add_column("term")
    table.add_column("data")
    table.add_column("pull", justify="right")
    for term in found.target.likelihood.term_list:
        table.add_row(
            term.name, str(term.measurement), f"{found.columns[f'pull_{term.name}']:+.2f}"
        )
    return table

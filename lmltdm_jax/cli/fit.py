"""``lmltdm fit``: sample the posterior of a preset; draws, summary, figures and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lmltdm_jax.cli._console import stdout_console
from lmltdm_jax.cli._progress import Display, made_folder

if TYPE_CHECKING:
    from typing import Any

NOT_CONVERGED = 3


def fit(
    output: Annotated[Path, typer.Option(help="Folder of the results; made if missing.")],
    preset: Annotated[str, typer.Option(help="Analysis: talk2024 or current.")] = "talk2024",
    model: Annotated[
        str, typer.Option(help="Model: dark-higgs, zp-scalar or zp-fermion.")
    ] = "dark-higgs",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same draws.")] = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 if the chains have not converged.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small run, to see everything work; not converged.")
    ] = False,
) -> None:
    """Fit a model to a preset with NUTS: posterior.nc, summary.json, report.md and three figures.

    Ctrl-C keeps what was sampled and writes it out; the same command again goes on from there.
    """
    from lmltdm_jax.inference import (  # pyright: ignore[reportMissingImports]
        diagnostics,
        figures,
        report,
    )
    from lmltdm_jax.inference import fit as fitting  # pyright: ignore[reportMissingImports]
    from lmltdm_jax.models import find_model

    chosen = find_model(model)
    target = fitting.build_target(preset, model=chosen)
    made_folder(output)
    with Display() as display:
        settings = fitting.QUICK if quick else fitting.FULL
        try:
            result = fitting.run(target, settings, seed, output, display)
        except KeyboardInterrupt:
            display.close()
            typer.echo(f"interrupted; the same command goes on from {output}", err=True)
            raise
    summary = diagnostics.write(result, output)
    paths = figures.write(result, output)
    paths.append(report.write(result, summary, output))
    console = stdout_console()
    console.print(_table(summary, {info.name: info.unit for info in chosen.table}))
    console.print(
        f"{summary['n_samples']} draws of {summary['chains']} chains, "
        f"{summary['divergences']} divergent, ln Z = {summary['log_evidence']:.2f} ± "
        f"{summary['log_evidence_error']:.2f}, "
        f"{summary['wall_s']:.0f} s"
    )
    colour = "green" if summary["converged"] else "bold red"
    console.print(f"[{colour}]{report.verdict(summary)}[/{colour}]")
    files = [output / "posterior.nc", output / "summary.json", *paths]
    console.print("written: " + ", ".join(str(path) for path in files), soft_wrap=True)
    if strict and not summary["converged"]:
        raise typer.Exit(NOT_CONVERGED)


def _table(summary: dict[str, Any], units: dict[str, str]) -> Table:
    table = Table(title=f"Posterior of {summary['likelihood']}, model {summary['model']}")
    table.add_column("parameter")
    table.add_column("unit")
    for heading in ("mean", "sd", "5 %", "median", "95 %", "ess bulk", "ess tail", "r_hat"):
        table.add_column(heading, justify="right")
    for name, row in summary["parameters"].items():
        numbers = [f"{row[key]:.4g}" for key in ("mean", "sd", "q05", "q50", "q95")]
        quality = [f"{row['ess_bulk']:.0f}", f"{row['ess_tail']:.0f}", f"{row['r_hat']:.3f}"]
        table.add_row(name, units.get(name, ""), *numbers, *quality)
    return table

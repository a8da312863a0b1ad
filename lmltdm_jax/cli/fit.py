"""``lmltdm fit``: sample the posterior of a preset; draws, summary, figures and a report."""

from __future__ import annotations

from typing import Annotated

import typer

from lmltdm_jax.cli._options import Folder, Model, Preset, Seed
from lmltdm_jax.cli._progress import Display, made_folder
from lmltdm_jax.cli._results import write_and_show

NOT_CONVERGED = 3


def fit(
    output: Folder,
    preset: Preset = "talk2024",
    model: Model = "dark-higgs",
    seed: Seed = 0,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 if the chains have not converged.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small run, to see everything work; not converged.")
    ] = False,
) -> None:
    """Fit a model to a preset with NUTS: posterior.nc, summary.json, report.md, figures, chains.

    Ctrl-C keeps what was sampled and writes it out; the same command again goes on from there.
    """
    from lmltdm_jax.inference import fit as fitting  # pyright: ignore[reportMissingImports]
    from lmltdm_jax.inference import posterior  # pyright: ignore[reportMissingImports]
    from lmltdm_jax.models import find_model

    target = fitting.build_target(preset, model=find_model(model))
    made_folder(output)
    with Display() as display:
        settings = fitting.QUICK if quick else fitting.FULL
        try:
            result = fitting.run(target, settings, seed, output, display)
        except KeyboardInterrupt:
            display.close()
            typer.echo(f"interrupted; the same command goes on from {output}", err=True)
            raise
    sampled = posterior.Posterior.of(result)
    posterior.write(sampled, output)
    converged = write_and_show(sampled, output)
    if strict and not converged:
        raise typer.Exit(NOT_CONVERGED)

"""``lmltdm compare``: evidence, best fit and pulls of every model on one preset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lmltdm_jax.cli._console import stdout_console
from lmltdm_jax.cli._options import Folder, Preset, Seed
from lmltdm_jax.cli._progress import Display, made_folder

if TYPE_CHECKING:
    from lmltdm_jax.inference.compare import Solution  # pyright: ignore[reportMissingImports]


def compare(
    output: Folder,
    preset: Preset = "talk2024",
    seed: Seed = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Small sizes: evidences to some tenths.")
    ] = False,
) -> None:
    """Compare the models dark-higgs, zp-scalar, zp-fermion and the Standard Model on a preset.

    ln Z, best-fit chi2 and pulls of each kind of solution; also in compare.json and compare.png.
    After Ctrl-C the same command goes on.
    """
    from lmltdm_jax.inference import compare as comparing  # pyright: ignore[reportMissingImports]
    from lmltdm_jax.inference import compare_figure  # pyright: ignore[reportMissingImports]
    from lmltdm_jax.inference import fit as fitting  # pyright: ignore[reportMissingImports]
    from lmltdm_jax.likelihoods.total import Likelihood

    likelihood = Likelihood.from_preset(preset)
    made_folder(output)
    settings = fitting.QUICK if quick else fitting.FULL
    with Display() as display:

        def progress(model: str):
            return lambda phase, share, text: display(phase, share, f"{model}: {text}")

        found = list(comparing.compare(likelihood, settings, seed, output, progress))
    paths = [comparing.write(found, output), compare_figure.write(found, preset, output)]
    console = stdout_console()
    console.print(_evidences(found, preset))
    fitted = [s for s in found if s.best]
    best = [s.best for s in fitted]
    console.print(_across("Best fits (GeV)", "parameter", fitted, best, ".3g"))
    pulls = [s.pulls for s in found]
    console.print(_across("Pulls at the best fits", "term", found, pulls, "+.2f"))
    console.print("written: " + ", ".join(map(str, paths)), soft_wrap=True)


def _evidences(found: list[Solution], preset: str) -> Table:
    table = Table(title=f"Models on {preset}")
    for heading in ("model", "kind of solution"):
        table.add_column(heading, no_wrap=True)
    for heading in ("ln Z", "share", "chi2", "without relic"):
        table.add_column(heading, justify="right")
    for s in found:
        evidence = "too few draws" if s.share is not None else ""
        if s.log_z is not None:
            evidence = f"{s.log_z:.3f} ± {s.log_z_error:.3f}"
        share = "" if s.share is None else f"{s.share:.1%}"
        chi2 = "" if s.share is None else f"{s.chi2:.2f}"
        table.add_row(s.model, s.kind, evidence, share, chi2, f"{s.chi2_without_relic:.2f}")
    return table


def _across(
    title: str, first: str, found: list[Solution], columns: list[dict[str, float]], style: str
) -> Table:
    """One column of numbers a solution; names down."""
    table = Table(title=title)
    table.add_column(first, no_wrap=True)
    for s in found:
        table.add_column(f"{s.model}\n{s.kind}", justify="right")
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(f"{c[name]:{style}}" if name in c else "" for c in columns))
    return table

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
    console.print(_pulls(found))
    console.print("written: " + ", ".join(map(str, paths)), soft_wrap=True)


def _evidences(found: list[Solution], preset: str) -> Table:
    table = Table(title=f"Models on {preset}")
    table.add_column("model")
    table.add_column("kind of solution")
    for heading in ("ln Z", "share", "chi2", "without relic", "best fit"):
        table.add_column(heading, justify="left" if heading == "best fit" else "right")
    for s in found:
        evidence = "too few draws" if s.share is not None else ""
        if s.log_z is not None:
            evidence = f"{s.log_z:.2f} ± {s.log_z_error:.2f}"
        share = "" if s.share is None else f"{s.share:.1%}"
        best = ", ".join(f"{name} = {value:.3g}" for name, value in s.best.items())
        chi2 = "" if s.share is None else f"{s.chi2:.2f}"
        table.add_row(s.model, s.kind, evidence, share, chi2, f"{s.chi2_without_relic:.2f}", best)
    return table


def _pulls(found: list[Solution]) -> Table:
    table = Table(title="Pulls at the best fits")
    table.add_column("term")
    for s in found:
        table.add_column(f"{s.model}\n{s.kind}", justify="right")
    terms = dict.fromkeys(name for s in found for name in s.pulls)
    for term in terms:
        cells = [f"{s.pulls[term]:+.2f}" if term in s.pulls else "" for s in found]
        table.add_row(term, *cells)
    return table

"""``lmltdm plot NAME``: figures that need no fit, one subcommand each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lmltdm_jax.cli._console import stdout_console
from lmltdm_jax.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

plot = typer.Typer(no_args_is_help=True, help="Figures that need no fit.")

Output = Annotated[Path, typer.Option(help="The figure: .png, .pdf or .svg.")]
_FORMATS = (".pdf", ".png", ".svg")


def check_output(path: Path) -> None:
    """Before any compute; raises InputError naming the file and what would do."""
    if path.suffix.lower() not in _FORMATS:
        raise InputError(f"{path}: a figure ends in {', '.join(_FORMATS)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: no folder {path.parent}")


def save(figure: Figure, path: Path) -> None:
    """Write the figure and say where; raises InputError if it cannot be written."""
    try:
        figure.savefig(path, dpi=130)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    stdout_console().print(f"written: {path}", soft_wrap=True)


@plot.command("belle2")
def belle2(output: Output = Path("belle2.png")) -> None:
    """Belle II's B+ -> K+ nu nu data with the best two- and three-body signals."""
    from lmltdm_jax.inference import (  # pyright: ignore[reportMissingImports]
        belle2_figure,
        belle2_hypotheses,
    )
    from lmltdm_jax.inputs import StandardModel
    from lmltdm_jax.likelihoods.belle2_shape import Belle2Shape

    check_output(output)
    term = Belle2Shape.load()
    sm = StandardModel.load("pdg2026")
    steps = len(belle2_hypotheses.families(sm))
    fits = list(
        track(
            belle2_hypotheses.best_fits(term, sm),
            "fitting hypotheses",
            steps,
            console=Console(stderr=True),
        )
    )
    table = Table(title="B+ -> K+ nu nu at Belle II: Standard Model plus ...")
    for heading in ("hypothesis", "-2 ln L", "less than SM", "dof", "p", "best values"):
        table.add_column(
            heading, justify="left" if heading.startswith(("hyp", "best")) else "right"
        )
    for h in fits:
        values = ", ".join(f"{name} = {value:.3g}" for name, value in h.values.items())
        gain = f"{fits[0].chi2 - h.chi2:.2f}"
        table.add_row(
            h.name, f"{h.chi2:.2f}", gain, str(h.degrees_of_freedom), f"{h.p_value:.2f}", values
        )
    stdout_console().print(table)
    save(belle2_figure.belle2(term.model, fits), output)


@plot.command("gx-mzp")
def gx_mzp(output: Output = Path("gx_mzp.png")) -> None:
    """The plane (m_zp, g_x): g-2 and N_eff bands, every search for the Z', the benchmark."""
    check_output(output)
    from lmltdm_jax.inference import gx_mzp_figure  # pyright: ignore[reportMissingImports]

    with Console(stderr=True).status("evaluating the plane"):
        figure = gx_mzp_figure.gx_mzp()
    save(figure, output)


@plot.command("sintheta-mh1")
def sintheta_mh1(output: Output = Path("sintheta_mh1.png")) -> None:
    """The plane (m_h1, sin theta): Belle II's band, K, K* and Higgs-invisible exclusions."""
    check_output(output)
    from lmltdm_jax.inference import sintheta_mh1_figure  # pyright: ignore[reportMissingImports]

    save(sintheta_mh1_figure.sintheta_mh1(), output)


@plot.command("neff")
def neff(output: Output = Path("neff.png")) -> None:
    """Delta N_eff over (m_zp, g_x) with the Hubble-tension range and muon g-2 of 2023 and 2025."""
    check_output(output)
    from lmltdm_jax.inference import neff_figure  # pyright: ignore[reportMissingImports]

    with Console(stderr=True).status("evaluating the plane"):
        plane = neff_figure.neff_plane()
        figure = neff_figure.neff(plane)
    save(figure, output)


@plot.command("relic")
def relic(output: Output = Path("relic.png")) -> None:
    """lambda_PhiX of the relic density against m_X and m_H1, both branches, with exclusions."""
    check_output(output)
    from lmltdm_jax.inference import relic_figure  # pyright: ignore[reportMissingImports]

    with Console(stderr=True).status("solving for the coupling"):
        figure = relic_figure.relic()
    save(figure, output)

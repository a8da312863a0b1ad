"""``lmltdm report``: everything a fit shows, made again from its ``posterior.nc``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmltdm_jax.cli._results import write_and_show


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a fit (its --output).")],
) -> None:
    """Rebuild summary.json, report.md, figures and chains of a fit, and show its table.

    Nothing is sampled: all comes from RUN/posterior.nc, of an interrupted fit, too.
    """
    from lmltdm_jax.inference import posterior  # pyright: ignore[reportMissingImports]

    write_and_show(posterior.read(run), run)

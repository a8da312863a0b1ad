"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Preset = Annotated[str, typer.Option(help="Analysis: talk2024 or current.")]
Model = Annotated[str, typer.Option(help="Model: dark-higgs, zp-scalar or zp-fermion.")]
Folder = Annotated[Path, typer.Option(help="Folder of the results; made if missing.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same numbers.")]

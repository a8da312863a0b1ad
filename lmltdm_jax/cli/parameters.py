"""``lmltdm parameters``: the parameter table of a model, as priors, fits and files read it."""

from __future__ import annotations

from rich.table import Table

from lmltdm_jax.cli._console import stdout_console
from lmltdm_jax.cli._options import Model


def parameters(
    model: Model = "dark-higgs",
) -> None:
    """List the parameters: unit, physical domain, default prior and its scale."""
    from lmltdm_jax.models import find_model

    chosen = find_model(model)
    benchmark = chosen.benchmark().to_dict()
    title = f"Parameters of {model} (columns of a points file; names of --point)"
    table = Table(title=title)
    for heading in ("name", "unit", "allowed", "prior", "scale", "benchmark", "description"):
        table.add_column(heading, overflow="fold")
    for info in chosen.table:
        low, high = info.prior
        prior = f"fixed at {low:g}" if info.scale == "fixed" else f"{low:g} to {high:g}"
        table.add_row(
            info.name,
            info.unit or "1",
            info.allowed,
            prior,
            info.scale,
            f"{benchmark[info.name]:.6g}",
            info.description,
        )
    stdout_console().print(table)

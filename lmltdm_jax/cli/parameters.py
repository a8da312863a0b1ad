"""``lmltdm parameters``: the parameter table, as priors, fits and files read it."""

from __future__ import annotations

from rich.table import Table

from lmltdm_jax.cli._console import stdout_console


def parameters() -> None:
    """List the parameters: unit, physical domain, default prior and its scale."""
    from lmltdm_jax.parameters import PARAMETER_TABLE, Parameters

    benchmark = Parameters.benchmark().to_dict()
    table = Table(title="Parameters (columns of a points file; names of --point)")
    for heading in ("name", "unit", "allowed", "prior", "scale", "benchmark", "description"):
        table.add_column(heading, overflow="fold")
    for info in PARAMETER_TABLE:
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

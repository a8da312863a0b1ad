"""What ``fit`` and ``report`` make of a posterior: files in its folder, a table on stdout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from lmltdm_jax.cli._console import stdout_console

if TYPE_CHECKING:
    from typing import Any

    from lmltdm_jax.inference.posterior import (  # pyright: ignore[reportMissingImports]
        Posterior,
    )


def write_and_show(posterior: Posterior, folder: Path) -> bool:
    """Everything but ``posterior.nc`` itself; returns whether the chains have converged."""
    from lmltdm_jax.inference import (  # pyright: ignore[reportMissingImports]
        chains,
        diagnostics,
        figures,
        report,
    )

    summary = diagnostics.summarize(posterior)
    files = [diagnostics.write(summary, folder), report.write(posterior, summary, folder)]
    files += figures.write(posterior, folder)
    roots = chains.write(posterior, folder)
    units = {info.name: info.unit for info in posterior.prior.model.table}
    console = stdout_console()
    console.print(_table(summary, units))
    weighted = posterior.weighted
    reliable = "" if posterior.run.evidence_is_reliable else " (not reliable)"
    console.print(
        f"{summary['n_samples']} draws of {summary['chains']} chains, "
        f"{summary['divergences']} divergent, ln Z = {summary['log_evidence']:.3f} ± "
        f"{summary['log_evidence_error']:.3f}{reliable}, "
        f"{summary['wall_s']:.0f} s"
    )
    console.print(
        f"{len(weighted.weights)} weighted draws beside them, worth {weighted.effective:.0f} "
        f"independent ones{reliable}"
    )
    colour = "green" if summary["converged"] else "bold red"
    console.print(f"[{colour}]{report.verdict(summary)}[/{colour}]")
    console.print("written: " + ", ".join(map(str, files)), soft_wrap=True)
    console.print("for GetDist and anesthetic: " + ", ".join(map(str, roots)), soft_wrap=True)
    return summary["converged"]


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

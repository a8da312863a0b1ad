"""``lmltdm data``: every measurement that ships with the package, with its provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from lmltdm_jax.cli._console import stdout_console

if TYPE_CHECKING:
    from lmltdm_jax.likelihoods.measurement import Measurement


def data() -> None:
    """List every measurement: value, confidence level, year, status, presets, citation."""
    from lmltdm_jax.likelihoods.measurement import Measurement, measurement_table, measurement_terms

    table = Table(title="Measurements (values in the stated unit)")
    for heading in ("file", "key", "value", "unit", "CL", "year", "status", "used by", "citation"):
        table.add_column(heading, overflow="fold")
    for file in measurement_terms():
        for key in measurement_table(file):
            m = Measurement.load(file, key)
            citation = f"{m.citation} [arXiv:{m.arxiv}]" if m.arxiv else m.citation
            status = m.status if m.status == "checked" else f"[yellow]{m.status}[/yellow]"
            table.add_row(
                file,
                key,
                _number(m),
                m.unit or "1",
                f"{100 * m.confidence_level:g} %",
                str(m.year),
                status,
                ", ".join(_users(m)) or "-",
                citation.replace("[", r"\["),
            )
    stdout_console().print(table)
    stdout_console().print(
        "unverified: the number was not seen in its source; its file says what is missing"
    )


def _number(measurement: Measurement) -> str:
    # The confidence level has a column of its own.
    return str(measurement).split(" (")[0]


def _users(measurement: Measurement) -> list[str]:
    """Presets with a term on this measurement, alone or combined (keys joined by ``_x_``)."""
    from lmltdm_jax.likelihoods.presets import load_preset, preset_names

    def uses(other: Measurement) -> bool:
        parts = other.key.split("_x_")
        combined = len(parts) > 1 and measurement.key in parts
        return other == measurement or (combined and measurement.citation in other.citation)

    return [
        name
        for name in preset_names()
        if any(uses(term.measurement) for term in load_preset(name).terms)
    ]

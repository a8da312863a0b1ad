"""``lmltdm data``: every measurement and limit curve of the package, with its provenance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from lmltdm_jax.cli._console import stdout_console

if TYPE_CHECKING:
    from lmltdm_jax.likelihoods.measurement import Measurement


def data() -> None:
    """List every measurement, limit curve and projection: value, CL, status, citation."""
    stdout_console().print(_measurements())
    stdout_console().print(_curves())
    stdout_console().print(_projections())
    stdout_console().print(
        "unverified: the number was not seen in its source; its file says what is missing"
    )


def _measurements() -> Table:
    from lmltdm_jax.likelihoods.measurement import Measurement, measurement_table, measurement_terms

    table = Table(title="Measurements (values in the stated unit)")
    for heading in ("file", "key", "value", "unit", "CL", "year", "status", "used by", "citation"):
        table.add_column(heading, overflow="fold")
    for file in measurement_terms():
        for key in measurement_table(file):
            m = Measurement.load(file, key)
            table.add_row(
                file,
                key,
                _number(m),
                m.unit or "1",
                f"{100 * m.confidence_level:g} %",
                str(m.year),
                *_provenance(m, _users(m)),
            )
    return table


def _curves() -> Table:
    from lmltdm_jax.likelihoods.limit_curve import curve_entry, curve_provenance, limit_curve_names
    from lmltdm_jax.likelihoods.measurement import Measurement

    table = Table(title="Limit curves and tables (lmltdm_jax/data/limit_curves)")
    for heading in ("curve", "of", "against", "CL", "year", "status", "used by", "citation"):
        table.add_column(heading, overflow="fold")
    for name in limit_curve_names():
        entry = curve_entry(name)
        m = Measurement(**curve_provenance(name, entry), unit="")
        table.add_row(
            name,
            m.quantity.replace("[", r"\["),
            entry["mass"],
            f"{100 * m.confidence_level:g} %",
            str(m.year),
            *_provenance(m, _users_of_curve(name)),
        )
    return table


def _projections() -> Table:
    from lmltdm_jax.likelihoods.forecast import Forecast, forecast_names

    table = Table(title="Projections (lmltdm profile --projection)")
    for heading in ("name", "of", "value", "CL", "year", "status", "citation"):
        table.add_column(heading, overflow="fold")
    for name in forecast_names():
        entry = Forecast.load(name).entry
        value = f"< {entry['limit']:g}" if "limit" in entry else f"+- {entry['error']:g}"
        status = entry["status"]
        table.add_row(
            name,
            entry["quantity"],
            value,
            f"{100 * entry['confidence_level']:g} %",
            str(entry["year"]),
            status if status == "checked" else f"[yellow]{status}[/yellow]",
            rf"{entry['citation']} \[arXiv:{entry['arxiv']}]",
        )
    return table


def _provenance(m: Measurement, users: list[str]) -> tuple[str, str, str]:
    """Status, presets and citation as shown."""
    citation = f"{m.citation} [arXiv:{m.arxiv}]" if m.arxiv else m.citation
    status = m.status if m.status == "checked" else f"[yellow]{m.status}[/yellow]"
    return status, ", ".join(users) or "-", citation.replace("[", r"\[")


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
        if any(uses(m) for term in load_preset(name).terms for m in term.measurements())
    ]


def _users_of_curve(name: str) -> list[str]:
    """Presets with a term of that curve, whose name it has."""
    from lmltdm_jax.likelihoods.presets import load_preset, preset_names

    return [p for p in preset_names() if any(t.name == name for t in load_preset(p).terms)]

"""``lmltdm predict``: every observable and likelihood term of a file of points, or of one point."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.table import Table

from lmltdm_jax.cli._console import stdout_console
from lmltdm_jax.cli._options import Model, Preset
from lmltdm_jax.errors import InputError

if TYPE_CHECKING:
    from lmltdm_jax.cli.tables import PointTable
    from lmltdm_jax.likelihoods.total import Evaluation, Likelihood, Report

UNITS = {
    "gamma_h1": "GeV",
    "gamma_zp": "GeV",
    "sigmav_cmb_cm3_s": "cm3/s",
    "p_ann_cm3_s_gev": "cm3/s/GeV",
    "h0_preferred": "km/s/Mpc",
    "sigmav_fo_cm3_s": "cm3/s",
    "sigmav_today_cm3_s": "cm3/s",
}
"""Units of the output columns that have one."""


def predict(
    points: Annotated[
        Path | None,
        typer.Argument(help="Points, one a row: .csv or .json (a list of objects)."),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(
            "--point",
            metavar="NAME=VALUE",
            help="One parameter of a single point; repeat it. Unnamed ones: the benchmark.",
        ),
    ] = None,
    preset: Preset = "talk2024",
    model: Model = "dark-higgs",
    output: Annotated[
        Path | None,
        typer.Option(help="Output file, .csv or .json. Without it: CSV to stdout."),
    ] = None,
    gradient: Annotated[
        bool,
        typer.Option(
            "--gradient", help="With --point: norm of each term's gradient, too (compiles longer)."
        ),
    ] = False,
    relic_coupling: Annotated[
        bool,
        typer.Option(
            "--relic-coupling",
            help="Add lambda_relic_low and _high: couplings with Omega h2 = 0.12 (20 ms a point).",
        ),
    ] = False,
    spectrum: Annotated[
        Path | None,
        typer.Option(help="With --point: dBR/dq2 of B+ -> K+ inv on a grid, .csv or .json."),
    ] = None,
) -> None:
    """Predict all observables and likelihood terms of points.

    The output has the input columns as given, then the observables, loglike and loglike_TERM.
    With --point, prints the point beside the measurements, with pulls.

    --relic-coupling adds two columns, an empty cell (JSON: null) where there is no such coupling:
    lambda_relic_low, where Omega h2 falls through 0.12 as lambda_phix grows,
    and lambda_relic_high, where it rises again.
    """
    from lmltdm_jax.cli.spectrum import write_spectrum
    from lmltdm_jax.cli.tables import PointTable, parse_point, read_points
    from lmltdm_jax.likelihoods.total import Likelihood
    from lmltdm_jax.models import find_model

    if (points is None) == (not point):
        raise InputError("give either a file of points or --point NAME=VALUE, and not both")
    if gradient and not point:
        raise InputError("--gradient goes with --point; a file of points has no gradient columns")
    if spectrum is not None and not point:
        raise InputError("--spectrum goes with --point: it is a table of one point")
    chosen = find_model(model)
    likelihood = Likelihood.from_preset(preset)
    if points is not None:
        predict_table(read_points(points, chosen), likelihood, output, relic_coupling)
        return
    values = chosen.benchmark().to_dict() | parse_point(point or [], chosen)
    table = PointTable(tuple(values), np.array([list(values.values())], dtype=float), chosen)
    if spectrum is not None:
        write_spectrum(chosen.from_vector(table.vectors()[0]), likelihood, spectrum)
    predict_point(table, likelihood, output, gradient, relic_coupling)


def predict_table(
    table: PointTable, likelihood: Likelihood, output: Path | None, relic_coupling: bool
) -> None:
    """Predict every point and write it.

    Raises:
        InputError: the output cannot be written (found out before computing).
    """
    from lmltdm_jax.cli.output import open_table
    from lmltdm_jax.inference.batch import (  # pyright: ignore[reportMissingImports]
        iter_chunks,
        progress_bar,
    )
    from lmltdm_jax.prediction import RELIC_COUPLING_COLUMNS, output_columns

    model = table.model
    names = output_columns(likelihood, model, relic_coupling)
    always = [name not in RELIC_COUPLING_COLUMNS for name in names]
    start = bad = 0
    with open_table(output, [*table.columns, *names], RELIC_COUPLING_COLUMNS) as write:
        chunks = iter_chunks(
            table.vectors(), likelihood, progress_bar(), model=model, relic_coupling=relic_coupling
        )
        for chunk in chunks:
            predicted = np.stack([chunk[name] for name in names], axis=1)
            given = table.values[start : start + len(predicted)]
            write(np.concatenate([given, predicted], axis=1))
            start += len(predicted)
            bad += int(np.sum(~np.all(np.isfinite(predicted[:, always]), axis=1)))
    if bad:
        typer.echo(f"warning: {bad} of {start} rows hold a value that is not finite", err=True)


def predict_point(
    table: PointTable,
    likelihood: Likelihood,
    output: Path | None,
    gradient: bool,
    relic_coupling: bool,
) -> None:
    """Print one point beside the measurements; write its row too where there is an ``output``."""
    from lmltdm_jax.cli.output import open_table
    from lmltdm_jax.likelihoods.total import evaluate_jit
    from lmltdm_jax.prediction import (
        RELIC_COUPLING_COLUMNS,
        observable_columns,
        output_columns,
        relic_couplings,
    )

    params = table.model.from_vector(table.vectors()[0])
    names = output_columns(likelihood, table.model, relic_coupling)
    with contextlib.ExitStack() as stack:
        write = None
        if output is not None:
            write = stack.enter_context(
                open_table(output, [*table.columns, *names], RELIC_COUPLING_COLUMNS)
            )
        evaluation = evaluate_jit(likelihood, params, None)
        observables = evaluation.observables
        columns = {name: getattr(observables, name) for name in observable_columns(table.model)}
        columns["loglike"] = evaluation.loglike
        columns |= {f"loglike_{name}": value for name, value in evaluation.terms.items()}
        if relic_coupling:
            columns |= relic_couplings(likelihood, params.to_vector())
        numbers = {name: float(columns[name]) for name in names}
        report = likelihood.report(params) if gradient else None
        if write is not None:
            write(np.concatenate([table.values[0], list(numbers.values())])[None])
    console = stdout_console()
    console.print(_point_table(table, numbers))
    console.print(_term_table(likelihood, evaluation, report))
    console.print(f"{likelihood.name}: ln L = {numbers['loglike']:.4f}")
    if any(term.measurement.status != "checked" for term in likelihood.term_list):
        console.print("* not seen in its source: see `lmltdm data`")


def _point_table(table: PointTable, numbers: dict[str, float]) -> Table:
    from lmltdm_jax.parameters import find_parameter
    from lmltdm_jax.prediction import RELIC_COUPLING_COLUMNS

    shown = Table(title="Point and observables")
    shown.add_column("quantity")
    shown.add_column("value", justify="right")
    shown.add_column("unit")
    for name, value in zip(table.columns, table.values[0], strict=True):
        shown.add_row(name, f"{value:.6g}", find_parameter(table.model.table, name).unit)
    shown.add_section()
    for name, value in numbers.items():
        if not name.startswith("loglike"):
            text = (
                "none" if math.isnan(value) and name in RELIC_COUPLING_COLUMNS else f"{value:.6g}"
            )
            shown.add_row(name, text, UNITS.get(name, ""))
    return shown


def _term_table(likelihood: Likelihood, evaluation: Evaluation, report: Report | None) -> Table:
    shown = Table(title=f"Measurements of preset {likelihood.name}")
    shown.add_column("term")
    for heading in ("prediction", "measured", "unit", "pull", "ln L"):
        shown.add_column(heading, justify="left" if heading == "unit" else "right")
    if report is not None:
        shown.add_column("|d lnL/d ln p|", justify="right")
    for i, term in enumerate(likelihood.term_list):
        mark = "" if term.measurement.status == "checked" else " *"
        norm = [] if report is None else [f"{report.rows[i].gradient_norm:.2g}"]
        shown.add_row(
            term.name + mark,
            f"{float(evaluation.predictions[term.name]):.4g}",
            str(term.measurement),
            term.measurement.unit,
            f"{float(evaluation.pulls[term.name]):+.2f}",
            f"{float(evaluation.terms[term.name]):.3f}",
            *norm,
        )
    return shown

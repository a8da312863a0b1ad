"""Points files: CSV or JSON in, checked cell by cell before anything is computed.

CSV: a header of parameter names, one point a row. JSON: a list of objects, one point each, all
with the same names. Every error is one line with file, row, column, value and allowed range.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from lmltdm_jax.errors import InputError
from lmltdm_jax.parameters import ParameterInfo, Parameters, ParameterSet, find_parameter

FORMATS = (".csv", ".json")
_SHOWN = 40


@dataclasses.dataclass(frozen=True)
class PointTable:
    """Validated points: ``values`` is (n, columns), in the columns and order of the file."""

    columns: tuple[str, ...]
    values: np.ndarray
    model: type[ParameterSet] = Parameters

    def vectors(self) -> np.ndarray:
        """(n, parameters) in table order; a parameter without a column has its default."""
        out = np.empty((len(self.values), len(self.model.table)))
        for i, info in enumerate(self.model.table):
            given = info.name in self.columns
            out[:, i] = self.values[:, self.columns.index(info.name)] if given else info.default
        return out


def read_points(path: Path, model: type[ParameterSet] = Parameters) -> PointTable:
    """Points of a ``.csv`` or ``.json`` file, in the parameters of ``model``.

    Raises:
        InputError: file missing, unreadable, empty or malformed; a column unknown, missing or
            twice; a cell empty, not a number, not finite or outside its physical domain.
    """
    table_format = format_of(path)
    text = _read_text(path)
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    read = _read_csv if table_format == ".csv" else _read_json
    return read(path, text, model)


def format_of(path: Path) -> str:
    """``.csv`` or ``.json``; raises InputError for any other ending."""
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise InputError(f"{path}: the file name must end in {' or '.join(FORMATS)}")
    return ending


def parse_point(arguments: list[str], model: type[ParameterSet] = Parameters) -> dict[str, float]:
    """``["m_x=0.04", ...]`` as checked ``{name: value}``; raises InputError."""
    values: dict[str, float] = {}
    for argument in arguments:
        name, equals, text = argument.partition("=")
        name = name.strip()
        if not equals:
            raise InputError(f"--point {argument}: expected name=value, for example m_x=0.04")
        info = find_parameter(model.table, name)
        if name in values:
            raise InputError(f"--point {argument}: {name} is given twice")
        values[name] = _checked(f"--point {argument}", info, _number(text))
    return values


def _read_text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a directory, not a file of points") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if b"\0" in raw:
        raise InputError(f"{path}: is a binary file, not UTF-8 text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start + 1})") from None


def _read_csv(path: Path, text: str, model: type[ParameterSet]) -> PointTable:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    # (line number, cells); the blank lines before the header and after the last row are dropped.
    lines: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            lines.append((reader.line_num, cells))
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: not valid CSV ({error})") from None
    while lines and _is_blank(lines[-1][1]):
        lines.pop()
    while lines and _is_blank(lines[0][1]):
        lines.pop(0)
    header = [cell.strip() for cell in lines[0][1]]
    _check_columns(path, header, model)
    if len(lines) == 1:
        raise InputError(f"{path}: has a header but no points")
    values = np.empty((len(lines) - 1, len(header)))
    for row, (line, cells) in enumerate(lines[1:]):
        where = f"{path}: row {row + 1} (line {line})"
        if _is_blank(cells):
            raise InputError(f"{where}: is blank, but rows follow; one point a row")
        if len(cells) != len(header):
            raise InputError(
                f"{where}: has {len(cells)} cells, but the header has {len(header)} "
                f"({_shorten(','.join(cells))})"
            )
        for column, cell in enumerate(cells):
            info = find_parameter(model.table, header[column])
            values[row, column] = _checked(where, info, _number(cell))
    return PointTable(tuple(header), values, model)


def _read_json(path: Path, text: str, model: type[ParameterSet]) -> PointTable:
    try:
        # Pairs instead of dicts: a name that comes twice must not vanish.
        points = json.loads(text, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno}: not valid JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None
    if isinstance(points, _Pairs) or not isinstance(points, list):
        raise InputError(f"{path}: must be a list of objects, one a point")
    if not points:
        raise InputError(f"{path}: the list has no points")
    header: list[str] = []
    values = np.empty((0, 0))
    for row, point in enumerate(points):
        where = f"{path}: row {row + 1}"
        if not isinstance(point, _Pairs):
            raise InputError(f"{where}: {_shorten(json.dumps(point))} is not an object")
        names = [name.strip() for name, _ in point]
        if row == 0:
            header = names
            values = np.empty((len(points), len(header)))
        _check_columns(where, names, model)
        if set(names) != set(header):
            odd = sorted(set(names) ^ set(header))[0]
            raise InputError(f"{where}: column '{odd}' must be in all points or in none")
        for name, value in zip(names, (value for _, value in point), strict=True):
            info = find_parameter(model.table, name)
            values[row, header.index(name)] = _checked(where, info, value)
    return PointTable(tuple(header), values, model)


class _Pairs(list):
    """A JSON object as the list of its (name, value) pairs."""


def _is_blank(cells: list[str]) -> bool:
    return len(cells) <= 1 and not "".join(cells).strip()


def _check_columns(where: Path | str, header: list[str], model: type[ParameterSet]) -> None:
    for column, name in enumerate(header):
        if name not in model.names():
            hint = "; separate the columns by commas" if ";" in name or "\t" in name else ""
            raise InputError(
                f"{where}: unknown column '{_shorten(name)}' (column {column + 1}); "
                f"known: {', '.join(model.names())}{hint}"
            )
        if name in header[:column]:
            raise InputError(f"{where}: column '{name}' is there twice")
    for info in model.table:
        if info.name not in header and info.default is None:
            raise InputError(f"{where}: column '{info.name}' is missing (allowed: {info.allowed})")


def _number(cell: str) -> float | str:
    """The number in a cell, or the stripped text where there is none."""
    text = cell.strip()
    # float() also takes 1_000 and non-ASCII digits, which are more likely a slip.
    if not text.isascii() or "_" in text:
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _checked(where: str, info: ParameterInfo, value: Any) -> float:
    here = f"{where}: {info.name}"
    if value == "":
        raise InputError(f"{here}: the cell is empty (allowed: {info.allowed})")
    if isinstance(value, bool) or not isinstance(value, int | float):
        shown = _shorten(json.dumps(value, ensure_ascii=False))
        raise InputError(f"{here} = {shown} is not a number (allowed: {info.allowed})")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not np.isfinite(number):
        raise InputError(f"{here} = {number} is not finite (allowed: {info.allowed})")
    if not info.contains(number):
        raise InputError(f"{here} = {number!r} is outside its range (allowed: {info.allowed})")
    return number


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."

"""Writing rows of numbers: all of them or none.

The rows go to a hidden file beside the target, which takes the target's name only when everything
is written; an error or Ctrl-C removes it. Floats are written so that reading them back gives the
same bits. JSON is strict: a list of objects, ``null`` where a number is not finite.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from lmltdm_jax.cli.tables import format_of
from lmltdm_jax.errors import InputError

RowWriter = Callable[[np.ndarray], None]
"""Takes a block of rows (n, columns)."""


@contextlib.contextmanager
def open_table(
    path: Path | None, columns: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[RowWriter]:
    """Writer of rows to ``path`` (``.csv`` or ``.json``), or as CSV to stdout without a path.

    A nan in an ``optional`` column means that there is no such number: an empty cell in CSV.
    Opening is the check that the output can be written, so open before computing.

    Raises:
        InputError: wrong ending, missing folder, a folder of that name, no permission, disk full.
    """
    if path is None:
        with _rows(sys.stdout, ".csv", columns, optional) as write:
            yield write
        sys.stdout.flush()
        return
    table_format = format_of(path)
    hidden = None
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a directory")
        target = Path(os.path.realpath(path))
        if target.exists() and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "permission denied")
        hidden = target.with_name(f".{target.name[:64]}.{os.getpid()}.tmp")
        with hidden.open("x", encoding="utf-8", newline="") as file:
            with _rows(file, table_format, columns, optional) as write:
                yield write
        os.replace(hidden, target)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({_reason(error)})") from None
    finally:
        with contextlib.suppress(OSError):
            if hidden is not None:
                hidden.unlink()


@contextlib.contextmanager
def _rows(
    file: TextIO, table_format: str, columns: Sequence[str], optional: Sequence[str]
) -> Iterator[RowWriter]:
    if table_format == ".csv":
        file.write(",".join(columns) + "\n")
        may_lack = [name in optional for name in columns]
        yield lambda block: file.writelines(_csv_lines(block, may_lack))
        return
    file.write("[")
    separator = "\n"

    def write(block: np.ndarray) -> None:
        nonlocal separator
        for row in block.tolist():
            numbers = [value if math.isfinite(value) else None for value in row]
            record = dict(zip(columns, numbers, strict=True))
            file.write(separator + json.dumps(record, allow_nan=False))
            separator = ",\n"

    yield write
    file.write("\n]\n")


def _csv_lines(block: np.ndarray, may_lack: Sequence[bool]) -> Iterator[str]:
    for row in block.tolist():
        cells = zip(row, may_lack, strict=True)
        yield ",".join("" if lack and math.isnan(v) else repr(v) for v, lack in cells) + "\n"


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

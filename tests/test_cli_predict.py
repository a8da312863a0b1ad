"""``lmltdm predict``: results in the promised form, and one clear line for every bad input."""

import csv
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from lmltdm_jax.inference import batch
from typer.testing import CliRunner

from lmltdm_jax import Parameters, predict
from lmltdm_jax.cli import app
from lmltdm_jax.cli.output import open_table
from lmltdm_jax.cli.tables import read_points
from lmltdm_jax.parameters import PARAMETER_NAMES
from lmltdm_jax.prediction import output_columns

HEADER = "m_zp,g_x,sin_theta,m_x,m_h1,q_phi,lambda_phix"
ROW = "0.0115,5e-4,6e-3,0.3,2.0,0.4,0.0038"
POINT = dict(zip(HEADER.split(","), map(float, ROW.split(",")), strict=True))


def run(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def csv_text(*rows, header=HEADER):
    return "\n".join([header, *rows]) + "\n"


def row_with(**changes):
    return ",".join(str(changes.get(name, value)) for name, value in POINT.items())


def json_text(*points):
    return json.dumps(points)


BAD_CSV = {
    "unknown column": (csv_text(ROW + ",1", header=HEADER + ",mass"), ["'mass'", "known: m_zp"]),
    "missing column": (csv_text("1", header="m_zp"), ["'g_x' is missing", "0 < g_x"]),
    "duplicate column": (csv_text(ROW + ",1", header=HEADER + ",m_x"), ["'m_x'", "twice"]),
    "semicolons": (csv_text(ROW, header=HEADER.replace(",", ";")), ["separate", "commas"]),
    "short row": (csv_text(ROW, "1,2"), ["row 2 (line 3)", "2 cells", "header has 7"]),
    "long row": (csv_text(ROW + ",1"), ["row 1 (line 2)", "8 cells"]),
    "not a number": (csv_text(row_with(m_x="heavy")), ['m_x = "heavy" is not a number', "0 < m_x"]),
    "underscore": (csv_text(row_with(m_x="1_0")), ['"1_0" is not a number']),
    "empty cell": (csv_text(row_with(m_h1="")), ["row 1 (line 2): m_h1: the cell is empty"]),
    "nan": (csv_text(ROW, row_with(g_x="nan")), ["row 2 (line 3): g_x = nan is not finite"]),
    "inf": (csv_text(row_with(g_x="-inf")), ["g_x = -inf is not finite"]),
    "overflow": (csv_text(row_with(g_x="1e999")), ["g_x = inf is not finite"]),
    "mass 0": (csv_text(row_with(m_x=0)), ["m_x = 0.0 is outside its range (allowed: 0 < m_x"]),
    "mass < 0": (csv_text(row_with(m_zp=-1)), ["m_zp = -1.0", "0 < m_zp [GeV]"]),
    "angle": (csv_text(row_with(sin_theta=-1)), ["sin_theta = -1.0", "-1 < sin_theta < 1"]),
    "charge 0": (csv_text(row_with(q_phi=0)), ["q_phi = 0.0", "except 0"]),
    "empty file": ("", ["the file is empty"]),
    "only blanks": ("\n \n", ["the file is empty"]),
    "header only": (HEADER + "\n", ["has a header but no points"]),
    "blank row inside": (csv_text(ROW, "", ROW), ["row 2 (line 3)", "blank"]),
    "open quote": (csv_text('"' + ROW), ["not valid CSV"]),
    "NUL": ("\0\1\2", ["binary"]),
    "latin-1": (b"m_x\n\xe9\n", ["not UTF-8"]),
}
BAD_JSON = {
    "malformed": ("[{]", ["line 1: not valid JSON"]),
    "deep": ("[" * 100_000, ["not valid JSON"]),
    "object": ('{"m_x": 1}', ["must be a list of objects"]),
    "number": ("3", ["must be a list of objects"]),
    "empty list": ("[]", ["no points"]),
    "list of lists": ("[[1, 2]]", ["row 1: [1, 2] is not an object"]),
    "boolean": (json_text(POINT | {"m_x": True}), ["row 1: m_x = true is not a number"]),
    "text": (json_text(POINT | {"m_x": "1"}), ['m_x = "1" is not a number']),
    "null": (json_text(POINT, POINT | {"m_x": None}), ["row 2: m_x = null is not a number"]),
    "nan": (json_text(POINT | {"m_x": math.nan}), ["m_x = nan is not finite"]),
    "huge": (json_text(POINT | {"m_x": 10**400}), ["m_x = inf is not finite"]),
    "domain": (json_text(POINT | {"m_x": -1}), ["m_x = -1.0 is outside"]),
    "duplicate": (json_text(POINT).replace('"g_x"', '"m_zp"'), ["'m_zp' is there twice"]),
    "unknown": (json_text(POINT | {"mass": 1}), ["unknown column 'mass'"]),
    "missing": (json_text({"m_x": 1}), ["'m_zp' is missing"]),
    "uneven": (json_text(POINT, POINT | {"q_x": 1}), ["row 2: column 'q_x' must be in all"]),
}
CASES = [(f"points{end}", *case) for end, t in ((".csv", BAD_CSV), (".json", BAD_JSON))
         for case in t.values()]  # fmt: skip
IDS = [f"{kind} {name}" for kind, t in (("csv", BAD_CSV), ("json", BAD_JSON)) for name in t]


def assert_one_line_error(result, *fragments):
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    for fragment in fragments:
        assert fragment in lines[0]


@pytest.mark.fast
@pytest.mark.parametrize(("name", "content", "fragments"), CASES, ids=IDS)
def test_bad_points_give_one_line_and_no_output(tmp_path, name, content, fragments):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = run(path, "--output", tmp_path / "out.csv")
    assert_one_line_error(result, str(path), *fragments)
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.fast
def test_bad_paths(tmp_path, monkeypatch):
    # Found out before anything is computed.
    monkeypatch.setattr(batch, "predict_chunks", None)
    good = tmp_path / "good.csv"
    good.write_text(csv_text(ROW))
    (tmp_path / "folder.csv").mkdir()
    assert_one_line_error(run(tmp_path / "none.csv"), "none.csv: no such file")
    assert_one_line_error(run(tmp_path / "folder.csv"), "is a directory")
    assert_one_line_error(run(tmp_path / "points.txt"), "must end in .csv or .json")
    for output, reason in (
        (tmp_path / "no" / "out.csv", "no such file or directory"),
        (tmp_path / "folder.csv", "is a directory"),
        (good / "out.csv", "not a directory"),
        (tmp_path / "out.txt", "must end in .csv or .json"),
        (tmp_path / ("x" * 300 + ".csv"), "name too long"),
    ):
        assert_one_line_error(run(good, "--output", output), str(output), reason)
    assert {p.name for p in tmp_path.iterdir()} == {"good.csv", "folder.csv"}


@pytest.mark.fast
@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        ([], ["give either a file of points or --point"]),
        (["a.csv", "--point", "m_x=1"], ["not both"]),
        (["a.csv", "--gradient"], ["--gradient goes with --point"]),
        (["--point", "m_x=1", "--preset", "nope"], ["unknown preset 'nope'", "talk2024, current"]),
        (["--point", "mass=1"], ["unknown parameter 'mass'", "m_zp"]),
        (["--point", "m_x"], ["expected name=value"]),
        (["--point", "m_x=1", "--point", "m_x=2"], ["m_x is given twice"]),
        (["--point", "m_x=big"], ['m_x = "big" is not a number', "0 < m_x"]),
        (["--point", "m_x="], ["the cell is empty"]),
        (["--point", "m_x=-1"], ["m_x = -1.0 is outside"]),
        (["--point", "m_x=nan"], ["m_x = nan is not finite"]),
    ],
)
def test_bad_arguments(arguments, fragments):
    assert_one_line_error(run(*arguments), *fragments)


@pytest.mark.fast
def test_unknown_option_is_a_usage_error():
    result = run("--bogus")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


@pytest.mark.fast
@pytest.mark.parametrize("name", ["out.csv", "out.json"])
def test_nothing_is_left_behind_when_interrupted(tmp_path, name):
    target = tmp_path / name
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), open_table(target, ["a", "b"]) as write:
        write(np.ones((1, 2)))
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert target.read_text() == "old"


@pytest.mark.fast
def test_output_files_are_strict_and_exact(tmp_path):
    block = np.array([[0.1, 1 / 3], [np.nan, np.inf]])
    for name in ("out.csv", "out.json"):
        with open_table(tmp_path / name, ["a", "b"]) as write:
            write(block)
    rows = list(csv.reader((tmp_path / "out.csv").read_text().splitlines()))
    assert rows == [["a", "b"], ["0.1", "0.3333333333333333"], ["nan", "inf"]]
    assert json.loads((tmp_path / "out.json").read_text(), parse_constant=pytest.fail) == [
        {"a": 0.1, "b": 1 / 3},
        {"a": None, "b": None},
    ]


@pytest.mark.fast
def test_files_from_spreadsheets_are_read(tmp_path):
    path = tmp_path / "points.CSV"
    path.write_bytes(b"\xef\xbb\xbf m_x ," + (HEADER.replace("m_x,", "") + "\r\n").encode())
    with path.open("ab") as file:
        file.write(b' 0.3 ,"0.0115",5E-4,+6e-3,2,.4,0.0038\r\n\r\n  \r\n')
    table = read_points(path)
    assert table.columns[0] == "m_x"
    np.testing.assert_array_equal(table.vectors(), [[*POINT.values(), 1.0]])


def test_table_of_points_in_any_column_order(tmp_path, prior_points, talk2024):
    """Input columns first, as given; then predict's columns, with predict's numbers."""
    drawn = np.asarray(prior_points(5, seed=5).to_vector())
    names = [*reversed(PARAMETER_NAMES[:-1]), "q_x"]
    order = [PARAMETER_NAMES.index(name) for name in names]
    points = tmp_path / "points.csv"
    points.write_text(csv_text(*(",".join(map(repr, row)) for row in drawn[:, order].tolist()),
                               header=",".join(names)))  # fmt: skip
    result = run(points, "--output", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "out.json").read_text())
    expected = predict(Parameters.from_vector(drawn), talk2024)
    assert list(rows[0]) == [*names, *output_columns(talk2024)]
    for i, row in enumerate(rows):
        assert [row[name] for name in names] == drawn[i, order].tolist()
        assert [row[name] for name in expected] == [column[i] for column in expected.values()]


def test_one_point_beside_the_measurements(tmp_path):
    out = tmp_path / "out.csv"
    result = run("--point", "m_x=0.04", "--point", "m_h1=6", "--output", out)
    assert result.exit_code == 0, result.output
    assert "omega_h2" in result.stdout and "relic_density" in result.stdout
    (row,) = csv.DictReader(out.read_text().splitlines())
    assert float(row["m_x"]) == 0.04 and float(row["m_zp"]) == Parameters.benchmark().m_zp
    expected = predict(Parameters.benchmark().replace(m_x=0.04, m_h1=6.0))
    for name, value in expected.items():
        assert float(row[name]) == pytest.approx(float(value), rel=1e-8), name


def test_batch_evaluation_keeps_order_over_chunks(prior_points, talk2024):
    points = prior_points(600, seed=6)
    columns = batch.evaluate(points, talk2024, progress=False)
    assert list(columns) == output_columns(talk2024)
    for name, column in predict(points, talk2024).items():
        np.testing.assert_array_equal(columns[name], column, err_msg=name)


@pytest.mark.fast
def test_the_installed_entry_point_has_no_traceback(tmp_path):
    code = "from lmltdm_jax.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "predict", tmp_path / "none.csv"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2
    assert result.stderr == f"error: {tmp_path / 'none.csv'}: no such file\n"

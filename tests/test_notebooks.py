"""The notebooks run at a small size, and are committed with the output of a full run."""

from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


def outputs(cell, kind):
    return [out for out in cell.get("outputs", []) if out.output_type == kind]


@pytest.mark.fast
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_committed_with_output(path):
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert [c.execution_count for c in cells] == list(range(1, len(cells) + 1))
    assert not any(outputs(c, "error") for c in cells)
    shown = [out for c in cells for out in c.outputs if "image/png" in out.get("data", {})]
    assert shown


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
# ipykernel's own sockets and event loop warn when they are torn down.
@pytest.mark.filterwarnings("ignore")
def test_runs(path, monkeypatch, tmp_path):
    monkeypatch.setenv("LMLTDM_NOTEBOOK_SMALL", "1")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=900, resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    assert any(
        "image/png" in o.get("data", {}) for c in notebook.cells for o in c.get("outputs", [])
    )

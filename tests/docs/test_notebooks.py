"""The notebooks of docs: they run from top to bottom, and are committed without what a machine wrote into them."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_no_outputs(path):
    """There are no outputs, counts or paths of a machine in the file."""
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)


@pytest.mark.long
@pytest.mark.filterwarnings("default")  # those of zmq and Jupyter
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebooks_run(path, tmp_path):
    """Each cell runs, and the last value of a cell is shown as HTML where a person would rather look."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pages = ["".join(output.data.get("text/html", "")) for output in outputs if output.output_type != "stream"]
    assert sum("<table" in page for page in pages) >= 5
    assert any("<svg" in page for page in pages)
    streams = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "Traceback" not in streams

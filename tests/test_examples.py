"""The notebooks of `examples/`: executed with tiny budgets."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
MAX_BYTES = 40_000  # without outputs, which depend on the machine and would go stale

# what the cell with the tag `parameters` says -> what the test says in its place
PARAMETERS = {"budget": "{'steps': 2}", "search_steps": "2", "size": "8", "count, size": "60, 8"}


@pytest.fixture(scope="module")
def kernel():
    """One kernel for all notebooks: importing torch takes longer than most cells."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(
        env=os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}, cwd=str(ROOT)
    )
    yield manager
    manager.shutdown_kernel(now=True)


def with_parameters(source: str) -> str:
    """Return the parameters cell with the values of the test."""
    names = re.findall(r"^(\w[\w, ]*) =", source, re.MULTILINE)
    return "\n".join(f"{name} = {PARAMETERS[name]}" for name in names)


def execute(notebook: NotebookNode, manager: KernelManager, folder: Path) -> None:
    """Run all cells in a folder; raises CellExecutionError for a cell that fails."""
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = with_parameters(cell.source)
    start = f"%reset -f\nimport os\nos.chdir({str(folder)!r})"
    notebook.cells.insert(0, new_code_cell(start))
    NotebookClient(notebook, km=manager, timeout=120).execute(reset_kc=False)


@pytest.mark.parametrize(
    "path",
    [NOTEBOOKS[0], *(pytest.param(path, marks=pytest.mark.long) for path in NOTEBOOKS[1:])],
    ids=lambda path: path.stem,
)
def test_a_notebook_runs(path, kernel, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    execute(notebook, kernel, tmp_path)
    shown = [
        set(output.get("data", {}))
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert sum("image/png" in kinds for kinds in shown) >= 2


def test_there_are_five():
    assert len(NOTEBOOKS) == 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_names_no_machine(path):
    text = path.read_text()
    assert len(text.encode()) <= MAX_BYTES
    assert '"outputs": []' in text
    assert "image/png" not in text
    assert not re.search(r"/home/|/Users/|/tmp/|/root/|PINXIT_DATA", text)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0].source.startswith("# ")
    tagged = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert with_parameters(tagged[0].source)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_links_to_is_there(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "markdown":
            for target in re.findall(r"\]\(([^)#:]+)\)", "".join(cell["source"])):
                assert (path.parent / target).exists()

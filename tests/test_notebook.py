"""The notebook runs from its first cell to its last, and is kept with what it printed."""

import re

import nbclient
import nbformat
import pytest
from conftest import REPOSITORY

NOTEBOOK = REPOSITORY / "notebooks" / "digitjax.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def collect_prints(notebook):
    """What each code cell printed, in order, without the percentages and sizes that vary among machines."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    texts = ["".join(output.get("text", "") for output in cell.outputs) for cell in cells]
    return [re.sub(r"[\d.,]+(%| bytes)", "", text) for text in texts]


def test_it_is_kept_as_one_run_left_it(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert "error" not in {output.output_type for cell in cells for output in cell.outputs}


@pytest.mark.slow  # two minutes: it trains
@pytest.mark.usefixtures("mnist_files")
def test_it_runs_and_says_the_same_of_pictures(notebook):
    kept = collect_prints(notebook)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    printed = collect_prints(notebook)
    # Training rounds otherwise on other processors; the weights that ship answer alike on all.
    told = [i for i, text in enumerate(kept) if "epoch" not in text and "test images" not in text]
    assert [printed[i] for i in told] == [kept[i] for i in told]
    (text,) = [text for text in printed if "test images" in text]
    assert int(re.search(r"(\d+) are wrong", text)[1]) < 150

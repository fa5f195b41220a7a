"""The notebooks in the repository, and the tool that runs them."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_notebook

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = ("01_native_runner", "02_hooks_in_lightning", "03_migrate_a_config", "04_write_your_own_hook")
PLOT = "import matplotlib.pyplot as plt\nplt.figure(figsize=(1, 1))\nplt.plot([1, 2])\nplt.show()"


@pytest.fixture(scope="module")
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("run_notebooks", FOLDER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def notebook_of(*sources: str) -> Any:
    return new_notebook(cells=[new_code_cell(source) for source in sources])


def test_they_are_all_there(tool):
    assert tuple(path.stem for path in tool.notebooks()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_a_reader_sees_without_running_one(tool, name):
    notebook = tool.read(FOLDER / f"{name}.ipynb")
    assert tool.faults(notebook) == []
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert all(not cell.metadata for cell in notebook.cells)


@pytest.mark.parametrize("name", NAMES)
def test_where_one_points(tool, name):
    text = "".join(cell.source for cell in tool.read(FOLDER / f"{name}.ipynb").cells if cell.cell_type == "markdown")
    linked = tool.linked(text)
    assert linked
    assert [place for place in linked if not (FOLDER / place).is_file()] == []


def test_they_are_small_together(tool):
    assert sum(path.stat().st_size for path in tool.notebooks()) < 1_500_000


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_one_runs_from_a_clean_state(tool, name):
    assert tool.run(FOLDER / f"{name}.ipynb") == []


def test_a_notebook_runs_with_this_python_whatever_kernel_is_installed(tool, tmp_path, monkeypatch):
    installed = tmp_path / "data" / "kernels" / "python3"
    installed.mkdir(parents=True)
    other = {"argv": ["/bin/false", "{connection_file}"], "display_name": "another", "language": "python"}
    (installed / "kernel.json").write_text(json.dumps(other))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "data"))
    source = notebook_of("import sys\nfrom pathlib import Path", "print(sys.prefix, list(Path().iterdir()))")
    executed = tool.execute(source, tmp_path)
    assert executed.cells[1].outputs[0].text == f"{sys.prefix} []\n"
    assert executed.metadata.language_info == {"name": "python"}
    assert source.cells[1].outputs == []


def test_what_is_wrong_is_named(tool, tmp_path):
    source = notebook_of(
        "import sys\nprint('a warning', file=sys.stderr)",
        "print('ok')",
        "from pathlib import Path\nprint(Path.cwd())",
        "object()",
        "",
        PLOT,
    )
    found = "\n".join(tool.faults(tool.execute(source, tmp_path)))
    assert "cell 0 has stderr: a warning" in found
    assert "cell 1 prints nothing but 'ok'" in found
    assert "cell 2 shows a path" in found
    assert "cell 3 shows a path or an address" in found
    assert "cell 4 is empty" in found
    assert "1 pictures" in found
    assert "cell 5" not in found


def test_an_error_in_a_cell_is_an_error(tool, tmp_path):
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        tool.execute(notebook_of("1 / 0"), tmp_path)


def test_outputs_are_written_and_found_old(tool, tmp_path):
    path = tmp_path / "one.ipynb"
    shown = "from IPython.display import Markdown\nMarkdown('**text**')"
    parts = "import sys\nsys.stdout.write('of 12 ')\nsys.stdout.flush()\nprint('images')"
    nbformat.write(notebook_of(PLOT, PLOT, parts, shown), path)
    assert tool.run(path, write=True) == []
    written = tool.read(path)
    assert len(tool.pictures(written)) == 2
    assert tool.run(path) == []

    written.cells[2].outputs[0].text = "of 13 images\n"  # another number may come from another processor
    nbformat.write(written, path)
    assert tool.run(path) == []

    written.cells[2].outputs[0].text = "of 12 pictures\n"
    nbformat.write(written, path)
    (fault,) = tool.run(path)
    assert "of # pictures" in fault
    assert "now 'stdout of # images'" in fault

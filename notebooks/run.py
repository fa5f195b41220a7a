"""Run the notebooks from a clean state, and check what they show: ``make notebooks``.

Each runs in a new kernel of this very Python, in an empty folder. With ``--write`` the outputs are put into the
files; without it they are only compared with those that are there.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import matplotlib.font_manager  # noqa: F401  (a first import builds a cache, and says so where it should not)
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

HERE = Path(__file__).resolve().parent
CELL_LIMIT_S = 180
SIZE_LIMIT = 400_000
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
_PATHS = re.compile(r"(?<![\w.])/(?:tmp|home|root|Users|work|var)/\S+|\bat 0x[0-9a-f]{6,}")


def notebooks() -> list[Path]:
    """List the notebooks, in reading order."""
    return sorted(HERE.glob("[0-9]*.ipynb"))


def read(path: Path) -> NotebookNode:
    """Read a notebook, and check that it is one."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def execute(source: NotebookNode, folder: Path) -> NotebookNode:
    """Run a notebook without its outputs.

    Args:
        source: the notebook, which stays as it is.
        folder: where it runs, in a folder ``run`` of it.

    Raises:
        CellExecutionError: a cell raises an error.

    Returns:
        A copy with the new outputs, and with nothing in it that tells of the machine or the hour.
    """
    notebook = nbformat.from_dict(source)
    notebook.cells = [nbformat.from_dict(cell) for cell in source.cells]
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    # no folder to look for kernels in: the one that is left is this Python's own, installed or not
    specs = KernelSpecManager(kernel_dirs=[])
    sockets = str(folder / "kernel")  # beside the folder in which it runs, and no ports
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs, transport="ipc", ip=sockets)
    place = folder / "run"
    place.mkdir()
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=CELL_LIMIT_S,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(place)}},
    )
    client.execute(cleanup_kc=True, env={**os.environ, "PYDEVD_DISABLE_FILE_VALIDATION": "1"})
    notebook.metadata = nbformat.from_dict(_METADATA)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.pop("metadata", None) if output.output_type == "stream" else output.update(metadata={})
    return notebook


def texts(notebook: NotebookNode) -> Iterator[tuple[int, str, str]]:
    """Give all text in the outputs: the number of the cell, the kind of output, the text."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                yield number, output.name, output.text
            elif output.output_type == "error":
                yield number, "error", f"{output.ename}: {output.evalue}"
            else:
                # sorted, as they are in a file
                yield from ((number, kind, output.data[kind]) for kind in sorted(output.data) if kind[:5] == "text/")


def pictures(notebook: NotebookNode) -> list[str]:
    """Give the PNGs in the outputs, as base64."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]


def faults(notebook: NotebookNode) -> list[str]:
    """Say what is wrong with an executed notebook: what a reader should not see, or see and does not."""
    found = []
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    if counts != list(range(1, len(counts) + 1)):
        found.append(f"its cells were not run once each, in order: {counts}")
    for number, kind, text in texts(notebook):
        if kind in ("stderr", "error"):
            found.append(f"cell {number} has {kind}: {text.strip()[:300]}")
        if place := _PATHS.search(text):
            found.append(f"cell {number} shows a path or an address of this machine: {place[0]}")
    for number, cell in enumerate(notebook.cells):
        shown = "".join(text for at, kind, text in texts(notebook) if at == number and kind == "stdout")
        if shown and len(shown.strip()) < 4:
            found.append(f"cell {number} prints nothing but {shown.strip()!r}")
        if cell.cell_type == "code" and not cell.source.strip():
            found.append(f"cell {number} is empty")
    if len(pictures(notebook)) < 2:
        found.append(f"it has {len(pictures(notebook))} pictures in its outputs; at least two were expected")
    if (size := len(nbformat.writes(notebook).encode())) > SIZE_LIMIT:
        found.append(f"it has {size:,} bytes, more than {SIZE_LIMIT:,}: smaller pictures")
    return found


def linked(text: str) -> list[str]:
    """List the files that a text in Markdown links or names, from here: ``[01](01.ipynb)``, ```docs/x.md```."""
    return re.findall(r"\]\(([^):]+)\)", text) + [f"../{name}" for name in re.findall(r"`(docs/[\w.]+)`", text)]


def words(notebook: NotebookNode) -> list[str]:
    """Give what the outputs say, without their numbers: those may differ from one processor to another."""
    said = [(kind, _NUMBER.sub("#", text)) for _, kind, text in texts(notebook)]
    return [" ".join([kind, *text.split()]) for kind, text in said] + ["picture"] * len(pictures(notebook))


def run(path: Path, write: bool = False) -> list[str]:
    """Run a notebook in an empty folder.

    Args:
        path: its file.
        write: put the outputs into the file.

    Returns:
        What is wrong; where it is not written, also what differs from the outputs in the file.
    """
    before = read(path)
    with tempfile.TemporaryDirectory() as folder:
        try:
            after = execute(before, Path(folder))
        except CellExecutionError as error:
            return [_COLOUR.sub("", str(error))]
    found = faults(after)
    if write:
        path.write_text(nbformat.writes(after) + "\n", encoding="utf-8")
        return found
    return found + [f"its file {fault}" for fault in faults(before)] + _differences(words(before), words(after))


def _differences(before: list[str], after: list[str]) -> list[str]:
    if before == after:
        return []
    pairs = ((old, new) for old, new in zip(before, after, strict=False) if old != new)
    old, new = next(pairs, (f"{len(before)} outputs", f"{len(after)} outputs"))
    return [f"the outputs in the file are old ({old[:200]!r}, now {new[:200]!r}): make notebooks WRITE=--write"]


def main() -> int:
    """Run those that the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of names, such as 02; all by default")
    parser.add_argument("--write", action="store_true", help="put the outputs into the files")
    arguments = parser.parse_args()
    wrong = False
    for path in notebooks():
        if arguments.names and not any(name in path.name for name in arguments.names):
            continue
        began = time.perf_counter()
        found = run(path, arguments.write)
        print(f"{path.name}: {time.perf_counter() - began:.0f} s", *found, sep="\n  ", flush=True)
        wrong |= bool(found)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())

"""``python -m docs.make [PAGE...]``: write anew what is generated in docs/, or the outputs of these pages alone."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from docs.make import benchmarks, pictures
from docs.make.blocks import DOCS, prepare, renewed, run_page


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """Work in an empty folder, at the width of the pages."""
    os.environ["COLUMNS"] = "100"
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


def renew(page: Path) -> None:
    """Run what a page shows, and write what its commands print into it."""
    with _elsewhere():
        prepare()
        outputs = [ran.printed for ran in run_page(page) if not ran.extract]
    page.write_text(renewed(page.read_text(encoding="utf-8"), iter(outputs)), encoding="utf-8")
    print(page)


def main() -> None:
    """Write all, or the pages that are named."""
    pages = [Path(name).absolute() for name in sys.argv[1:]]
    if not pages:
        print(*pictures.write(DOCS), *benchmarks.write(DOCS), sep="\n")
        pages = [*sorted((DOCS / "commands").glob("*.md")), DOCS / "quickstart" / "migrate.md"]
    for page in pages:
        renew(page)


if __name__ == "__main__":
    main()

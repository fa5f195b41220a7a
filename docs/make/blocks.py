"""The blocks of code on a page, and what they print when they are run as a reader would run them.

A comment before a block says more of it: ``<!-- run -->`` a program of Python to be run, ``<!-- recipe -->`` one of the
cookbook, ``<!-- keep -->`` a console of which an extract is shown.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import runpy
import shlex
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

DOCS = Path(__file__).parents[1]

_FENCE = re.compile(r"^(?:<!-- ([\w ]+) -->\n)?```(\w+)?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*(?:e[+-]?\d+)?")
_RULE = re.compile(r"[^\w\s.,:;()\[\]{}=<>+*/%'\"#$@!?&|-]+")  # what tables are drawn with


@dataclass
class Block:
    """A block of code.

    Attributes:
        kind: its language.
        text: what is in it.
        title: the name of a file that it stands for.
        runs: whether it is a program of Python to be run; otherwise a titled one is a file to be written.
        kept: whether what a console shows is an extract, which is written by hand.
        recipe: whether it is a recipe of the cookbook.
    """

    kind: str
    text: str
    title: str = ""
    runs: bool = False
    kept: bool = False
    recipe: bool = False


def blocks(page: Path) -> list[Block]:
    """Give the blocks of a page in order."""
    found = []
    for marks, kind, rest, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        title = _TITLE.search(rest)
        found.append(
            Block(
                kind,
                text,
                title.group(1) if title else "",
                *(word in marks.split() for word in ("run", "keep", "recipe")),
            )
        )
    return found


def shape(line: str) -> str:
    """Give what stays of a line when numbers, spaces and the lines of tables may be others."""
    return " ".join(_NUMBER.sub("0", _RULE.sub(" ", line)).split())


def missing(wanted: str, printed: str) -> str | None:
    """Give the first line that should have been printed, in order, and was not; ``...`` stands for any lines."""
    lines = iter([shape(line) for line in printed.splitlines()])
    for line in wanted.splitlines():
        text = shape(line)
        if line.strip() != "..." and text and not any(text in found for found in lines):
            return line
    return None


@contextlib.contextmanager
def listening() -> Iterator[io.StringIO]:
    """Collect what is printed, and what mmhooks logs, as a terminal shows it."""
    sink = io.StringIO()
    logger = logging.getLogger("mmhooks")
    handler = logging.StreamHandler(sink)
    handler.setFormatter(logging.Formatter("%(name)s - %(levelname)s - %(message)s"))
    kept, level = list(logger.handlers), logger.level
    logger.handlers[:] = [handler]
    try:
        with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield sink
    finally:
        logger.handlers[:] = kept
        logger.setLevel(level)


def run_python(text: str, names: dict[str, Any]) -> str:
    """Run a program with the names that earlier ones on the page have left, and give what it prints."""
    with listening() as sink:
        exec(compile(text, "<page>", "exec"), names)
    return sink.getvalue()


def run_command(line: str) -> str:
    """Run a line of a terminal in this process, and give what it prints: mmhooks, or a program of Python."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["mmhooks"]:
        from mmhooks.cli import app

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = CliRunner().invoke(app, words[1:], prog_name="mmhooks")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output
    if words[:1] == ["python"]:
        return _run_file(words[1:])
    raise ValueError(f"a page runs mmhooks and python, not {line!r}")


def _run_file(words: list[str]) -> str:
    argv, path, modules = sys.argv, list(sys.path), set(sys.modules)
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent.absolute()))
    with listening() as sink:
        try:
            runpy.run_path(words[0], run_name="__main__")
        finally:
            sys.argv, sys.path[:] = argv, path
            for name in set(sys.modules) - modules:  # those beside the program, which another one may have too
                if str(Path.cwd()) in str(getattr(sys.modules[name], "__file__", "")):
                    del sys.modules[name]
    return sink.getvalue()


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Give the lines of a console block that begin with ``$``, and what should follow each."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, output = part.partition("\n")
        yield line, output


def is_run(line: str) -> bool:
    """Tell whether a line of a terminal is run; what installs something is not."""
    return line.startswith(("mmhooks ", "python "))


def prepare() -> None:
    """Put the config into the current folder that the pages speak of."""
    for block in blocks(DOCS / "quickstart" / "migrate.md"):
        if block.title == "digits.py":
            Path(block.title).write_text(block.text, encoding="utf-8")


@dataclass
class Ran:
    """What was run: a program or a command, what the page says that it prints, what it printed; an extract or all."""

    program: str
    wanted: str
    printed: str
    extract: bool


def run_page(page: Path) -> Iterator[Ran]:
    """Run all that a page shows, one after another, in the current folder."""
    names: dict[str, Any] = {"__name__": "__main__"}
    found = blocks(page)
    for block, following in zip(found, [*found[1:], Block("", "")], strict=True):
        if block.kind == "python" and block.runs:
            wanted = following.text if following.kind == "text" else ""
            yield Ran(block.text, wanted, tidy(run_python(block.text, names)), True)
        elif block.kind == "python" and block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.kind == "console":
            for line, output in commands(block.text):
                if is_run(line):
                    yield Ran(line, output, tidy(run_command(line)), block.kept)


def difference(ran: Ran) -> str | None:
    """Say where a page is stale: the first line that is not there, or none."""
    lost = missing(ran.wanted, ran.printed)
    if lost is None and not ran.extract:
        lost = missing(ran.printed, ran.wanted)
    return lost


def renewed(text: str, outputs: Iterator[str]) -> str:
    """Give a page with other outputs of its commands.

    Args:
        text: the page.
        outputs: what its commands print, those of extracts left out.
    """

    def renew(match: re.Match[str]) -> str:
        marks, kind, rest, body = match.groups()
        if kind != "console" or marks == "keep":
            return match.group()
        parts = [f"$ {line}\n" + (next(outputs) if is_run(line) else output) for line, output in commands(body)]
        return f"```console{rest}\n{''.join(parts)}```"

    return _FENCE.sub(renew, text)


def tidy(output: str) -> str:
    """Give what a command prints without what is of this machine and this moment."""
    lines = [line.rstrip() for line in output.replace(str(Path.cwd()), "/home/me").strip("\n").splitlines()]
    return "".join(f"{line}\n" for line in lines)

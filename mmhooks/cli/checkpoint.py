"""``mmhooks checkpoint``: what is in a file, whether it is whole, and the same as a file of another kind."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmhooks.cli.command import Command, Group
from mmhooks.cli.values import CheckpointFile, check_checkpoint
from mmhooks.errors import CheckpointError, CheckpointNotFound, ConfigError, nearest

_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")


class _ShowsByDefault(Group):
    """Takes a file where a command is expected for ``show FILE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        if args and not ctx.resilient_parsing and args[0] not in (*self.commands, "--help"):
            word = args[0]
            misspelt = not Path(word).suffix and not Path(word).exists() and nearest(word, self.commands)
            if not misspelt:
                args = ["show", *args]
        return super().parse_args(ctx, args)


class Kind(StrEnum):
    """The kinds of files that there are."""

    MMCV = "mmcv"
    LIGHTNING = "lightning"
    SAFETENSORS = "safetensors"


checkpoint = typer.Typer(
    cls=_ShowsByDefault,
    no_args_is_help=True,
    help="""Show, verify and convert checkpoints; nothing in them is run. `mmhooks checkpoint FILE` is `show FILE`.

Examples:
    mmhooks checkpoint epoch_12.pth
    mmhooks checkpoint verify work_dirs/config
    mmhooks checkpoint convert epoch_12.pth weights.safetensors
""",
)


def _check_place(value: str) -> str:
    return value if Path(value).is_dir() else str(check_checkpoint(value))


Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@checkpoint.command(cls=Command)
def show(file: CheckpointFile, as_json: Json = False) -> None:
    """Show what is in a checkpoint: who wrote it, when in a run, which weights, optimizers, hooks and values.

    Examples:
        mmhooks checkpoint show epoch_12.pth
        mmhooks checkpoint show s3://bucket/epoch_12.pth --json
    """
    from mmhooks.checkpoint.inspect import describe

    found = describe(file)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    console = Console()
    console.print(_head(found))
    _print_rows(console, "weights", "module", found.get("modules", {}), found.get("weights", {}))
    _print_rows(console, "optimizers", "name", found.get("optimizers", {}))
    for part in ("hooks", "position", "meta", "config", "other"):
        _print_values(console, part, found.get(part, {}))
    if found.get("callbacks"):
        console.print("callbacks: " + ", ".join(map(escape, found["callbacks"])), soft_wrap=True)
    if found.get("refused"):
        names = ", ".join(map(escape, found["refused"]))
        console.print(f"[yellow]reading it safely is refused because of {names}[/]", soft_wrap=True)


@checkpoint.command(cls=Command)
def verify(
    path: Annotated[
        str,
        typer.Argument(callback=_check_place, help="A checkpoint, or a folder whose checkpoints are all looked at."),
    ],
    as_json: Json = False,
) -> None:
    """Check that files are what was written, and that they can be read safely; exit with 1 if one cannot.

    Examples:
        mmhooks checkpoint verify epoch_12.pth
        mmhooks checkpoint verify work_dirs/config --json
    """
    rows = [_verified(file) for file in _files(path)]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        table = Table("file", "size", "checksums", "result")
        for row in rows:
            color = "green" if row["ok"] else "red"
            result = f"[{color}]{escape(row['result'])}[/]"
            table.add_row(escape(row["file"]), _size(row["bytes"]), row["checksums"], result)
        Console().print(table)
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


@checkpoint.command(cls=Command)
def convert(
    source: CheckpointFile,
    target: Annotated[str, typer.Argument(help="The new file: .pth is MMCV's, .ckpt Lightning's, or .safetensors.")],
    to: Annotated[Kind | None, typer.Option("--to", help="The kind of the new file; by its suffix otherwise.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file of that name.")] = False,
) -> None:
    """Write a checkpoint as a file of another kind, and say what could not be carried over.

    Examples:
        mmhooks checkpoint convert epoch_12.pth epoch_12.ckpt        # for trainer.fit(ckpt_path=...)
        mmhooks checkpoint convert last.ckpt weights.safetensors
        mmhooks checkpoint convert last.ckpt model.bin --to mmcv
    """
    from mmhooks.checkpoint import convert as convert_module
    from mmhooks.checkpoint import exists

    if exists(target) and not force:
        raise ConfigError(f"{target} is there already; --force replaces it")
    left = convert_module.convert(source, target, None if to is None else to.value)
    console = Console()
    for line in left:
        console.print(f"[yellow]not carried[/] {escape(line)}", soft_wrap=True)
    console.print(f"{escape(source)} -> {escape(target)}", soft_wrap=True)


def _files(path: str) -> list[str]:
    folder = Path(path)
    if not folder.is_dir():
        return [path]
    found = sorted(str(file) for file in folder.rglob("*") if file.suffix in _SUFFIXES and not file.is_dir())
    if not found:
        raise CheckpointNotFound(f"{path} holds no checkpoint ({', '.join(_SUFFIXES)})")
    return found


def _verified(file: str) -> dict[str, Any]:
    from mmhooks.checkpoint import is_remote, read_file

    told = _Told()
    quiet = logging.Logger("mmhooks.verify")
    quiet.addHandler(told)
    row = {"file": file, "bytes": None if is_remote(file) or not Path(file).exists() else Path(file).stat().st_size}
    try:
        read_file(file, "cpu", logger=quiet)
    except CheckpointError as error:
        return {**row, "ok": False, "checksums": "-", "result": str(error)}
    return {**row, "ok": True, "checksums": "none" if told.lines else "right", "result": "readable"}


class _Told(logging.Handler):
    """Keeps what the reader warns of: that a file has no checksums."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


# tables -------------------------------------------------------------------------------------------------------


def _head(found: Mapping[str, Any]) -> Table:
    table = Table(show_header=False, box=None)
    for key in ("file", "kind", "format", "written_by", "epoch", "iter", "global_step"):
        if key in found:
            table.add_row(key.replace("_", " "), escape(str(found[key])))
    table.add_row("size", _size(found["bytes"]))
    return table


def _print_rows(
    console: Console,
    title: str,
    first: str,
    rows: Mapping[str, Mapping[str, Any]],
    total: Mapping[str, Any] | None = None,
) -> None:
    if not rows:
        return
    columns = list(next(iter(rows.values())))
    table = Table(first, *columns, title=title, title_justify="left")
    for name, row in rows.items():
        table.add_row(escape(name), *_cells(row, columns))
    if total:
        types = ", ".join(f"{count} {name}" for name, count in total["types"].items())
        table.add_section()
        table.add_row(f"all ({types})", *_cells(total, columns))
    console.print(table)


def _cells(row: Mapping[str, Any], columns: Iterable[str]) -> list[str]:
    return [_size(row[key]) if key == "bytes" else escape(str(row[key])) for key in columns]


def _print_values(console: Console, title: str, values: Mapping[str, Any]) -> None:
    if not values:
        return
    table = Table(title, "", title_justify="left")
    for key, value in values.items():
        table.add_row(escape(key), escape(value if isinstance(value, str) else json.dumps(value, default=str)))
    console.print(table)


def _size(count: int | None) -> str:
    if count is None:
        return "-"
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"

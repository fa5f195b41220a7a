"""``mmhooks inspect``: a run at a glance, before it is one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmhooks.cli.train import read
from mmhooks.cli.values import CfgOptions, Codebase, ConfigFile
from mmhooks.report.overview_words import run_lines, total_rows

if TYPE_CHECKING:
    from mmhooks.plan import RunPlan

#: Iterations of an epoch, where nobody says how many there are.
_EPOCH_LEN = 1000


def inspect(
    config: ConfigFile,
    codebase: Codebase = None,
    epoch_len: Annotated[
        int | None,
        typer.Option(
            "--epoch-len", min=1, help="Train iterations an epoch, in each process.", show_default=f"{_EPOCH_LEN}"
        ),
    ] = None,
    world_size: Annotated[int, typer.Option("--world-size", min=1, help="The number of processes.")] = 1,
    options: CfgOptions = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the same as JSON; see mmhooks.walk.overview for its keys.")
    ] = False,
    as_html: Annotated[
        bool, typer.Option("--html", help="Write a page: the hooks as a timeline, the schedule, the keys.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="With --html: where to; - is stdout.",
            show_default="CONFIG's name .html",
        ),
    ] = None,
) -> None:
    """Show what a config does: which hooks act when, the schedule, the files. Nothing is built or imported.

    Examples:
        mmhooks inspect config.py
        mmhooks inspect config.py --epoch-len 7330 --world-size 8
        mmhooks inspect config.py --set runner.max_epochs=24 --json
        mmhooks inspect config.py --html -o config.html
    """
    if output is not None and not as_html:
        raise typer.BadParameter(f"-o {output} needs --html: the terminal's output and --json go to stdout")
    if as_html and as_json:
        raise typer.BadParameter("give --json or --html, not both")
    from mmhooks.plan import plan_run
    from mmhooks.walk.overview import overview

    plan = plan_run(read(config, options), codebase, world_size=world_size)
    seen = overview(plan, epoch_len or _EPOCH_LEN, world_size=world_size)
    if as_json:
        typer.echo(json.dumps(seen, indent=2, default=str))
        return
    if as_html:
        _write_page(plan, seen, output or Path(f"{config.stem}.html"), epoch_len)
        return
    console = Console()
    _show(console, seen, assumed=epoch_len is None and plan.by_epoch)


def _write_page(plan: RunPlan, seen: Mapping[str, Any], output: Path, epoch_len: int | None) -> None:
    from mmhooks.report.inspect_page import inspect_page

    text = inspect_page(plan, seen, epoch_len)
    if str(output) == "-":
        typer.echo(text, nl=False)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    typer.echo(f"written: {output}")


def _show(console: Console, seen: Mapping[str, Any], assumed: bool) -> None:
    console.print(f"[bold]{escape(Path(seen['config']).name)}[/]  {seen['codebase']}", highlight=False)
    for line in run_lines(seen):
        console.print(line, highlight=False, markup=False)
    console.print()
    console.print(_acts_table(seen["acts"]))
    console.print()
    console.print(_totals_table(seen, assumed))
    for title, entries in _lists(seen):
        console.print(f"\n[bold]{title}[/]", highlight=False)
        table = _grid()
        for name, text in entries:
            table.add_row(escape(name), escape(text))
        console.print(table)


def _grid() -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold", style="cyan")
    table.add_column(overflow="fold")
    return table


def _acts_table(acts: list[Mapping[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("priority", "hook", "how often", "asked for by"):
        table.add_column(title, overflow="fold")
    for point, group in groupby(acts, key=lambda act: act["point"]):
        title = point if point != "unknown" else "at points that are not known"
        table.add_row(f"[bold green]{title}[/]")
        for act in group:
            table.add_row(*(escape(act[key]) for key in ("priority", "hook", "every")), escape(act["key"] or "-"))
    return table


def _totals_table(seen: Mapping[str, Any], assumed: bool) -> Table:
    table = _grid()
    for name, text in total_rows(seen, assumed):
        table.add_row(escape(name), escape(text))
    return table


def _lists(seen: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Give the lists at the end: what was not found, and keys that are not a matter of the run."""
    unwalked = [(one["key"] or "the run", f"{one['what']}: {one['reason']}") for one in seen["unwalked"]]
    notes = list(seen["notes"].items())
    by_fate: dict[str, list[tuple[str, str]]] = {}
    for fate in seen["keys"]:
        by_fate.setdefault(fate["fate"], []).append((fate["key"], fate["why"]))
    for title, entries in (
        ("not found here", unwalked),
        ("notes", notes),
        ("keys that nothing reads", by_fate.get("not read", [])),
        ("keys that the command line sets", by_fate.get("command line", [])),
    ):
        if entries:
            yield title, entries
    handed = [name for fate in ("model or data", "helper") for name, _ in by_fate.get(fate, [])]
    if handed:
        yield "keys of the model and the data, and helpers", [(", ".join(handed), "")]

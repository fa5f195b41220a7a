"""``mmhooks inspect``: a run at a glance, before it is one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmhooks.cli.train import read
from mmhooks.cli.values import CfgOptions, Codebase, ConfigFile

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
) -> None:
    """Show what a config does: which hooks act when, the schedule, the files. Nothing is built or imported.

    Examples:
        mmhooks inspect config.py
        mmhooks inspect config.py --epoch-len 7330 --world-size 8
        mmhooks inspect config.py --set runner.max_epochs=24 --json
    """
    from mmhooks.plan import plan_run
    from mmhooks.walk.overview import overview

    plan = plan_run(read(config, options), codebase, world_size=world_size)
    seen = overview(plan, epoch_len or _EPOCH_LEN, world_size=world_size)
    if as_json:
        typer.echo(json.dumps(seen, indent=2, default=str))
        return
    console = Console()
    _show(console, seen, assumed=epoch_len is None and plan.by_epoch)


def _show(console: Console, seen: Mapping[str, Any], assumed: bool) -> None:
    console.print(f"[bold]{escape(Path(seen['config']).name)}[/]  {seen['codebase']}", highlight=False)
    for line in _run_lines(seen):
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


def _run_lines(seen: Mapping[str, Any]) -> Iterator[str]:
    run = seen["run"]
    length = f"{run['max_epochs']:,} epochs" if run["by_epoch"] else f"{run['max_iters']:,} iterations"
    workflow = ", ".join(f"{mode} {count}" for mode, count in run["workflow"])
    processes = f", {seen['world_size']} processes" if seen["world_size"] > 1 else ""
    yield f"{length}, workflow {workflow}{processes}"
    optimizer = seen["optimizer"]
    if optimizer is None:
        yield "no optimizer"
    elif "type" in optimizer:
        yield _optimizer(optimizer)
    else:
        yield from (f"{name}: {_optimizer(one)}" for name, one in optimizer.items() if isinstance(one, Mapping))


def _optimizer(config: Mapping[str, Any]) -> str:
    arguments = [f"{key}={value}" for key, value in config.items() if key not in ("type", "paramwise_cfg")]
    more = " and param groups by paramwise_cfg" if config.get("paramwise_cfg") else ""
    return f"{config['type']} {', '.join(arguments)}{more}"


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
    totals, table = seen["totals"], _grid()
    iterations = f"{totals['iterations']:,}"
    if totals["epochs"] is not None:
        table.add_row("epochs", f"{totals['epochs']:,}")
        iterations += f" = {totals['epochs']:,} x {seen['epoch_len']:,}"
        if assumed:
            iterations += ", a length that is assumed: say --epoch-len"
    table.add_row("iterations", iterations)
    steps = totals["steps"]
    table.add_row("steps", "train_step takes them" if steps is None else f"{steps:,}")
    table.add_row("checkpoints", _files(totals["checkpoints"], seen["kept"]))
    table.add_row("evaluations", f"{totals['evaluations']:,}")
    for name in ("lr", "momentum"):
        for one in seen[name]:
            table.add_row(f"{name} {one['group']}".strip(), _range(one))
        if not seen[name] and seen["optimizer"] is not None:
            table.add_row(name, "set by a class that cannot be found")
    return table


def _files(written: int, kept: list[str]) -> str:
    if not kept:
        return f"{written:,}"
    names = kept if len(kept) <= 3 else [kept[0], "...", kept[-1]]
    return f"{written:,}, {len(kept):,} kept: {', '.join(names)}"


def _range(values: Mapping[str, float]) -> str:
    if values["max"] == values["min"]:
        return f"{values['first']:.6g}"
    return ", ".join(f"{name} {values[name]:.6g}" for name in ("first", "max", "min", "last"))


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

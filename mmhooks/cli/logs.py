"""``mmhooks logs``: what runs have logged, as tables and curves, as CSV, and compared."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmhooks.cli.command import Command
from mmhooks.cli.lr import Picture
from mmhooks.errors import ConfigError, nearest

if TYPE_CHECKING:
    from mmhooks.report.log_compare import KeyDifference
    from mmhooks.report.logs import Log


class TakesCsv(Command):
    """Lets ``--csv`` go without a file, which must be one that ends in .csv: a log is never taken for it."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Give the option its value."""
        rewritten: list[str] = []
        for index, word in enumerate(args):
            following = args[index + 1] if index + 1 < len(args) else ""
            bare = word == "--csv" and following != "-" and not following.lower().endswith(".csv")
            rewritten.append("--csv=-" if bare else word)
        return super().parse_args(ctx, rewritten)


def _there(values: list[Path]) -> list[Path]:
    for path in values:
        if not path.exists():
            near = nearest(path.name, [one.name for one in path.parent.iterdir()]) if path.parent.is_dir() else ""
            raise typer.BadParameter(f"there is no folder and no file {path}{near}")
    return values


def logs(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="WORK_DIR", callback=_there, help="Folders of runs, or .log.json files; MMCV's, too."),
    ],
    output: Picture = None,
    keys: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="What to show: loss,acc or 'loss*'.", show_default="loss, lr, evaluations"),
    ] = None,
    as_csv: Annotated[
        str | None, typer.Option("--csv", metavar="[FILE]", help="Write all values as CSV, without FILE to stdout.")
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare the values of two runs; exit with 1 if they differ.")
    ] = False,
    rtol: Annotated[float, typer.Option(min=0, help="With --compare: the relative difference that is allowed.")] = 0.0,
    atol: Annotated[float, typer.Option(min=0, help="With --compare: what is allowed besides.")] = 0.0,
    epoch_len: Annotated[
        int | None,
        typer.Option("--epoch-len", min=1, help="Train iterations an epoch.", show_default="told by the logs"),
    ] = None,
) -> None:
    """Show loss, lr and metrics of runs from their .log.json files, those of MMCV included.

    The files of one folder are one run that was resumed: where a later one begins, the earlier ones end.

    Examples:
        mmhooks logs work_dirs/a                       # a table, and curves
        mmhooks logs work_dirs/a work_dirs/b -o curves.png --keys 'loss*,acc'
        mmhooks logs work_dirs/a --csv a.csv
        mmhooks logs work_dirs/a work_dirs/b --compare --rtol 1e-4
    """
    from mmhooks.report.log_charts import chosen_keys
    from mmhooks.report.logs import read_log

    if compare and (output is not None or as_csv is not None):
        raise typer.BadParameter("--compare writes no picture and no CSV: leave out -o and --csv")
    if compare and len(paths) != 2:
        raise typer.BadParameter(f"--compare needs two runs, and {len(paths)} are given: mmhooks logs A B --compare")
    if (rtol or atol) and not compare:
        raise typer.BadParameter("--rtol and --atol need --compare")
    read = [read_log(path, epoch_len=epoch_len) for path in paths]
    names = _names(paths)
    wanted = [name.strip() for name in (keys or "").split(",") if name.strip()]
    if compare:
        _compare(read, names, rtol, atol, chosen_keys(read, wanted) if wanted else [])
        return
    if as_csv is not None:
        _write_csv(as_csv, read, names, chosen_keys(read, wanted) if wanted else [])
    if as_csv is None or output is not None:
        _show(read, names, chosen_keys(read, wanted), output)


def _names(paths: Sequence[Path]) -> list[str]:
    """Call runs by their folders or files, with so many folders as tell them apart."""
    names = [path.name or str(path) for path in paths]
    for count in range(2, max(len(path.parts) for path in paths) + 1):
        if len(set(names)) == len(names):
            break
        names = ["/".join(path.parts[-count:]) for path in paths]
    return names if len(set(names)) == len(names) else [f"{index}: {path}" for index, path in enumerate(paths, 1)]


def _show(read: Sequence[Log], names: Sequence[str], keys: Sequence[str], output: Path | None) -> None:
    from mmhooks.report.figures import check_suffix, write_figure
    from mmhooks.report.log_charts import axis_note, log_charts
    from mmhooks.report.terminal import draw

    if output is not None:
        check_suffix(output)
    console = Console()
    charts, told = log_charts(read, keys, names)
    for name, log in zip(names, read, strict=True):
        files = f" in {len(log.files)} files" if len(log.files) > 1 else ""
        console.print(f"[bold]{escape(name)}[/]  {axis_note(log)}{files}", highlight=False)
        for problem in log.problems:
            console.print(f"  {problem}", style="yellow", highlight=False, markup=False)
        console.print(_table(log, keys))
        console.print()
    for line in told:
        console.print(line, highlight=False, markup=False)
    if output is None:
        for chart in charts:
            console.print(draw(chart, console, height=9))
        return
    notes = [f"{name}: {axis_note(log)}" for name, log in zip(names, read, strict=True)]
    write_figure(output, [[chart] for chart in charts], title=" and ".join(names), notes=notes)
    console.print(f"written: {output}", highlight=False, markup=False, soft_wrap=True)


def _table(log: Log, keys: Sequence[str]) -> Table:
    from mmhooks.report.log_charts import modes_of

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("key", overflow="fold", style="cyan")
    table.add_column("mode")
    for title in ("values", "first", "last", "lowest", "at", "highest", "at"):
        table.add_column(title, justify="right", overflow="fold")
    for key in keys:
        for mode in modes_of(log, key):
            x, y = log.series(key, mode)
            table.add_row(escape(key), escape(mode), f"{len(y):,}", *_extremes(x, y))
    return table


def _extremes(x: Any, y: Any) -> list[str]:
    import numpy as np

    finite = np.isfinite(y)
    cells = [f"{y[0]:.5g}", f"{y[-1]:.5g}"]
    if not finite.any():
        return [*cells, "-", "-", "-", "-"]
    low, high = int(np.argmin(np.where(finite, y, np.inf))), int(np.argmax(np.where(finite, y, -np.inf)))
    return [*cells, f"{y[low]:.5g}", f"{x[low]:,.6g}", f"{y[high]:.5g}", f"{x[high]:,.6g}"]


def _write_csv(file: str, read: Sequence[Log], names: Sequence[str], keys: Sequence[str]) -> None:
    """Write a row a line of the logs, with a column a key."""
    columns = keys or list(dict.fromkeys(key for log in read for entry in log.entries for key in entry.values))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "mode", "epoch", "iter", "at", *columns])
    for name, log in zip(names, read, strict=True):
        for entry in log.entries:
            values = [entry.values.get(key, "") for key in columns]
            writer.writerow([name, entry.mode, entry.epoch, entry.iter, f"{entry.at:.10g}", *values])
    if file == "-":
        typer.echo(text.getvalue(), nl=False)
        return
    target = Path(file)
    if target.is_dir():
        raise ConfigError(f"--csv {file}: a folder is there: name a file, such as {target / 'curves.csv'}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text.getvalue(), encoding="utf-8")
    typer.echo(f"written: {file}")


def _compare(read: Sequence[Log], names: Sequence[str], rtol: float, atol: float, keys: Sequence[str]) -> None:
    from mmhooks.report.log_compare import compare_logs, places
    from mmhooks.report.text import plural

    console = Console()
    found = compare_logs(read[0], read[1], rtol=rtol, atol=atol, keys=keys)
    within = f", within rtol {rtol:g} and atol {atol:g}" if rtol or atol else ""
    compared = f"{plural(found.lines, 'line')} and {plural(found.values, 'value')} compared{within}"
    for log in read:
        for problem in log.problems:
            console.print(problem, style="yellow", highlight=False, markup=False)
    if found.equal:
        console.print(f"equal: {compared}", highlight=False)
        return
    console.print(f"different: {compared}", highlight=False)
    for key in found.keys:
        for line in _difference(key):
            console.print(line, highlight=False, markup=False)
    for name, only in zip(names, found.only, strict=True):
        if only:
            text = f"{plural(len(only), 'line')} in {name} alone: {places(only)}"
            console.print(text, highlight=False, markup=False)
    raise typer.Exit(1)


def _difference(key: KeyDifference) -> Iterator[str]:
    """Say how a key differs."""
    from mmhooks.report.log_compare import difference_of, place_of

    assert key.first is not None
    one, other = ("nothing" if value is None else repr(value) for value in key.values)
    yield f"{key.key}: {key.count:,} of {key.compared:,} differ"
    apart = difference_of(*key.values)
    by = f", {apart:.3g} apart" if apart < float("inf") else ""
    yield f"  first at {place_of(key.first[0])}: {one} and {other}{by}"
    if key.largest_at is not None and key.largest_at is not key.first and key.largest < float("inf"):
        yield f"  at most {key.largest:.3g} apart, at {place_of(key.largest_at[0])}"

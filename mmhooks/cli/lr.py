"""``mmhooks lr``: the schedule of a config as a picture, without its model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from mmhooks.cli.train import read
from mmhooks.cli.values import CfgOptions, Codebase, ConfigFile, check_file
from mmhooks.config.files import READERS
from mmhooks.errors import ConfigError

if TYPE_CHECKING:
    from mmhooks.report.schedule import Schedule

_SUFFIXES = (".png", ".svg", ".pdf")


def _picture(value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() not in _SUFFIXES:
        hint = f"{value} is a folder: write {value / 'curves.png'}" if value.is_dir() else f"write {value.stem}.png"
        raise typer.BadParameter(f"a picture must end in {', '.join(_SUFFIXES)}, not {value.name!r}: {hint}")
    return value


def _other(value: Path | None) -> Path | None:
    if value is not None:
        check_file(value, "config", READERS)
    return value


Picture = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        callback=_picture,
        help="Write a picture: .png, .svg or .pdf.",
        show_default="drawn in the terminal",
    ),
]


def lr(
    config: ConfigFile,
    output: Picture = None,
    epoch_len: Annotated[
        int | None,
        typer.Option("--epoch-len", min=1, help="Train iterations an epoch, in each process.", show_default="1000"),
    ] = None,
    momentum: Annotated[bool, typer.Option("--momentum", help="Show the momentum, too.")] = False,
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare",
            metavar="OTHER",
            callback=_other,
            help="Lay another config's schedule over it, and say where they part.",
        ),
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="With --compare: exit with 1 where the schedules differ.")
    ] = False,
    log: Annotated[
        bool | None, typer.Option("--log/--linear", help="The axis of the rates.", show_default="what shows more")
    ] = None,
    imports: Annotated[
        bool, typer.Option("--imports", help="Import the code base and custom_imports: their policies need it.")
    ] = False,
    codebase: Codebase = None,
    world_size: Annotated[int, typer.Option("--world-size", min=1, help="The number of processes.")] = 1,
    options: CfgOptions = None,
) -> None:
    """Plot the learning rate of a config over its run: the numbers are the hooks' own, and nothing is trained.

    Param groups are those that paramwise_cfg names; whether the model has them is not known here.

    Examples:
        mmhooks lr config.py                           # in the terminal
        mmhooks lr config.py -o lr.png --epoch-len 7330 --momentum
        mmhooks lr config.py --set lr_config.step=[16,22] runner.max_epochs=24
        mmhooks lr config.py --compare other.py        # where they part
    """
    from mmhooks.plan import plan_run
    from mmhooks.report.figures import check_suffix, write_figure
    from mmhooks.report.schedule import comparison, differs, schedule_of
    from mmhooks.report.schedule_charts import schedule_charts
    from mmhooks.report.terminal import draw

    if exit_code and compare is None:
        raise typer.BadParameter("--exit-code needs --compare OTHER: there is nothing to compare")
    if output is not None:
        check_suffix(output)
    files = [config] if compare is None else [config, compare]
    schedules = []
    for file in files:
        plan = plan_run(read(file, options), codebase, world_size=world_size)
        schedules.append(schedule_of(plan, epoch_len, world_size=world_size, imports=imports))
    names = _names(files)
    keys = ["lr", "momentum"] if momentum else ["lr"]
    rows = [charts for key in keys if (charts := schedule_charts(key, schedules, log=log, names=names))]
    _check_walked(schedules, keys)
    console = Console()
    notes = [
        f"{name}: {one.summary()}" if compare else one.summary() for name, one in zip(names, schedules, strict=True)
    ]
    title = " and ".join(names)
    notes_of_both = [note for one in schedules for note in _notes(one)]
    told = [line for key in keys for line in comparison(key, *schedules)] if compare else []
    if output is None:
        console.print(f"[bold]{escape(title)}[/]", highlight=False)
    for line in [*notes, *notes_of_both, *told]:
        console.print(line, highlight=False, markup=False)
    if output is None:
        for row in rows:
            for index, chart in enumerate(row):
                console.print()
                console.print(draw(chart, console, height=12 if index == 0 else 7), end="")
    else:
        write_figure(output, rows, title=title, notes=[*notes, *told])
        console.print(f"written: {output}", highlight=False, markup=False, soft_wrap=True)
    if exit_code and any(differs(key, *schedules) for key in keys):
        raise typer.Exit(1)


def _names(files: list[Path]) -> list[str]:
    """Call configs by their files, with so many folders as tell them apart."""
    for count in range(1, max(len(file.parts) for file in files) + 1):
        names = ["/".join(file.parts[-count:]) for file in files]
        if len(set(names)) == len(names):
            break
    return names


def _check_walked(schedules: list[Schedule], keys: list[str]) -> None:
    for one in schedules:
        for key in keys:
            if not one.values[key] and (key == "lr" or any(miss.key == f"{key}_config" for miss in one.unwalked)):
                reasons = "; ".join(str(miss) for miss in one.unwalked if miss.key in (f"{key}_config", "optimizer"))
                raise ConfigError(
                    f"{one.name}: there is no {key} to plot: {reasons or 'the config has no optimizer'}"
                    + ("; where its code base is installed, --imports finds it" if reasons else "")
                )


def _notes(schedule: Schedule) -> list[str]:
    return [*schedule.notes, *(str(one) for one in schedule.unwalked if one.key == "optimizer")]

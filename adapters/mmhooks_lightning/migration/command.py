"""``mmhooks migrate``: a config, or a folder of them, becomes a Lightning project."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from mmhooks.cli.values import CfgOptions, Codebase, check_file
from mmhooks.config import Config, parse_option
from mmhooks.config.files import READERS
from mmhooks.errors import ConfigError
from mmhooks_lightning.migration.rows import Report, Verdict

if TYPE_CHECKING:
    from mmhooks_lightning.migration.migration import Migration


class Style(StrEnum):
    """What a project is written in."""

    BRIDGE = "bridge"
    LIGHTNING = "lightning"


def _check(value: Path) -> Path:
    if not value.is_dir():
        check_file(value, "config", READERS)
    return value


def command(
    config: Annotated[
        Path, typer.Argument(callback=_check, metavar="CONFIG", help="A config of MMCV 1.x, or a folder of them.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder of the project. Without it nothing is written."),
    ] = None,
    style: Annotated[
        Style, typer.Option(help="bridge: MMCV's hooks, with its numbers. lightning: plain Lightning and torch.")
    ] = Style.BRIDGE,
    codebase: Codebase = None,
    options: CfgOptions = None,
    world_size: Annotated[int, typer.Option(min=1, help="The number of processes that it will train in.")] = 1,
    verify: Annotated[
        bool, typer.Option("--verify", help="Walk both sides without a model, and compare them at every iteration.")
    ] = False,
    model: Annotated[
        bool, typer.Option("--model", help="Build the model, and compare its param groups too; imports its code.")
    ] = False,
    epoch_len: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Iterations an epoch, to verify with.", show_default="1, 7 and warmup_iters + 1"),
    ] = None,
) -> None:
    """Turn MMCV configs into a Lightning project, and say what became of every key.

    Examples:
        mmhooks migrate faster_rcnn_r50_fpn_1x_coco.py                 # say it, and write nothing
        mmhooks migrate faster_rcnn_r50_fpn_1x_coco.py -o faster_rcnn
        mmhooks migrate configs/resnet --codebase mmcls --style lightning -o resnet
        mmhooks migrate my_config.py --set optimizer.lr=0.02 runner.max_epochs=24
        mmhooks migrate my_config.py --verify --epoch-len 7330
    """
    from mmhooks_lightning.migration.migration import migrate, run_name, write_project
    from mmhooks_lightning.migration.summary import agrees

    console = Console()
    folder = config.is_dir()
    migrations: list[Migration] = []
    for file in _configs(config):
        try:
            cfg = Config.fromfile(file)
            cfg.merge_from_dict(dict(parse_option(option) for option in options or ()))
            one = migrate(cfg, style=style.value, codebase=codebase, world_size=world_size)
        except ConfigError as error:
            if not folder:
                raise
            console.print(f"left out: {error}", style="yellow", soft_wrap=True, markup=False)
            continue
        one.name = run_name(".".join(file.relative_to(config).with_suffix("").parts) if folder else file.stem)
        migrations.append(one)
    if not migrations:
        raise ConfigError(f"{config} holds no config that can be migrated")
    if len(migrations) == 1:
        console.print(_rows_table(migrations[0].report))
    else:
        console.print(_counts_table(migrations))
    differ = False
    if verify or model:
        for one in migrations:
            one.verify(epoch_len, imports=model)
            differ |= one.style == "bridge" and not all(map(agrees, one.report.proof))
            differ |= any(seen.lr_relative > _ROUNDING for seen in one.report.proof)
        console.print(_proof_table(migrations))
    for one in migrations if model else ():
        groups = one.compare_groups()
        differ |= bool(groups.differences)
        said = "\n".join(groups.differences) or "all of them equal"
        console.print(
            f"{one.name}: {groups.count} param groups of {groups.parameters} parameters, {said}", soft_wrap=True
        )
    if output is not None:
        paths = write_project(output, migrations)
        console.print(f"{len(paths)} files are in {output}: begin with {output / 'README.md'}", soft_wrap=True)
    if differ:
        raise typer.Exit(1)


def _configs(path: Path) -> list[Path]:
    """List the configs of a folder; those of folders called ``_base_`` are parts of others."""
    if not path.is_dir():
        return [path]
    files = (file for file in sorted(path.rglob("*")) if file.suffix in READERS and file.is_file())
    return [file for file in files if "_base_" not in file.relative_to(path).parts]


#: Learning rates that differ by more than this, relative to them, are not the same.
_ROUNDING = 1e-12
_COLOURS = {
    Verdict.EXACT: "green",
    Verdict.EQUIVALENT: "cyan",
    Verdict.DIFFERS: "yellow",
    Verdict.CARRIED: "magenta",
    Verdict.NOT_MAPPED: "red",
}


def _rows_table(report: Report) -> Table:
    table = Table(title=f"{report.config} ({report.codebase}), style {report.style}")
    table.add_column("key")
    table.add_column("became")
    table.add_column("verdict")
    for row in report.rows:
        if row.verdict in (Verdict.BUILDERS, Verdict.HELPER):
            continue
        became = row.became + (f"\n{row.why}" if row.why else "")
        table.add_row(row.key, became.strip(), f"[{_COLOURS.get(row.verdict, 'dim')}]{row.verdict}[/]")
    counts = {verdict: sum(row.verdict is verdict for row in report.rows) for verdict in Verdict}
    table.caption = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return table


def _proof_table(migrations: list[Migration]) -> Table:
    table = Table(title="MMCV's loop against Lightning's, at every iteration")
    for column in ("config", "epoch of", "iterations", "lr differs by", "momentum by", "points", "files"):
        table.add_column(column, justify="left" if column in ("config", "points", "files") else "right")
    for one in migrations:
        for seen in one.report.proof:
            words = {True: "[green]equal[/]", False: "[red]differ[/]", None: "-"}
            numbers = (f"{seen.lr_difference:g}", f"{seen.momentum_difference:g}")
            points, files = words[seen.points_equal], words[seen.files_equal]
            table.add_row(one.name, str(seen.epoch_len), f"{seen.iterations:,}", *numbers, points, files)
    told = {
        text: None for one in migrations for seen in one.report.proof for text in (*seen.unwalked, *seen.differences)
    }
    notes = [*told][:20]
    if any("paramwise_cfg" in str(one.optimizer) for one in migrations):
        notes.append("param groups by paramwise_cfg are those of a model: see --model")
    table.caption = "\n".join(notes)
    return table


def _counts_table(migrations: list[Migration]) -> Table:
    shown = [
        verdict for verdict in Verdict if any(row.verdict is verdict for one in migrations for row in one.report.rows)
    ]
    table = Table(title=f"{len(migrations)} configs")
    table.add_column("config")
    for verdict in shown:
        table.add_column(str(verdict), justify="right")
    for one in migrations:
        table.add_row(one.name, *(str(sum(row.verdict is verdict for row in one.report.rows)) for verdict in shown))
    return table

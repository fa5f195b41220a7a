"""The arguments that several commands take: checked before the command begins, and completed by the shell."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from mmhooks.config import parse_option
from mmhooks.config.files import READERS
from mmhooks.errors import ConfigError, nearest

_STORE = re.compile(r"[\w.+-]{2,}:")  # s3://bucket, torchvision://resnet50


def check_file(path: str | os.PathLike[str], kind: str, suffixes: Iterable[str] = ()) -> None:
    """Check that an argument names a file that can be read.

    Args:
        path: what was typed.
        kind: what it should be, for messages: ``"config"``.
        suffixes: those of such files, to tell what is near; all files by default.

    Raises:
        typer.BadParameter: it does not; says what is near.
    """
    suffixes = tuple(suffixes)
    if not str(path):
        raise typer.BadParameter(f"an empty path is no {kind}")
    place = Path(path)
    try:
        if place.is_file():
            if not os.access(place, os.R_OK):
                raise typer.BadParameter(f"{place} cannot be read: you have no permission")
            return
        if place.is_dir():
            inside = sorted(file.name for file in place.iterdir() if file.suffix in suffixes)
            shown = ", ".join(inside[:5]) + (", ..." if len(inside) > 5 else "")
            raise typer.BadParameter(f"{place} is a folder, not a {kind}" + (f"; it holds {shown}" if inside else ""))
        if place.exists():
            return  # a pipe, as of <(...)
    except OSError as error:
        raise typer.BadParameter(f"{place} cannot be read: {error.strerror}") from None
    raise typer.BadParameter(f"there is no {kind} {place}{_near(place, suffixes)}")


def _near(path: Path, suffixes: tuple[str, ...]) -> str:
    """Name what is near a path that is not there: in its folder, or by the first folder that is not there."""
    missing = path
    while not missing.parent.is_dir() and missing.parent != missing:
        missing = missing.parent
    rest = path.relative_to(missing)
    try:
        there = [one / rest for one in missing.parent.iterdir()]
    except OSError:
        return ""
    files = [str(one) for one in there if one.is_file() and (not suffixes or one.suffix in suffixes)]
    return nearest(str(path), files) or ("" if missing == path else f": there is no folder {missing}")


def _config(value: Path) -> Path:
    check_file(value, "config", READERS)
    return value


def check_checkpoint(value: str | None) -> str | None:
    """Check that an argument names a checkpoint; one in a store is looked for when it is read."""
    if value is not None and not _STORE.match(value):
        check_file(value, "checkpoint", (".pth", ".pt", ".ckpt", ".safetensors"))
    return value


def _options(values: list[str] | None) -> list[str] | None:
    for value in values or ():
        try:
            parse_option(value)
        except ConfigError as error:
            raise typer.BadParameter(str(error)) from None
    return values


def _drivers() -> list[str]:
    return sorted({entry.name for entry in entry_points(group="mmhooks.drivers")})


def _driver(value: str) -> str:
    if value not in (known := _drivers()):
        raise typer.BadParameter(f"there is no driver {value!r}; there are {', '.join(known)}{nearest(value, known)}")
    return value


def _codebases() -> list[str]:
    from mmhooks.recipes.find import RECIPES

    return list(RECIPES)


def _codebase(value: str | None) -> str | None:
    if value is not None and ":" not in value and value not in (known := _codebases()):
        raise typer.BadParameter(
            f"there is no code base {value!r}; there are {', '.join(known)}{nearest(value, known) or '.'} That of a "
            "fork is written package.module:RECIPE"
        )
    return value


def _starting(words: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _complete_driver(incomplete: str) -> list[str]:
    return _starting(_drivers(), incomplete)


def _complete_codebase(incomplete: str) -> list[str]:
    return _starting(_codebases(), incomplete)


#: A config that must be there. Paths are completed by the shell itself.
ConfigFile = Annotated[Path, typer.Argument(callback=_config, help="An MMCV-style config file.", metavar="CONFIG")]
CheckpointFile = Annotated[
    str, typer.Argument(callback=check_checkpoint, help="A checkpoint, local or in a store.", metavar="CHECKPOINT")
]
#: Values to lay over a config: hand them to `read`.
CfgOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--cfg-options", "--set", metavar="KEY=VALUE ...", callback=_options, help="Values to lay over the config."
    ),
]
Codebase = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        callback=_codebase,
        autocompletion=_complete_codebase,
        help="Whose config it is: mmdet, mmseg, mmcls, mmpose, mmcv for your own code, or package.module:RECIPE.",
        show_default="told by the type of the model",
    ),
]
Driver = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        callback=_driver,
        autocompletion=_complete_driver,
        help="What runs the loop: native or lightning.",
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no log lines on the terminal; warnings and errors stay.")
]

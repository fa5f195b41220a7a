"""The command ``mmhooks``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from mmhooks import __version__
from mmhooks.cli.checkpoint import checkpoint
from mmhooks.cli.demo import demo
from mmhooks.cli.inspect import inspect
from mmhooks.cli.logs import TakesCsv, logs
from mmhooks.cli.lr import lr
from mmhooks.cli.test import evaluate
from mmhooks.cli.train import train
from mmhooks.errors import ConfigError, MMHooksError

_MANY = ("--cfg-options", "--set")
_COMMANDS = "mmhooks.commands"  # the group of entry points: functions, as Typer takes them


class _Group(TyperGroup):
    """Turns the errors that mmhooks raises on purpose into a line and the exit status 1, and finds further commands."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *(entry.name for entry in entry_points(group=_COMMANDS))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is None:
            for entry in entry_points(group=_COMMANDS, name=cmd_name):
                return _command(entry)
        return found

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if ctx.params.get("debug") or not _is_users(error):
                raise
            message = Text.assemble(("error: ", "bold red"), ("\n".join([str(error), *_notes(error)]), "red"))
            Console(stderr=True).print(message, soft_wrap=True)
            raise typer.Exit(1) from None


class _ManyOptions(TyperCommand):
    """Lets ``--cfg-options`` take several values, as MMCV's tools do: ``--cfg-options a=1 b.c=2``."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        for option in _MANY:
            args = repeat_option(args, option)
        return super().parse_args(ctx, args)


def _command(entry: EntryPoint) -> Any:
    """Make the command that another package brings."""
    try:
        function = entry.load()
    except ImportError as error:
        raise ConfigError(f"the command {entry.name} cannot be imported: {error}") from error
    brought = typer.Typer(add_completion=False)
    brought.command(entry.name, cls=_ManyOptions)(function)
    return typer.main.get_command(brought)


def repeat_option(args: Sequence[str], option: str) -> list[str]:
    """Write an option before each of the values that follow it.

    The first word after the option is its value; further ones are as long as they look like ``key=value``.

    Example:
        >>> repeat_option(["--cfg-options", "a=1", "b.c=2", "config.py"], "--cfg-options")
        ['--cfg-options', 'a=1', '--cfg-options', 'b.c=2', 'config.py']
    """
    rewritten: list[str] = []
    words = iter(args)
    more = False  # whether another value may follow
    for word in words:
        if word == "--":
            return [*rewritten, word, *words]
        if word == option:
            rewritten += [word, *([value] if (value := next(words, None)) is not None else [])]
            more = True
        elif word.startswith("-"):
            rewritten.append(word)
            more = word.startswith(option + "=")
        elif more and "=" in word:
            rewritten += [option, word]
        else:
            rewritten.append(word)
            more = False
    return rewritten


def _is_users(error: Exception) -> bool:
    """Tell a user's mistake from ours: one of our errors, or arguments in a config that a class refuses."""
    built = any(note.startswith("while building ") for note in _notes(error))
    return isinstance(error, MMHooksError) or (built and isinstance(error, (TypeError, ValueError, ImportError)))


def _notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", ()))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmhooks {__version__}")
        raise typer.Exit


app = typer.Typer(cls=_Group, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(demo)
app.command(cls=_ManyOptions)(train)
app.command("test", cls=_ManyOptions)(evaluate)
app.command(cls=_ManyOptions)(inspect)
app.command(cls=_ManyOptions)(lr)
app.command(cls=TakesCsv)(logs)
app.add_typer(checkpoint, name="checkpoint")


@app.callback()
def _app(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """MMCV-style training hooks, natively or under Lightning."""


def main() -> None:
    """Run the command line."""
    # last, so that a config's custom_imports find the project here, and nothing here hides a package
    sys.path.append(str(Path.cwd()))
    app(prog_name="mmhooks")

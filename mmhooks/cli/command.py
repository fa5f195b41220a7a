"""What all commands of the command line have in common: examples in their help, and errors without a traceback."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from mmhooks.errors import ConfigError, MMHooksError, nearest

_MANY = ("--cfg-options", "--set")
_COMMANDS = "mmhooks.commands"  # the group of entry points: functions, as Typer takes them


class _Shown:
    """Shows the examples of a docstring in a box of their own, below the options."""

    help: str | None

    def _take_examples(self) -> None:
        text, _, examples = (self.help or "").partition("\nExamples:\n")
        self.help = text.strip()
        self.examples = [line.strip() for line in examples.splitlines() if line.strip()]

    def _show_examples(self) -> None:
        if not self.examples:
            return
        shown = Text()
        for number, line in enumerate(self.examples):
            words, mark, comment = line.partition("#")
            shown.append("\n" * (number > 0) + words, "cyan" if words else "").append(mark + comment, "dim")
        console = Console(width=_width(), highlight=False)
        console.print(Panel(shown, title="Examples", title_align="left", border_style="dim"))


class Command(_Shown, TyperCommand):
    """A command: its docstring may end with ``Examples:``, and ``--cfg-options`` takes several values, as in MMCV."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._take_examples()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help, and the examples below it."""
        super().format_help(ctx, formatter)
        self._show_examples()

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the arguments, with an option before each of its values."""
        if not ctx.resilient_parsing:
            for option in _MANY:
                args = repeat_option(args, option)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _plain(error.message)
            raise


class Group(_Shown, TyperGroup):
    """A group of commands that names what is near a misspelt one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._take_examples()

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the help, and the examples below it."""
        super().format_help(ctx, formatter)
        self._show_examples()

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the first argument names."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            hint = nearest(name, self.list_commands(ctx))
            if not hint and Path(name).is_file():
                hint = f"; did you mean '{ctx.command_path} train {name}'?"
            ctx.fail(f"there is no command {name!r}{hint or '; there are ' + ', '.join(self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


class Commands(Group):
    """The commands of mmhooks, and those that other packages bring; an error is a line and an exit status."""

    def list_commands(self, ctx: Any) -> list[str]:
        """List the commands in the order of the help."""
        return [*super().list_commands(ctx), *(entry.name for entry in entry_points(group=_COMMANDS))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Find a command by its name."""
        found = super().get_command(ctx, cmd_name)
        if found is None:
            for entry in entry_points(group=_COMMANDS, name=cmd_name):
                return _command(entry)
        return found

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Read the arguments before a command; ``--debug`` may be behind it."""
        before = args[: args.index("--")] if "--" in args else args
        if "--debug" in before and not ctx.resilient_parsing:
            args = ["--debug", *(word for word in before if word != "--debug"), *args[len(before) :]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; what it raises on purpose becomes a message and the exit status 1."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if ctx.params.get("debug") or not _is_users(error):
                raise
            _print_error(error)
            raise typer.Exit(1) from None


def _command(entry: EntryPoint) -> Any:
    """Make the command that another package brings."""
    try:
        function = entry.load()
    except ImportError as error:
        raise ConfigError(f"the command {entry.name} cannot be imported: {error}") from error
    brought = typer.Typer(add_completion=False)
    brought.command(entry.name, cls=Command)(function)
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


def _plain(message: str) -> str:
    """Take the words of a library off a message, and name what is near a word that is none of several."""
    message = message.removeprefix("Value error, ")
    if found := re.fullmatch(r"'(.*)' is not one of ('.*')\.?", message):
        return message.rstrip(".") + nearest(found[1], re.findall(r"'([^']*)'", found[2]))
    return message


def _is_users(error: Exception) -> bool:
    """Tell a user's mistake from ours: one of our errors, a file, or arguments in a config that a class refuses."""
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        return isinstance(error, MMHooksError) or error.filename is not None
    built = any(note.startswith("while building ") for note in _notes(error))
    return isinstance(error, MMHooksError) or (built and isinstance(error, (TypeError, ValueError, ImportError)))


def _print_error(error: Exception) -> None:
    what = str(error)
    if isinstance(error, OSError) and not isinstance(error, MMHooksError):
        what = f"{os.fsdecode(error.filename)}: {error.strerror}"
    message = Text.assemble(("error: ", "bold red"), ("\n".join([what, *_notes(error)]), "red"))
    Console(stderr=True).print(message, soft_wrap=True)


def _notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", ()))


def _width() -> int | None:
    """Give the width of the help's other boxes, where Typer is told one."""
    width = os.environ.get("TERMINAL_WIDTH")
    return int(width) if width and width.isdigit() else None

"""The command ``mmhooks``.

How a command is written, here and where another package brings one (an entry point of the group ``mmhooks.commands``):

- **One file, one function.** At its top the file imports nothing that imports PyTorch, Lightning or Matplotlib: the
  help and the shell's completion load all commands, and answer at once. What a command needs it imports in the
  function.
- **Examples.** The docstring ends with ``Examples:`` and one indented command a line, ``#`` and a comment after it or
  above it; ``--help`` shows them in a box of their own. Before them it says what the command does. Help texts are
  Rich markup, which takes ``[default: ...]`` for a tag: say ``show_default="..."``.
- **Arguments.** Those that commands share are in `mmhooks.cli.values` (``ConfigFile``, ``CheckpointFile``,
  ``CfgOptions``, ``Codebase``, ``Driver``, ``Quiet``): they are checked before the command begins, name what is near,
  and are completed. What is one of a few words is a ``StrEnum``.
- **Exit status.** 2 for a command line that is wrong: raise ``typer.BadParameter``, whose message says what to write
  instead. 1 for what fails: raise an `MMHooksError`, or ``typer.Exit(1)`` where the output says what is wrong (a check
  that found a difference). 130 after Ctrl-C. A user's mistake shows no traceback without ``--debug``.
- **Output.** What was asked for goes to stdout, and errors to stderr. Only a command with progress to show takes
  ``--quiet``: then warnings, errors and what was asked for are left.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mmhooks import __version__
from mmhooks.cli.checkpoint import checkpoint
from mmhooks.cli.command import Command, Commands, repeat_option
from mmhooks.cli.demo import demo
from mmhooks.cli.inspect import inspect
from mmhooks.cli.logs import TakesCsv, logs
from mmhooks.cli.lr import lr
from mmhooks.cli.test import evaluate
from mmhooks.cli.train import train

__all__ = ["app", "main", "repeat_option"]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mmhooks {__version__}")
        raise typer.Exit


app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
app.command(cls=Command)(demo)
app.command(cls=Command)(train)
app.command("test", cls=Command)(evaluate)
app.command(cls=Command)(inspect)
app.command(cls=Command)(lr)
app.command(cls=TakesCsv)(logs)
app.add_typer(checkpoint, name="checkpoint")


@app.callback()
def _app(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; it may stand behind a command, too.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """MMCV-style training hooks, natively or under Lightning.

    Examples:
        mmhooks demo                                   # handwritten digits, under both drivers
        mmhooks train config.py --driver lightning
        mmhooks inspect config.py                      # what a config does, without training
        mmhooks lr config.py                           # its learning rate over the run, as a plot
        mmhooks logs work_dirs/config                  # the curves of a run
        mmhooks migrate config.py -o project           # a Lightning project of it
        mmhooks --install-completion                   # the Tab key, in your shell
    """


def main() -> None:
    """Run the command line."""
    # last, so that a config's custom_imports find the project here, and nothing here hides a package
    sys.path.append(str(Path.cwd()))
    app(prog_name="mmhooks")

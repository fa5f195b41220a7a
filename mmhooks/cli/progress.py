"""Log lines of a command: on the terminal, above a progress bar, and in a file."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from mmhooks.log import FORMAT

#: Loggers of drivers that write to the terminal by themselves.
_LOUD = ("lightning.pytorch", "lightning.fabric")


@contextlib.contextmanager
def logging_to(console: Console | None = None, file: Path | None = None, quiet: bool = False) -> Iterator[None]:
    """Send the lines of the logger ``mmhooks`` to a terminal, a file, or both, for a while.

    Args:
        console: what a progress bar is drawn on as well: its lines go above the bar. Without a terminal behind
            it, plain lines go to stdout.
        file: gets every line; its folder is made when missing.
        quiet: the console gets warnings and errors alone, in plain lines on stderr.
    """
    handlers: list[logging.Handler] = []
    if console is not None:
        handlers.append(_terminal(console, quiet))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(_formatted(logging.FileHandler(file, encoding="utf-8")))
    logger = logging.getLogger("mmhooks")
    before = logger.level
    if before == logging.NOTSET:
        logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        with _hushed(logging.WARNING) if quiet else contextlib.nullcontext():
            yield
    finally:
        logger.setLevel(before)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


@contextlib.contextmanager
def _hushed(level: int) -> Iterator[None]:
    """Let the drivers' own loggers say nothing below a level."""
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, before in zip(loggers, levels, strict=True):
            logger.setLevel(before)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep log lines and warnings off the terminal: those of the run are in its log file."""
    # a handler on the logger keeps the run from adding one for the terminal
    kept = {name: (logging.getLogger(name), logging.NullHandler()) for name in ("mmhooks", "py.warnings")}
    for logger, handler in kept.values():
        logger.addHandler(handler)
    logging.captureWarnings(True)
    try:
        with _hushed(logging.ERROR):
            yield
    finally:
        logging.captureWarnings(False)
        for logger, handler in kept.values():
            logger.removeHandler(handler)


def _terminal(console: Console, quiet: bool) -> logging.Handler:
    if quiet:
        handler: logging.Handler = _formatted(logging.StreamHandler(sys.stderr))
        handler.setLevel(logging.WARNING)
    elif console.is_terminal:
        from rich.logging import RichHandler

        handler = RichHandler(console=console, show_path=False)
    else:
        handler = _formatted(_Lines(sys.stdout))
    return handler


class _Lines(logging.StreamHandler[Any]):
    """Writes lines as long as somebody reads them: a run goes on without its terminal, as after ``| head``."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Write into nothing from now on, if the pipe is closed."""
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)
            return
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


def _formatted(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(FORMAT)
    return handler

"""A progress bar on the terminal, and log lines that leave it whole."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from mmhooks.hook import Hook
from mmhooks.log import FORMAT

if TYPE_CHECKING:
    from mmhooks.runner import BaseRunner


class ProgressBarHook(Hook):
    """Show epoch, iteration, loss, learning rate and the time left, and nothing where there is no terminal.

    Register it at LOWEST priority; it only reads. Call `close` when the run is over, however it ended.

    Args:
        console: where to draw; log lines should go through the same one.
        title: said before the bar.
        interval: seconds between two refreshes, at least. The loss is read at a refresh alone, since reading
            it waits for the device.
    """

    def __init__(self, console: Console, title: str = "train", interval: float = 0.1) -> None:
        self.console = console
        self.title = title
        self.interval = interval
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._last = 0.0

    def before_run(self, runner: BaseRunner) -> None:
        """Draw the empty bar."""
        if not self.console.is_terminal or runner.rank != 0:
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TimeRemainingColumn(),
            console=self.console,
            auto_refresh=False,  # no thread beside the training: iterations refresh it
        )
        self._task = self._progress.add_task(self.title, total=runner.max_iters, completed=runner.iter, values="")
        self._progress.start()

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Refresh when it is time."""
        if self._progress is None:
            return
        now = time.monotonic()
        if now - self._last >= self.interval or self.is_last_iter(runner):
            self._last = now
            self._refresh(self._progress, runner)

    def after_run(self, runner: BaseRunner) -> None:
        """Leave the last state of the bar on the terminal."""
        self.close()

    def close(self) -> None:
        """Stop drawing."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _refresh(self, progress: Progress, runner: BaseRunner) -> None:
        description = self.title
        if runner.by_epoch:
            description += f" epoch {runner.epoch + 1}/{runner.max_epochs or '?'}"
        progress.update(
            self._task,
            description=description,
            total=runner.max_iters,
            completed=runner.iter + 1,
            values=" ".join(_values(runner)),
        )
        progress.refresh()


def _values(runner: BaseRunner) -> Iterator[str]:
    if isinstance(runner.outputs, dict) and "loss" in runner.outputs:
        loss = runner.outputs["loss"]
        yield f"loss {float(loss.detach() if hasattr(loss, 'detach') else loss):.4f}"
    if runner.optimizer is not None:
        lr: Any = runner.current_lr()
        groups = next(iter(lr.values())) if isinstance(lr, dict) else lr
        yield f"lr {groups[0]:.2e}"


@contextlib.contextmanager
def logging_to(console: Console | None = None, file: Path | None = None) -> Iterator[None]:
    """Send the lines of the logger ``mmhooks`` to a terminal, a file, or both, for a while.

    Args:
        console: what a progress bar is drawn on as well: its lines go above the bar. Without a terminal behind
            it, plain lines go to stdout.
        file: gets every line; its folder is made when missing.
    """
    handlers: list[logging.Handler] = []
    if console is not None and console.is_terminal:
        from rich.logging import RichHandler

        handlers.append(RichHandler(console=console, show_path=False))
    elif console is not None:
        handlers.append(_formatted(logging.StreamHandler(sys.stdout)))
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
        yield
    finally:
        logger.setLevel(before)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


def _formatted(handler: logging.Handler) -> logging.Handler:
    handler.setFormatter(FORMAT)
    return handler

"""ProgressBarHook: how far a run is, on the terminal."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch

from mmhooks.checks import check_number
from mmhooks.evaluation import followed_by
from mmhooks.hook import Hook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: What the timer puts beside the values of the model.
_OF_THE_CLOCK = frozenset({"time", "data_time"})
#: Seconds over which the speed is averaged.
_SPAN = 5.0
#: Columns of a bar: the fewest that tell something, and as many as it takes.
_NARROWEST, _WIDEST = 8, 40


@HOOKS.register_module(yields=True)
class ProgressBarHook(Hook):
    """Show a bar with epoch, iteration, time left, losses, learning rate and speed, and one for each validation.

    Where there is no terminal it shows nothing: the lines of a logger hook are what is read there. Under a Trainer
    that shows progress itself, that bar has the losses and the learning rate, and this hook shows nothing.

    It never waits for the device: of a value that is a tensor on a device, the last one is shown that a logger hook
    has averaged, so it is of the last logging interval. Values on the CPU are those of the iteration. Log lines and
    prints go above the bar. Register it at the priority LOWEST; it only reads.

    Args:
        title: said before the bar.
        interval: seconds between two refreshes, at least.
        console: a Rich console to draw on; stdout by default.

    Raises:
        ConfigError: an interval that is no number, or negative.

    Example:
        >>> runner.register_hook(ProgressBarHook(), priority="LOWEST")
    """

    def __init__(self, title: str = "train", interval: float = 0.1, console: Console | None = None) -> None:
        self.title = title
        self.interval = check_number(type(self).__name__, "interval", interval, minimum=0)
        self.console = console
        self._screen: Screen | None = None

    def before_run(self, runner: BaseRunner) -> None:
        """Draw the empty bar, where there is a terminal and nobody else draws one."""
        self._screen = None
        if runner.shows_progress or runner.rank != 0:
            return
        screen = Screen.on(self.console, self.interval)
        if screen is None:
            return
        self._screen = screen
        runner.on_leave(screen.close)
        screen.lines.append(Line(self.title, runner.max_iters, runner.iter, start=runner.iter))
        self._describe(screen, runner)
        screen.start()

    def before_val_epoch(self, runner: BaseRunner) -> None:
        """Begin a bar for the val epoch."""
        if self._screen is not None:
            self._screen.begin(Line("val", _length(runner.data_loader)))

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Refresh when it is time."""
        screen = self._screen
        if screen is None:
            return
        if len(screen.lines) > 1:  # iterations of a val flow, which has no end of its own
            screen.end()
        if screen.advance(runner.iter + 1) or self.is_last_iter(runner):
            self._describe(screen, runner)

    def after_val_iter(self, runner: BaseRunner) -> None:
        """Refresh when it is time."""
        screen = self._screen
        if screen is None:
            return
        if len(screen.lines) == 1:
            screen.begin(Line("val", None))
        if screen.advance(runner.inner_iter + 1):
            screen.draw()

    def after_val_epoch(self, runner: BaseRunner) -> None:
        """Take the bar of the val epoch away."""
        if self._screen is not None and len(self._screen.lines) > 1:
            self._screen.end()

    def after_run(self, runner: BaseRunner) -> None:
        """Leave the last state of the bar on the terminal."""
        if self._screen is not None:
            self._screen.close()
            self._screen = None

    def _describe(self, screen: Screen, runner: BaseRunner) -> None:
        line = screen.lines[0]
        line.total = runner.max_iters
        line.title = self.title
        if runner.by_epoch:
            last = runner.max_epochs or "?"
            line.title += f" epoch {min(runner.epoch + 1, runner.max_epochs or math.inf)}/{last}"
        line.values = list(_values(runner))
        screen.draw()


@contextlib.contextmanager
def show_tests(console: Console | None = None, title: str = "test") -> Iterator[None]:
    """Show a bar for the loaders that `mmhooks.evaluation` goes through, where there is a terminal.

    Args:
        console: a Rich console to draw on; stdout by default.
        title: said before the bar.

    Example:
        >>> with show_tests():
        ...     results = single_gpu_test(model, loader)
    """
    screen = Screen.on(console, 0.1)
    if screen is None:
        yield
        return
    try:
        screen.title = title
        screen.start()
        yield
    finally:
        screen.close()


# values ---------------------------------------------------------------------------------------------------------


def _values(runner: BaseRunner) -> Iterator[str]:
    """Give losses, learning rates and other values, the most telling first; nothing here waits for a device."""
    found = dict(_latest(runner))
    losses = [name for name in found if "loss" in name]
    losses.sort(key=lambda name: name != "loss")
    for name in losses[:1]:
        yield f"{name} {found[name]:.4f}"
    if runner.optimizer is not None:
        lr: Any = runner.current_lr()
        for name, groups in lr.items() if isinstance(lr, dict) else [("", lr)]:
            yield f"lr{'_' * bool(name)}{name} {groups[0]:.3g}"
    yield ""  # the place of the speed
    for name in [*losses[1:], *(name for name in found if name not in losses)]:
        yield f"{name} {found[name]:.4g}"


def _latest(runner: BaseRunner) -> Iterator[tuple[str, float]]:
    outputs = runner.outputs
    if isinstance(outputs, dict) and "loss" in outputs and "loss" not in runner.log_buffer.val_history:
        loss = _on_the_host(outputs["loss"])
        if loss is not None:
            yield "loss", loss
    for name, history in runner.log_buffer.val_history.items():
        if name in _OF_THE_CLOCK:
            continue
        latest = next((value for one in reversed(history) if (value := _on_the_host(one)) is not None), None)
        if latest is not None:
            yield name, latest


def _on_the_host(value: Any) -> float | None:
    """Give a number that is there already; what is on a device, or no number, is passed over."""
    if type(value) is float:
        return value
    if isinstance(value, torch.Tensor) and (value.device.type != "cpu" or value.numel() != 1):
        return None
    try:
        return float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError):
        return None


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:
        return None


# the terminal ---------------------------------------------------------------------------------------------------


@dataclass
class Line:
    """One bar.

    Attributes:
        title: said before it.
        total: the number of steps, where it is known.
        done: how many are.
        start: how many were when the line began.
        values: what is said behind it, the most telling first; an empty one is the place of the speed.
    """

    title: str
    total: int | None
    done: int = 0
    start: int = 0
    values: list[str] = field(default_factory=lambda: [""])
    began: float = field(default_factory=time.monotonic)
    marked: tuple[float, int] | None = None
    speed: float = 0.0

    def mark(self, now: float) -> None:
        """Measure the speed since the last mark."""
        if self.marked is not None and now > (then := self.marked[0]):
            latest = (self.done - self.marked[1]) / (now - then)
            weight = 1 - math.exp(-(now - then) / _SPAN)
            self.speed = latest if not self.speed else self.speed + weight * (latest - self.speed)
        self.marked = (now, self.done)

    def words(self) -> list[str]:
        """Say how far it is, the most telling first."""
        words = [f"{self.done}/{self.total}" if self.total is not None else f"{self.done}"]
        taken = self.done - self.start
        if self.total is not None and taken > 0:  # of all that has passed, evaluations in between included
            left = (time.monotonic() - self.began) / taken * (self.total - self.done)
            words.append(f"eta {timedelta(seconds=round(left))}")
        speed = ""
        if self.speed:
            speed = f"{self.speed:.1f} it/s" if self.speed >= 1 else f"{1 / self.speed:.1f} s/it"
        return [*words, *(word for word in (value or speed for value in self.values) if word)]


class Screen:
    """The lines with bars at the bottom of a terminal; what is printed or logged meanwhile goes above them.

    Args:
        console: the terminal.
        interval: seconds between two refreshes, at least.
    """

    def __init__(self, console: Console, interval: float) -> None:
        from rich.live import Live

        self.title = "evaluation"
        self.lines: list[Line] = []
        self._console = console
        self._interval = interval
        self._last = 0.0
        # no thread beside the training: iterations refresh it
        self._live = Live(console=console, auto_refresh=False, get_renderable=self._render)
        self._undo = contextlib.ExitStack()
        self._started = False

    @classmethod
    def on(cls, console: Console | None, interval: float) -> Screen | None:
        """Make a screen where there is a terminal that can draw over itself."""
        from rich.console import Console as RichConsole

        console = RichConsole() if console is None else console
        return cls(console, interval) if console.is_terminal and not console.is_dumb_terminal else None

    def start(self) -> None:
        """Begin to draw. Handlers of loggers that write to the terminal themselves write above the lines meanwhile."""
        from rich.errors import LiveError

        handlers = list(_of_the_terminal())
        try:
            self._live.start()
        except LiveError:  # another one draws already
            return
        self._started = True
        self._undo.callback(self._live.stop)
        for handler, stream in handlers:
            before = handler.setStream(getattr(sys, stream))
            if before is not None:
                self._undo.callback(handler.setStream, before)
        self._undo.enter_context(followed_by(self.follow))

    def close(self) -> None:
        """Leave what is drawn on the terminal, and draw no more."""
        if self._started:
            del self.lines[1:]
            self.draw()
            self._started = False
            self._undo.close()

    def begin(self, line: Line) -> None:
        """Add a line, below the others."""
        self.lines.append(line)
        self.draw()

    def end(self) -> None:
        """Take the last line away; time that has passed meanwhile is none of the others' speed."""
        self.lines.pop()
        for line in self.lines:
            line.marked = None
        self.draw()

    def advance(self, done: int) -> bool:
        """Say how far the last line is, and learn whether it is time to draw."""
        self.lines[-1].done = done
        now = time.monotonic()
        if now - self._last < self._interval:
            return False
        self._last = now
        self.lines[-1].mark(now)
        return True

    def draw(self) -> None:
        """Draw all lines."""
        if self._started:
            self._live.refresh()

    def follow(self, loader: Any) -> Iterator[Any]:
        """Hand the batches of a loader on, with a line for it."""
        own = Line(self.title, _length(loader))
        self.begin(own)
        try:
            for number, batch in enumerate(loader):
                if self.advance(number) or number == 0:
                    self.draw()
                yield batch
            own.done = own.total or own.done + 1
        finally:
            if len(self.lines) > 1:
                self.end()
            self.draw()

    def _render(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width = self._console.width
        table = Table.grid(padding=(0, 1))
        heads = max((len(line.title) for line in self.lines), default=0)
        rows = [(line, line.words()) for line in self.lines]
        tails = [_fitting(words, width - heads - 2 - _NARROWEST) for _, words in rows]
        bar = min(width - heads - 2 - max(map(len, tails), default=0), _WIDEST)
        for (line, words), tail in zip(rows, tails, strict=True):
            if bar < _NARROWEST:  # no place for a bar
                table.add_row(Text(f"{line.title} {'  '.join(words)}"[:width], no_wrap=True, overflow="crop"))
                continue
            drawn = ProgressBar(line.total, min(line.done, line.total or 0), width=bar, pulse=False)
            table.add_row(
                Text(line.title.ljust(heads), no_wrap=True),
                drawn if line.total is not None else "",
                Text(tail, no_wrap=True, style="dim" if line is not self.lines[0] else ""),
            )
        return table


def _fitting(words: list[str], width: int) -> str:
    """Join as many words as there is room for, at least the first."""
    tail = words[0]
    for word in words[1:]:
        if len(tail) + 2 + len(word) > width:
            break
        tail += f"  {word}"
    return tail


def _of_the_terminal() -> Iterator[tuple[logging.StreamHandler[Any], str]]:
    """List the handlers of all loggers that write to the terminal, each with the name of its stream in ``sys``."""
    loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    for logger in loggers:
        for handler in logger.handlers if isinstance(logger, logging.Logger) else ():
            for name in ("stdout", "stderr"):
                if isinstance(handler, logging.StreamHandler) and handler.stream is getattr(sys, name):
                    yield handler, name

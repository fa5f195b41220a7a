"""PreemptHook: a checkpoint before a job that is told to end does."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

from mmhooks.checkpoint import is_remote
from mmhooks.checks import check_path, check_template
from mmhooks.distributed.collect import broadcast_object
from mmhooks.distributed.meeting import Meeting
from mmhooks.errors import ConfigError, nearest
from mmhooks.hook import Hook
from mmhooks.hooks.checkpoint import check_folder, resolve_out_dir
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner

#: A signal that comes again so soon is the same one: a launcher hands on what a terminal has sent to all.
_SAME = 1.0


class Preempted(SystemExit):
    """A run has saved a checkpoint and ends because of a signal: the process exits with 128 plus its number.

    Attributes:
        signal: the signal.
        path: the checkpoint; None where none is written.
    """

    def __init__(self, number: int, path: str | None) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number)
        self.path = path


@HOOKS.register_module()
class PreemptHook(Hook):
    """When the process is told to end, finish the iteration, save a checkpoint, and exit as such processes do.

    Natively and under a Trainer SIGTERM ends the process with the status 143, Ctrl-C with 130: `Preempted` is raised,
    a ``SystemExit``. A second signal, a second later or more, ends the process at once. In several processes all stop
    after the same iteration, whichever of them gets a signal. What was set for the signals before is set again when the
    run is left; a signal that came after the last iteration goes there.

    A signal in an evaluation of an `EvalHook` has to wait for its end. Register the hook at LOWEST priority, so that
    the others have finished the iteration; in the main thread, since others get no signals.

    Args:
        signals: which ones.
        out_dir: a folder other than the runner's work_dir, or a place in a store; the name of the work_dir is added.
        filename_tmpl: the name of the file, with ``{}`` for a number perhaps. The next one replaces it.

    Raises:
        ConfigError: a signal that there is not, or that cannot be caught; a name that is none.

    Example:
        >>> runner.register_hook(PreemptHook(), priority="LOWEST")
        >>> runner.run(loaders, workflow)  # and in the next job: runner.resume("work_dir/latest.pth")
    """

    def __init__(
        self,
        signals: Sequence[str] = ("SIGTERM", "SIGINT"),
        out_dir: str | None = None,
        filename_tmpl: str = "preempted.pth",
    ) -> None:
        name = type(self).__name__
        self.signals = [_signal(name, one) for one in ([signals] if isinstance(signals, str) else signals)]
        self.out_dir = check_path(name, "out_dir", out_dir, optional=True)
        self.filename_tmpl = check_template(name, "filename_tmpl", filename_tmpl, numbered=False)
        self._folder = ""
        self._before: dict[int, Any] = {}
        self._received: int | None = None
        self._since = 0.0
        self._meeting: Meeting | None = None

    def before_run(self, runner: BaseRunner) -> None:
        """Take the signals."""
        if runner.work_dir is None and not self.out_dir:
            raise ConfigError("PreemptHook has nowhere to write: give the runner a work_dir, or the hook an out_dir")
        self._folder = resolve_out_dir(self.out_dir, runner.work_dir)
        check_folder(runner, self, self._folder, self.out_dir, None)
        self._received = None
        if threading.current_thread() is threading.main_thread():
            runner.on_leave(self._give_back)
            for one in self.signals:
                self._before[one] = signal.signal(one, self._receive)
        else:
            runner.logger.warning(
                "PreemptHook: only the main thread of a process gets signals, and this is another one"
            )
        if runner.world_size > 1:
            self._meeting = Meeting(self._hear)
            runner.on_leave(self._end_meeting)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Save and end, if it is time."""
        if self._received is not None and (self._meeting is None or self._meeting.is_here(self._received, runner.iter)):
            self._end(runner, self._received, runner.iter + 1)

    def after_val_iter(self, runner: BaseRunner) -> None:
        """Save and end; the validation is done anew. Several processes go on to the next train iteration."""
        if self._received is not None and self._meeting is None:
            self._end(runner, self._received, runner.iter)

    def _end(self, runner: BaseRunner, number: int, done: int) -> None:
        runner.gather_ranks()
        link = not is_remote(self._folder)
        path = runner.save_checkpoint(self._folder, filename_tmpl=self.filename_tmpl, create_symlink=link)
        # a launcher ends all processes as soon as one has ended, so none may go before the file is there
        broadcast_object(None)
        runner.logger.warning(
            "%s: the run ends after %d iterations; %s", signal.Signals(number).name, done, f"it goes on from {path}"
        )
        self._received = None
        raise Preempted(number, path)

    # signals ----------------------------------------------------------------------------------------------

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._received is None:
            self._received, self._since = number, now
        elif now - self._since >= _SAME:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _hear(self, number: int) -> None:
        if self._received is None:
            self._received, self._since = number, time.monotonic()

    def _give_back(self) -> None:
        before, self._before = self._before, {}
        for one, handler in before.items():
            signal.signal(one, signal.SIG_DFL if handler is None else handler)
        received, self._received = self._received, None
        if received is not None and before:
            signal.raise_signal(received)

    def _end_meeting(self) -> None:
        if self._meeting is not None:
            self._meeting.end()
            self._meeting = None


def _signal(owner: str, name: object) -> signal.Signals:
    try:
        found = signal.Signals[str(name)] if not isinstance(name, int) else signal.Signals(name)
    except (KeyError, ValueError):
        known = [one.name for one in signal.Signals]
        raise ConfigError(f"{owner}: there is no signal {name!r}{nearest(str(name), known)}") from None
    if found.name in ("SIGKILL", "SIGSTOP"):
        raise ConfigError(f"{owner}: {found.name} cannot be caught; a job that is preempted gets SIGTERM before it")
    return found

"""LoggerHook: when averages are taken and logged."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from mmhooks.checks import check_count, check_flag
from mmhooks.foreign import is_a
from mmhooks.hook import Hook
from mmhooks.runner.base import BaseRunner


class LoggerHook(Hook):
    """Base of the logger hooks: averages the log buffer every so often and hands it to `log`.

    Args:
        interval: every so many iterations, of the epoch or of the run; an average spans as many.
        ignore_last: leave out the rest at the end of an epoch that is shorter than the interval.
        reset_flag: clear the averages after logging. The last logger of a runner always does.
        by_epoch: iterations are counted within the epoch.

    Raises:
        ConfigError: an interval that is no positive integer, or another argument that is not True or False.
    """

    catches_up = True

    def __init__(
        self, interval: int = 10, ignore_last: bool = True, reset_flag: bool = False, by_epoch: bool = True
    ) -> None:
        name = type(self).__name__
        self.interval = check_count(name, "interval", interval)
        self.ignore_last = check_flag(name, "ignore_last", ignore_last)
        self.reset_flag = check_flag(name, "reset_flag", reset_flag)
        self.by_epoch = check_flag(name, "by_epoch", by_epoch)

    @abstractmethod
    def log(self, runner: BaseRunner) -> Any:
        """Write ``runner.log_buffer.output`` out."""

    def get_mode(self, runner: BaseRunner) -> str:
        """Tell what the averages are of: an evaluation inside a train epoch is ``val``, as it has no time."""
        return "train" if runner.mode == "train" and "time" in runner.log_buffer.output else "val"

    def get_epoch(self, runner: BaseRunner) -> int:
        """Number the epoch from 1; a val epoch has the number of the train epoch before it."""
        return runner.epoch + 1 if runner.mode == "train" else runner.epoch

    def get_iter(self, runner: BaseRunner, inner_iter: bool = False) -> int:
        """Number the iteration from 1, in the run or (``inner_iter``, by epoch) in the epoch."""
        return (runner.inner_iter if self.by_epoch and inner_iter else runner.iter) + 1

    def before_run(self, runner: BaseRunner) -> None:
        """Let the last logger clear the averages when all others have read them."""
        loggers = [hook for hook in runner.hooks if is_a(hook, LoggerHook)]
        loggers[-1].reset_flag = True

    def before_epoch(self, runner: BaseRunner) -> None:
        """Forget the values of the epoch before."""
        runner.log_buffer.clear()

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Log when an interval is full."""
        buffer = runner.log_buffer
        finished = (runner.inner_iter if self.by_epoch else runner.iter) + 1
        if finished % self.interval == 0 or (not self.ignore_last and self.end_of_epoch(runner)):
            buffer.average(self.interval)
        if buffer.ready:
            self._log(runner)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Log what an evaluation has left."""
        if runner.log_buffer.ready:
            self._log(runner)

    def after_val_epoch(self, runner: BaseRunner) -> None:
        """Log the averages of the val epoch."""
        runner.log_buffer.average()
        self._log(runner)

    def _log(self, runner: BaseRunner) -> None:
        self.log(runner)
        if self.reset_flag:
            runner.log_buffer.clear_output()

"""LoggerHook: when averages are taken and logged."""

from __future__ import annotations

import numbers
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

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

    @staticmethod
    def is_scalar(val: Any, include_np: bool = True, include_torch: bool = True) -> bool:
        """Tell whether a value is one number.

        Args:
            val: anything.
            include_np: an array of one element without dimensions is one.
            include_torch: a tensor of one element is one.
        """
        if isinstance(val, numbers.Number):
            return True
        if isinstance(val, np.ndarray):
            return include_np and val.ndim == 0
        return include_torch and isinstance(val, torch.Tensor) and val.numel() == 1

    def get_lr_tags(self, runner: BaseRunner) -> dict[str, float]:
        """Name the first learning rate of every optimizer: ``learning_rate``, or ``learning_rate/<optimizer>``."""
        return _of_first_groups("learning_rate", runner.current_lr())

    def get_momentum_tags(self, runner: BaseRunner) -> dict[str, float]:
        """Name the first momentum of every optimizer: ``momentum``, or ``momentum/<optimizer>``."""
        return _of_first_groups("momentum", runner.current_momentum())

    def get_loggable_tags(
        self,
        runner: BaseRunner,
        allow_scalar: bool = True,
        allow_text: bool = False,
        add_mode: bool = True,
        tags_to_skip: Iterable[str] = ("time", "data_time"),
    ) -> dict[str, Any]:
        """Name the averages, learning rates and momenta for a service.

        Args:
            runner: whose log buffer.
            allow_scalar: with numbers.
            allow_text: with strings.
            add_mode: names of averages begin with ``train/`` or ``val/``.
            tags_to_skip: names of averages to leave out.

        Returns:
            Values by tag, in the order of the log buffer; learning rates and momenta are last.
        """
        skipped, prefix = set(tags_to_skip), f"{self.get_mode(runner)}/" if add_mode else ""
        tags = {
            prefix + name: value
            for name, value in runner.log_buffer.output.items()
            if name not in skipped
            and (allow_scalar or not self.is_scalar(value))
            and (allow_text or not isinstance(value, str))
        }
        return {**tags, **self.get_lr_tags(runner), **self.get_momentum_tags(runner)}

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


def _of_first_groups(tag: str, found: list[float] | dict[str, list[float]]) -> dict[str, float]:
    if isinstance(found, dict):
        return {f"{tag}/{name}": own[0] for name, own in found.items()}
    return {tag: found[0]}

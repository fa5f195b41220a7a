"""IterTimerHook: how long iterations take, and how long they wait for data."""

from __future__ import annotations

from time import perf_counter

from mmhooks.hook import Hook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module()
class IterTimerHook(Hook):
    """Log ``time`` (seconds from one iteration's end to the next one's) and ``data_time`` (the part before it)."""

    catches_up = True

    def before_epoch(self, runner: BaseRunner) -> None:
        """Start the clock."""
        self.t = perf_counter()

    def before_iter(self, runner: BaseRunner) -> None:
        """Note the time that the data took."""
        runner.log_buffer.add("data_time", perf_counter() - self.t)

    def after_iter(self, runner: BaseRunner) -> None:
        """Note the time of the iteration."""
        now = perf_counter()
        runner.log_buffer.add("time", now - self.t)
        self.t = now

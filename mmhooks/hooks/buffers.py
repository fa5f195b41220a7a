"""SyncBuffersHook: the same buffers on every rank."""

from __future__ import annotations

from mmhooks.checks import check_flag
from mmhooks.distributed import allreduce_params
from mmhooks.hook import Hook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module()
class SyncBuffersHook(Hook):
    """Replace the model's buffers, such as the statistics of a BatchNorm, by their mean over all ranks.

    It happens after each train and val epoch; in an iteration-based run once, at its end.

    Args:
        distributed: False: do nothing.

    Raises:
        ConfigError: ``distributed`` is not True or False.
    """

    catches_up = True

    def __init__(self, distributed: bool = True) -> None:
        self.distributed = check_flag(type(self).__name__, "distributed", distributed)

    def after_epoch(self, runner: BaseRunner) -> None:
        """Exchange the buffers."""
        if self.distributed:
            allreduce_params(runner.model.buffers())

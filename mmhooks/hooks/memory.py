"""EmptyCacheHook: give unused GPU memory back."""

from __future__ import annotations

import torch

from mmhooks.checks import check_flag
from mmhooks.hook import Hook, when
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module()
class EmptyCacheHook(Hook):
    """Call ``torch.cuda.empty_cache()`` at the points that are asked for; without a GPU nothing happens.

    Args:
        before_epoch: before each train and val epoch.
        after_epoch: after each train and val epoch.
        after_iter: after each train and val iteration, which slows training down.

    Raises:
        ConfigError: an argument that is not True or False.
    """

    def __init__(self, before_epoch: bool = False, after_epoch: bool = True, after_iter: bool = False) -> None:
        name = type(self).__name__
        self._before_epoch = check_flag(name, "before_epoch", before_epoch)
        self._after_epoch = check_flag(name, "after_epoch", after_epoch)
        self._after_iter = check_flag(name, "after_iter", after_iter)

    @when(lambda hook: hook._before_epoch)
    def before_epoch(self, runner: BaseRunner) -> None:
        """Empty the cache, where asked."""
        self.empty_cache(runner)

    @when(lambda hook: hook._after_epoch)
    def after_epoch(self, runner: BaseRunner) -> None:
        """Empty the cache, where asked."""
        self.empty_cache(runner)

    @when(lambda hook: hook._after_iter)
    def after_iter(self, runner: BaseRunner) -> None:
        """Empty the cache, where asked."""
        self.empty_cache(runner)

    def empty_cache(self, runner: BaseRunner) -> None:
        """Give unused GPU memory back to the driver."""
        torch.cuda.empty_cache()

"""EmptyCacheHook: give unused GPU memory back."""

from __future__ import annotations

import torch

from mmhooks.errors import ConfigError
from mmhooks.hook import Hook
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
        points = {"before_epoch": before_epoch, "after_epoch": after_epoch, "after_iter": after_iter}
        for point, wanted in points.items():
            if not isinstance(wanted, bool):
                raise ConfigError(f"EmptyCacheHook's {point} must be True or False, not {wanted!r}")
            if wanted:  # on the object: at the other points there is nothing to call
                setattr(self, point, self.empty_cache)

    def empty_cache(self, runner: BaseRunner) -> None:
        """Give unused GPU memory back to the driver."""
        torch.cuda.empty_cache()

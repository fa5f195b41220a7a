"""DistSamplerSeedHook: another order of the data in each epoch."""

from __future__ import annotations

from typing import Any

from mmhooks.hook import Hook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module()
class DistSamplerSeedHook(Hook):
    """Tell the sampler of a loader which epoch begins, so that a ``DistributedSampler`` shuffles anew.

    The loader's ``sampler`` is told, or else that of its ``batch_sampler``, if it has a ``set_epoch``. An
    iteration-based run tells its samplers itself, at each pass over the data.
    """

    def before_epoch(self, runner: BaseRunner) -> None:
        """Tell the sampler of the train or val loader."""
        if not runner.by_epoch:
            return
        loader: Any = runner.data_loader
        for holder in (loader, getattr(loader, "batch_sampler", None)):
            set_epoch = getattr(getattr(holder, "sampler", None), "set_epoch", None)
            if set_epoch is not None:
                set_epoch(runner.epoch)
                return

"""A project that was written for mmcv; configs name it in their custom_imports."""

from __future__ import annotations

from typing import Any

import mmcv.runner as mmcv
import torch
from mmcv.cnn import MODELS
from real_mmcv import Net, Points

from mmhooks import DATASETS


@mmcv.HOOKS.register_module()
class CountHook(mmcv.Hook):
    """Logs how many iterations there have been."""

    def __init__(self, factor: int = 1) -> None:
        self.factor = factor

    def after_train_iter(self, runner: Any) -> None:
        runner.log_buffer.output["count"] = (runner.iter + 1) * self.factor


@mmcv.HOOKS.register_module()
class HalvingLrUpdaterHook(mmcv.LrUpdaterHook):
    def get_lr(self, runner: Any, base_lr: float) -> float:
        return base_lr * 0.5 ** (runner.epoch if self.by_epoch else runner.iter)


@mmcv.HOOKS.register_module()
class CheckInvalidLossHook(mmcv.Hook):
    """Under a name that is taken in mmhooks, and free in mmcv."""

    def after_train_iter(self, runner: Any) -> None:
        runner.meta["checked"] = runner.iter


@mmcv.OPTIMIZERS.register_module()
class HalfSGD(torch.optim.SGD):
    def __init__(self, params: Any, lr: float, **kwargs: Any) -> None:
        super().__init__(params, lr / 2, **kwargs)


@mmcv.OPTIMIZER_BUILDERS.register_module()
class LastFaster(mmcv.DefaultOptimizerConstructor):
    """Trains the last layer with another lr."""

    def add_params(self, params: list[Any], module: Any, prefix: str = "", is_dcn_module: Any = None) -> None:
        for name, parameter in module.named_parameters():
            params.append({"params": [parameter], "lr": self.base_lr * (2 if name.startswith("last") else 1)})


@MODELS.register_module()
class ProjectNet(Net):
    pass


class RefusedRunner(mmcv.EpochBasedRunner):
    pass


mmcv.RUNNERS.register_module(module=RefusedRunner)
DATASETS.register_module(module=Points)

"""CheckInvalidLossHook: stop when the loss is no longer a number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from mmhooks.checks import check_count
from mmhooks.errors import InvalidLossError, ModelError
from mmhooks.hook import Hook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module(yields=True)
class CheckInvalidLossHook(Hook):
    """End the run with an error when the loss is infinite or not a number.

    The loss is looked at every so many iterations only, since a look waits for the GPU. At the usual priorities
    the optimizer has stepped by then: go on from the last checkpoint, not from the weights in memory.

    Args:
        interval: look every so many iterations.

    Raises:
        ConfigError: an interval that is not a positive integer.
        InvalidLossError: in the run, when the loss is invalid; says where, and which of the log_vars are.
    """

    def __init__(self, interval: int = 50) -> None:
        self.interval = check_count(type(self).__name__, "interval", interval)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Look at the loss when an iteration is due."""
        if not self.every_n_iters(runner, self.interval):
            return
        outputs = runner.outputs
        if not isinstance(outputs, Mapping) or "loss" not in outputs:
            raise ModelError(f"CheckInvalidLossHook finds no 'loss' in what {runner.model_name}'s train step returned")
        loss = outputs["loss"]
        if _is_finite(loss):
            return
        log_vars = outputs.get("log_vars") or {}
        invalid = [f"{name} = {_shown(value)}" for name, value in log_vars.items() if not _is_finite(value)]
        raise InvalidLossError(
            f"the loss is {_shown(loss)} at iteration {runner.iter + 1} (epoch {runner.epoch + 1}, its iteration "
            f"{runner.inner_iter + 1}); not finite among the log_vars: {', '.join(invalid) or 'none'}. Try a lower "
            "learning rate, a longer warmup or grad_clip, or look for such values in the data"
        )


def _is_finite(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return bool(torch.isfinite(value).all())
    return not isinstance(value, float) or math.isfinite(value)


def _shown(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return str(value)
    return str(value.item()) if value.numel() == 1 else f"a tensor with {(~torch.isfinite(value)).sum()} such values"

"""Fp16OptimizerHook beside automatic optimization: it becomes the precision of the Trainer."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins import MixedPrecision, Precision

from mmhooks.amp import amp_dtype
from mmhooks.errors import ConfigError
from mmhooks.hooks.fp16 import Fp16OptimizerHook, ScalerState


class FixedScaler(torch.amp.GradScaler):
    """A loss scaler whose scale never moves, as a number for ``loss_scale`` wants it.

    Args:
        device: the type of device.
        scale: the scale.
    """

    def __init__(self, device: str, scale: float) -> None:
        super().__init__(device, init_scale=scale)
        self._fixed = scale

    def update(self, new_scale: float | torch.Tensor | None = None) -> None:
        """Forget the step, and keep the scale."""
        super().update(self._fixed if new_scale is None else new_scale)


def precision_for(hook: Fp16OptimizerHook, trainer: pl.Trainer) -> MixedPrecision:
    """Make the precision plugin that does what a hook says.

    Args:
        hook: not an Fp16OptimizerHook of a HookedModule, which does it all itself.
        trainer: the Trainer, before its strategy is set up.

    Raises:
        ConfigError: the Trainer has another precision, or a strategy that brings one of its own.
    """
    strategy: Any = trainer.strategy
    wanted = "bf16-mixed" if amp_dtype(hook.dtype) is torch.bfloat16 else "16-mixed"
    plugin, name = strategy.precision_plugin, type(hook).__name__
    own = trainer._accelerator_connector._precision_plugin_flag is not None
    if own or (type(plugin) is not Precision and trainer.precision != wanted):
        raise ConfigError(
            f"{name}(dtype={hook.dtype!r}) and Trainer(precision={trainer.precision!r}) contradict each other: "
            f"leave the precision to the hook, or say it to the Trainer, precision={wanted!r}, and replace the hook "
            f"by {_plain_name(hook)}"
        )
    if type(plugin) not in (Precision, MixedPrecision):
        raise ConfigError(
            f"{type(strategy).__name__} brings a precision of its own, which {name} cannot set: write "
            f"Trainer(precision={wanted!r}), and {_plain_name(hook)} for {name}"
        )
    device = strategy.root_device.type
    return MixedPrecision(wanted, device, scaler_for(hook, device))  # type: ignore[arg-type]


def scaler_for(hook: Fp16OptimizerHook, device: str) -> torch.amp.GradScaler | None:
    """Make a loss scaler like that of a hook, for the Trainer's device."""
    like = hook.loss_scaler
    if like is None:
        return None
    if not like.is_enabled():
        return torch.amp.GradScaler(device, enabled=False)
    if hook._scale_update_param is not None:
        return FixedScaler(device, hook._scale_update_param)
    return torch.amp.GradScaler(
        device,
        init_scale=like.get_scale(),
        growth_factor=like.get_growth_factor(),
        backoff_factor=like.get_backoff_factor(),
        growth_interval=like.get_growth_interval(),
    )


def share_scaler(hook: Fp16OptimizerHook, scaler: torch.amp.GradScaler | None, runner: Any) -> Any:
    """Keep the scaler's state where the hook keeps it, so that either driver goes on from the other's file.

    Args:
        hook: the hook, whose own scaler is replaced.
        scaler: the Trainer's.
        runner: the runner, with the meta of a resumed file.

    Returns:
        What the hook had, to be put back.
    """
    before = (hook.loss_scaler, hook._state)
    if scaler is not None and scaler.is_enabled():
        hook.loss_scaler, hook._state = scaler, ScalerState(scaler)
        hook._restore(runner)
        hook._publish(runner)
    return before


def _plain_name(hook: Fp16OptimizerHook) -> str:
    return "GradientCumulativeOptimizerHook" if hook._accumulates else "OptimizerHook"

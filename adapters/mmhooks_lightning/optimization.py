"""Optimizer hooks beside automatic optimization: they become settings of the Trainer."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from mmhooks.errors import ConfigError, HookError
from mmhooks.foreign import is_a
from mmhooks.hooks.optimizer import GradientCumulativeOptimizerHook, OptimizerHook
from mmhooks_lightning.runner import LightningRunner


class Stepping:
    """Says to a Trainer what an optimizer hook would do, and refuses what a Trainer cannot do."""

    def __init__(self) -> None:
        self._hook: OptimizerHook | None = None

    def take_over(self, runner: LightningRunner, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the optimizer hook off the runner, since Lightning steps, and set the Trainer up in its place.

        Raises:
            HookError: more than one optimizer hook, or one beside manual optimization.
            ConfigError: settings of the hook that the Trainer has no equal for, or its own that differ.
        """
        found: list[OptimizerHook] = [hook for hook in runner.hooks if is_a(hook, OptimizerHook)]
        if len(found) + (self._hook is not None) > 1:
            names = " and ".join(type(hook).__name__ for hook in (*found, self._hook) if hook is not None)
            raise HookError(f"{names} are both registered: keep one")
        name = type(module).__name__
        for hook in found:
            if not module.automatic_optimization:
                raise HookError(
                    f"{name} steps its optimizers itself (automatic_optimization=False), so {type(hook).__name__} "
                    "would step a second time: leave the hook out"
                )
            if type(hook) not in (OptimizerHook, GradientCumulativeOptimizerHook):
                raise HookError(
                    f"{type(hook).__name__} has no equal among the Trainer's settings: leave it out, or give the "
                    "model a train_step and wrap it in HookedModule"
                )
            if hook.detect_anomalous_params:
                raise ConfigError(
                    f"{type(hook).__name__}(detect_anomalous_params=True) looks at the graph of the loss between "
                    "train_step and backward, where automatic optimization calls no hook: leave it out, or give the "
                    "model a train_step and wrap it in HookedModule"
                )
            self._hook = hook
        if self._hook is None:
            return
        runner.hooks[:] = [hook for hook in runner.hooks if hook is not self._hook]
        said = [*self._clip(trainer), *self._accumulate(trainer)]
        runner.logger.info(
            "Lightning optimizes %s; %s became Trainer(%s)", name, type(self._hook).__name__, ", ".join(said)
        )

    def _clip(self, trainer: pl.Trainer) -> list[str]:
        assert self._hook is not None
        if self._hook.grad_clip is None:
            return []
        clip: dict[str, Any] = dict(self._hook.grad_clip)
        value = clip.pop("max_norm")
        if clip.pop("norm_type", 2) != 2 or clip:
            raise ConfigError(
                f"OptimizerHook(grad_clip={self._hook.grad_clip}): the Trainer clips by the 2-norm only, so write "
                f"grad_clip=dict(max_norm={value}), or give the model a train_step and wrap it in HookedModule"
            )
        _agree("gradient_clip_val", trainer.gradient_clip_val, (None, value))
        _agree("gradient_clip_algorithm", trainer.gradient_clip_algorithm, (None, "norm"))
        trainer.gradient_clip_val = value
        return [f"gradient_clip_val={value}"]

    def _accumulate(self, trainer: pl.Trainer) -> list[str]:
        if not isinstance(self._hook, GradientCumulativeOptimizerHook):
            return []
        group = self._hook.cumulative_iters
        _agree("accumulate_grad_batches", trainer.accumulate_grad_batches, (1, group))
        trainer.accumulate_grad_batches = group
        return [f"accumulate_grad_batches={group}"]

    def check_epoch_length(self, batches: float) -> None:
        """Refuse an epoch that accumulation does not divide.

        Raises:
            ConfigError: Lightning steps at the end of each epoch, MMCV goes on into the next.
        """
        if isinstance(self._hook, GradientCumulativeOptimizerHook) and batches % self._hook.cumulative_iters:
            raise ConfigError(
                f"{batches:g} batches an epoch are not a multiple of cumulative_iters={self._hook.cumulative_iters}: "
                "Lightning would step early at the end of each epoch. Change one of them (drop_last, batch size), "
                "or give the model a train_step and wrap it in HookedModule"
            )


def _agree(setting: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise ConfigError(
            f"Trainer({setting}={value!r}) and the optimizer hook, which says {allowed[-1]!r}, contradict each other: "
            "keep one"
        )

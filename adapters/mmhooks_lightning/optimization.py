"""Optimizer hooks beside automatic optimization: they become settings of the Trainer."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.plugins import MixedPrecision

from mmhooks.errors import ConfigError, HookError
from mmhooks.foreign import is_a
from mmhooks.hook import POINTS
from mmhooks.hooks.fp16 import Fp16OptimizerHook, GradientCumulativeFp16OptimizerHook
from mmhooks.hooks.optimizer import GradientCumulativeOptimizerHook, OptimizerHook
from mmhooks_lightning.precision import precision_for, share_scaler
from mmhooks_lightning.runner import LightningRunner

_KNOWN = (
    OptimizerHook,
    GradientCumulativeOptimizerHook,
    Fp16OptimizerHook,
    GradientCumulativeFp16OptimizerHook,
)
_WAY_OUT = "or give the model a train_step and wrap it in HookedModule"


class Stepping:
    """Says to a Trainer what an optimizer hook would do, and refuses what a Trainer cannot do."""

    def __init__(self) -> None:
        self._hook: OptimizerHook | None = None
        self._followers: list[Any] = []
        self._changed: list[tuple[Any, str, Any]] = []
        self._plugin: MixedPrecision | None = None

    def take_over(self, runner: LightningRunner, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the optimizer hook off the runner, since Lightning steps, and set the Trainer up in its place.

        Raises:
            HookError: more than one optimizer hook, or one beside manual optimization.
            ConfigError: settings of the hook that the Trainer has no equal for, or its own that differ.
        """
        found: list[OptimizerHook] = [hook for hook in runner.hooks if is_a(hook, OptimizerHook)]
        if not found:
            return
        if len(found) > 1:
            names = " and ".join(type(hook).__name__ for hook in found)
            raise HookError(f"{names} are both registered: keep one")
        hook = found[0]
        _check_hook(hook, module)
        self._hook = hook
        said = [*self._clip(trainer), *self._accumulate(trainer), *self._set_precision(trainer)]
        place = runner.hooks.index(hook)
        self._followers = list(runner.hooks[place + 1 :])
        runner.hooks.remove(hook)
        runner.logger.info(
            "Lightning optimizes %s; %s became Trainer(%s)%s",
            type(module).__name__,
            type(hook).__name__,
            ", ".join(said),
            _DIFFERENCE if self._plugin is not None else "",
        )

    def give_back(self, runner: LightningRunner) -> None:
        """Set the Trainer back, and put the hook in its place again, for the next fit."""
        for place, setting, value in reversed(self._changed):
            setattr(place, setting, value)
        hook, self._hook, self._changed, self._plugin = self._hook, None, [], None
        if hook is None or hook in runner.hooks:
            return
        follower = next((one for one in self._followers if one in runner.hooks), None)
        runner.hooks.insert(len(runner.hooks) if follower is None else runner.hooks.index(follower), hook)

    def _set(self, place: Any, setting: str, value: Any) -> None:
        self._changed.append((place, setting, getattr(place, setting)))
        setattr(place, setting, value)

    def _clip(self, trainer: pl.Trainer) -> list[str]:
        assert self._hook is not None
        if self._hook.grad_clip is None:
            return []
        clip: dict[str, Any] = {key: value for key, value in self._hook.grad_clip.items() if value is not None}
        value = clip.pop("max_norm")
        if float(clip.pop("norm_type", 2)) != 2 or any(clip.values()):
            raise ConfigError(
                f"{type(self._hook).__name__}(grad_clip={self._hook.grad_clip}): the Trainer clips by the 2-norm only, "
                f"so write grad_clip=dict(max_norm={value}), {_WAY_OUT}"
            )
        value = float(value) if isinstance(value, str) else value
        _agree("gradient_clip_val", trainer.gradient_clip_val, (None, value))
        _agree("gradient_clip_algorithm", trainer.gradient_clip_algorithm, (None, "norm"))
        self._set(trainer, "gradient_clip_val", value)
        return [f"gradient_clip_val={value}"]

    def _accumulate(self, trainer: pl.Trainer) -> list[str]:
        if not isinstance(self._hook, GradientCumulativeOptimizerHook):
            return []
        group = self._hook.cumulative_iters
        _agree("accumulate_grad_batches", trainer.accumulate_grad_batches, (1, group))
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        if any(isinstance(callback, GradientAccumulationScheduler) for callback in callbacks):
            raise ConfigError(
                f"{type(self._hook).__name__} and GradientAccumulationScheduler would both say how many batches are "
                "accumulated: keep one"
            )
        self._set(trainer, "accumulate_grad_batches", group)
        return [f"accumulate_grad_batches={group}"]

    def _set_precision(self, trainer: pl.Trainer) -> list[str]:
        if not isinstance(self._hook, Fp16OptimizerHook):
            return []
        self._plugin = precision_for(self._hook, trainer)
        # a strategy takes it up when it is set up, which comes later
        self._set(trainer.strategy, "precision_plugin", self._plugin)
        said = f"precision={self._plugin.precision!r}"
        scaler = self._plugin.scaler
        if scaler is not None:
            scale = self._hook._scale_update_param
            said += f" with a loss scale of {scale or scaler.get_scale():g}, " + ("always" if scale else "dynamic")
        return [said]

    def begin(self, runner: LightningRunner, batches: float) -> None:
        """Take the state of the loss scaler from a resumed file, and refuse what accumulation cannot do.

        Args:
            runner: the runner, which has started.
            batches: the length of an epoch.

        Raises:
            ConfigError: Lightning steps at the end of each epoch, MMCV goes on into the next.
        """
        hook = self._hook
        if isinstance(hook, GradientCumulativeOptimizerHook):
            _check_lengths(hook.cumulative_iters, batches, None if runner.by_epoch else runner.max_iters)
        if isinstance(hook, Fp16OptimizerHook) and self._plugin is not None:
            scaler, state = share_scaler(hook, self._plugin.scaler, runner)
            self._changed += [(hook, "loss_scaler", scaler), (hook, "_state", state)]


_DIFFERENCE = "; the Trainer autocasts whole steps, where MMCV casts only the methods that auto_fp16 decorates"


def _check_hook(hook: OptimizerHook, module: pl.LightningModule) -> None:
    """Refuse a hook whose work Lightning cannot do.

    Raises:
        HookError: the module steps itself, or the hook has a way of its own.
        ConfigError: an argument that the Trainer has no equal for.
    """
    module_name, name = type(module).__name__, type(hook).__name__
    if not module.automatic_optimization:
        raise HookError(
            f"{module_name} steps its optimizers itself (automatic_optimization=False), so {name} would step a "
            "second time: leave the hook out"
        )
    if not isinstance(hook, OptimizerHook):  # derived from the real mmcv's
        raise HookError(f"{name} has no equal among the Trainer's settings: leave the hook out, {_WAY_OUT}")
    own = _overridden(hook)
    if own:
        raise HookError(
            f"{name} has a {' and a '.join(own)} of its own, which automatic optimization never calls, and no equal "
            f"among the Trainer's settings: leave the hook out, {_WAY_OUT}"
        )
    if hook.detect_anomalous_params:
        raise ConfigError(
            f"{name}(detect_anomalous_params=True) looks at the graph of the loss between train_step and "
            f"backward, where automatic optimization calls no hook: leave it out, {_WAY_OUT}"
        )


def _overridden(hook: OptimizerHook) -> list[str]:
    """List the methods of the sequence that a subclass, or somebody on the instance, has put others in place of."""
    known = next(cls for cls in type(hook).__mro__ if cls in _KNOWN)
    names = {name for name in dir(known) if callable(getattr(known, name)) and not name.startswith("__")}
    names |= {*POINTS, "before_iter", "after_iter", "before_epoch", "after_epoch"}
    return sorted(name for name in names if name in vars(hook) or getattr(type(hook), name) is not getattr(known, name))


def _check_lengths(group: int, batches: float, max_iters: int | None) -> None:
    """Refuse lengths that accumulation does not divide."""
    lengths = {"batches an epoch": batches, "iterations": max_iters}
    if max_iters is not None and max_iters < batches:
        del lengths["batches an epoch"]  # the run ends within its first epoch
    for what, length in lengths.items():
        if length is not None and length != float("inf") and length % group:
            raise ConfigError(
                f"{length:g} {what} are not a multiple of cumulative_iters={group}: Lightning would step early at the "
                f"end of each epoch, and drop a group that the run's end leaves open. Change one of them (drop_last, "
                f"batch size), {_WAY_OUT}"
            )


def _agree(setting: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise ConfigError(
            f"Trainer({setting}={value!r}) and the optimizer hook, which says {allowed[-1]!r}, contradict each other: "
            "keep one"
        )

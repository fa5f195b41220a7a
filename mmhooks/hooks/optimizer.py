"""Optimizer hooks: what turns a loss into a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mmhooks.errors import ConfigError, HookError, ModelError
from mmhooks.hook import Hook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module()
class OptimizerHook(Hook):
    """Zero the gradients, go backward from ``runner.outputs["loss"]``, clip if wanted, and step.

    Args:
        grad_clip: arguments of ``torch.nn.utils.clip_grad_norm_`` such as ``dict(max_norm=35, norm_type=2)``.
            The norm before clipping is logged as ``grad_norm``.

    Raises:
        ConfigError: a grad_clip without max_norm.
    """

    def __init__(self, grad_clip: Mapping[str, Any] | None = None) -> None:
        if grad_clip is not None and (not isinstance(grad_clip, Mapping) or "max_norm" not in grad_clip):
            raise ConfigError(f"grad_clip must be a dict such as dict(max_norm=35, norm_type=2), not {grad_clip!r}")
        self.grad_clip = grad_clip

    def before_run(self, runner: BaseRunner) -> None:
        """Check that this hook alone steps the one optimizer there is."""
        family = [hook for hook in runner.hooks if isinstance(hook, OptimizerHook)]
        if len(family) > 1:
            names = " and ".join(type(hook).__name__ for hook in family)
            raise HookError(f"{names} are both registered: each would go backward and step; keep one")
        if isinstance(runner.optimizer, Mapping):
            raise HookError(
                f"{type(self).__name__} steps one optimizer and the runner has {len(runner.optimizer)} "
                f"({', '.join(runner.optimizer)}): let train_step step them and leave optimizer_config=None"
            )
        if runner.optimizer is None:
            raise HookError(f"{type(self).__name__} has nothing to step: give the runner an optimizer")

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Do all of it."""
        runner.zero_grad(runner.optimizer)
        runner.backward(self._loss(runner))
        self._step(runner)

    def _loss(self, runner: BaseRunner) -> torch.Tensor:
        try:
            loss: torch.Tensor = runner.outputs["loss"]
        except (KeyError, TypeError):
            raise ModelError(f"{runner.model_name}.train_step() must return a dict with the key 'loss'") from None
        return loss

    def _step(self, runner: BaseRunner) -> None:
        if self.grad_clip is not None:
            norm = runner.clip_grads(runner.model.parameters(), **self.grad_clip)
            if norm is not None:
                # kept as a tensor: a number would wait for the device at every iteration
                runner.log_buffer.update({"grad_norm": norm.detach()}, runner.outputs["num_samples"])
        runner.optimizer_step(runner.optimizer)


@HOOKS.register_module()
class GradientCumulativeOptimizerHook(OptimizerHook):
    """Step once every few iterations, with the mean of their gradients.

    Iterations are counted over the whole run, not within an epoch. What remains at the end of the run is a
    group of its own, divided by its own size.

    Args:
        cumulative_iters: the size of a group, in iterations.
        **kwargs: see `OptimizerHook`.
    """

    def __init__(self, cumulative_iters: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(cumulative_iters, int) or cumulative_iters <= 0:
            raise ConfigError(f"cumulative_iters must be a positive integer, not {cumulative_iters!r}")
        self.cumulative_iters = cumulative_iters
        self.divisible_iters = 0

    def before_run(self, runner: BaseRunner) -> None:
        """Say what may surprise."""
        super().before_run(runner)
        self.divisible_iters = 0
        if self.cumulative_iters == 1:
            return
        if runner.iter % self.cumulative_iters:
            runner.logger.warning(
                "the run goes on at iteration %d, inside a group of %d: the gradients of its first part are lost",
                runner.iter,
                self.cumulative_iters,
            )
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in runner.model.modules()):
            runner.logger.warning("gradients are accumulated, but BatchNorm still sees one batch at a time")

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Go backward, and step at the end of a group."""
        if not self.divisible_iters:
            self._count(runner)
        whole = runner.iter < self.divisible_iters
        runner.backward(self._loss(runner) / (self.cumulative_iters if whole else self._rest))
        if self.every_n_iters(runner, self.cumulative_iters) or self.is_last_iter(runner):
            self._step(runner)
            runner.zero_grad(runner.optimizer)

    def _count(self, runner: BaseRunner) -> None:
        if runner.max_iters is None:
            raise HookError(
                "GradientCumulativeOptimizerHook divides the last group by its own size, so it must know how long "
                "the run is: give max_epochs or max_iters"
            )
        self._rest = runner.max_iters % self.cumulative_iters
        self.divisible_iters = runner.max_iters - self._rest

"""Optimizer hooks: what turns a loss into a step."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import torch
from torch import nn

from mmhooks.checks import check_count, check_flag
from mmhooks.distributed import unwrap
from mmhooks.errors import ConfigError, HookError, ModelError, nearest
from mmhooks.foreign import is_a
from mmhooks.hook import Hook, when
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner

#: The keys of grad_clip.
CLIP_KEYS = tuple(inspect.signature(nn.utils.clip_grad_norm_).parameters)[1:]


@HOOKS.register_module()
class OptimizerHook(Hook):
    """Zero the gradients, go backward from ``runner.outputs["loss"]``, clip if wanted, and step.

    The other optimizer hooks are this sequence too, with groups of iterations or a loss scaler as parts of it.
    Only the gradients of the optimizer's own parameters are zeroed: those of others in the model add up and count
    in the norm, as in MMCV.

    Args:
        grad_clip: arguments of ``torch.nn.utils.clip_grad_norm_`` such as ``dict(max_norm=35, norm_type=2)``.
            The norm before clipping is logged as ``grad_norm``; it stays on the device until then.
        detect_anomalous_params: log, as errors, the parameters that the loss does not depend on, at every
            iteration: slow, for debugging only.

    Raises:
        ConfigError: an argument that cannot be used.

    Example:
        >>> runner.register_optimizer_hook(dict(grad_clip=dict(max_norm=35)))
    """

    # for subclasses with an __init__ of their own that does not call this one
    grad_clip: Mapping[str, Any] | None = None
    detect_anomalous_params = False
    #: Scales the loss, where that is wanted.
    loss_scaler: torch.amp.GradScaler | None = None
    #: Whether gradients are kept from one iteration to the next, and exchanged between processes only for a step.
    _accumulates = False
    skip_exchange = False
    _runner: BaseRunner | None = None

    def __init__(self, grad_clip: Mapping[str, Any] | None = None, detect_anomalous_params: bool = False) -> None:
        _check_clip(grad_clip)
        self.grad_clip = grad_clip
        self.detect_anomalous_params = check_flag(
            type(self).__name__, "detect_anomalous_params", detect_anomalous_params
        )

    def before_run(self, runner: BaseRunner) -> None:
        """Check that this hook alone steps the one optimizer there is."""
        self._runner = runner
        if not _steps(self):
            return
        family = [hook for hook in runner.hooks if is_a(hook, OptimizerHook) and _steps(hook)]
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
        accumulates, scaler, optimizer = self._accumulates, self.loss_scaler, runner.optimizer
        if not accumulates:
            runner.zero_grad(optimizer)
        try:
            loss = runner.outputs["loss"]
        except (KeyError, TypeError):
            raise ModelError(f"{runner.model_name}.train_step() must return a dict with the key 'loss'") from None
        if self.detect_anomalous_params:
            self.detect_anomalous_parameters(loss, runner)
        if accumulates:
            loss = loss / self._get_loss_factor(runner)
        if scaler is not None:
            loss = scaler.scale(loss)
        runner.backward(loss)
        if self.skip_exchange:
            runner.resume_exchange()
        if accumulates and not self._ends_group(runner):
            return
        if scaler is not None:
            scaler.unscale_(optimizer)
        if self.grad_clip is not None:
            self._clip(runner)
        runner.optimizer_step(optimizer, scaler)
        if scaler is not None:
            self._update_scale(runner)
        if accumulates:
            runner.zero_grad(optimizer)

    def clip_grads(self, params: Iterable[nn.Parameter]) -> torch.Tensor | None:
        """Clip the gradients of parameters by ``grad_clip``.

        Args:
            params: those that are frozen or without a gradient are passed over.

        Returns:
            The norm before clipping (0-d, on the device), or None when nothing has a gradient.
        """
        if self.grad_clip is None:
            raise HookError(f"{type(self).__name__} has no grad_clip to clip by: give it grad_clip=dict(max_norm=35)")
        if self._runner is not None:
            return self._runner.clip_grads(params, **self.grad_clip)
        found = [p for p in params if p.requires_grad and p.grad is not None]
        return nn.utils.clip_grad_norm_(found, **self.grad_clip) if found else None

    def detect_anomalous_parameters(self, loss: torch.Tensor, runner: BaseRunner) -> None:
        """Log, as errors, the trainable parameters that are not in the graph of a loss.

        Args:
            loss: what `after_train_iter` would go backward from.
            runner: its model is looked through.
        """
        reached = _leaves(loss)
        for name, parameter in runner.model.named_parameters():
            if parameter.requires_grad and parameter not in reached:
                runner.logger.log(
                    logging.ERROR,
                    "the loss does not depend on %s, of shape %s: forward does not use it, or not for the loss",
                    name,
                    tuple(parameter.shape),
                )

    # parts of the sequence ----------------------------------------------------------------------------------

    def _clip(self, runner: BaseRunner) -> None:
        self._runner = runner
        # looked up at each step: what is trained may change during a run
        norm = self.clip_grads(runner.model.parameters())
        if norm is not None:
            # kept as a tensor: a number would wait for the device at every iteration
            runner.log_buffer.update({"grad_norm": norm}, runner.outputs["num_samples"])

    def _get_loss_factor(self, runner: BaseRunner) -> int:
        """Say what the loss of this iteration is divided by."""
        return 1

    def _ends_group(self, runner: BaseRunner) -> bool:
        """Tell whether a step follows this iteration."""
        return True

    def _update_scale(self, runner: BaseRunner) -> None:
        """Let the loss scaler draw its conclusions from the step."""
        assert self.loss_scaler is not None
        self.loss_scaler.update()


def _steps(hook: Any) -> bool:
    """Tell whether a hook goes backward and steps as the classes here (or mmcv's) do; a subclass may not."""
    module: str = type(hook).after_train_iter.__module__
    return module.startswith(("mmhooks.hooks.", "mmcv."))


@HOOKS.register_module()
class GradientCumulativeOptimizerHook(OptimizerHook):
    """Step once every few iterations, with the mean of their gradients.

    Iterations are counted over the whole run, not within an epoch. What remains at the end of the run is a
    group of its own, divided by its own size.

    Args:
        cumulative_iters: the size of a group, in iterations.
        skip_exchange: under DistributedDataParallel, exchange gradients only in the last iteration of a group.
            The sum is taken in another order then: weights differ by about 3e-8.
        **kwargs: see `OptimizerHook`.

    Raises:
        ConfigError: an argument that cannot be used.

    Example:
        >>> runner.register_optimizer_hook(dict(type="GradientCumulativeOptimizerHook", cumulative_iters=4))
    """

    _accumulates = True
    divisible_iters = 0
    remainder_iters = 0
    initialized = False
    #: Gradients of a resumed file, until the first iteration takes them.
    _resumed: dict[str, torch.Tensor] | None = None

    def __init__(self, cumulative_iters: int = 1, skip_exchange: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cumulative_iters = check_count(type(self).__name__, "cumulative_iters", cumulative_iters)
        self.skip_exchange = check_flag(type(self).__name__, "skip_exchange", skip_exchange)

    def before_run(self, runner: BaseRunner) -> None:
        """Begin anew: the length of the run is looked at in its first iteration, when a resume has happened."""
        super().before_run(runner)
        self.initialized = False

    @when(lambda hook: hook.skip_exchange)
    def before_train_iter(self, runner: BaseRunner) -> None:
        """Pause the exchange of gradients where no step follows: forward reads that switch already."""
        if self.skip_exchange:
            if self._ends_group(runner):
                runner.resume_exchange()
            else:
                runner.pause_exchange()

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Do all of it, a group at a time."""
        if self._resumed is not None:
            self._take_gradients(runner)
        super().after_train_iter(runner)

    def state_dict(self) -> dict[str, Any]:
        """Give what an unfinished group has added up.

        Not in several processes with ``skip_exchange``: each has gradients of its own then, and the file is one.
        """
        runner = self._runner
        if self._resumed is not None:  # of a file, and not taken up yet
            return {"gradients": self._resumed}
        if runner is None or (self.skip_exchange and runner.world_size > 1):
            return {}
        named = unwrap(runner.model).named_parameters()
        gradients = {name: one.grad for name, one in named if one.requires_grad and one.grad is not None}
        return {"gradients": gradients} if gradients else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with an unfinished group."""
        self._resumed = state["gradients"]

    def _take_gradients(self, runner: BaseRunner) -> None:
        resumed, self._resumed = self._resumed, None
        assert resumed is not None
        for name, parameter in unwrap(runner.model).named_parameters():
            if name in resumed:
                parameter.grad = resumed[name].to(parameter.device, parameter.dtype)

    def has_batch_norm(self, module: nn.Module) -> bool:
        """Tell whether a module has batch norm somewhere inside."""
        return any(isinstance(one, nn.modules.batchnorm._BatchNorm) for one in module.modules())

    def _init(self, runner: BaseRunner) -> None:
        """Look at the length of the run, and say what may surprise."""
        if runner.max_iters is None:
            raise HookError(
                f"{type(self).__name__} divides the last group by its own size, so it must know how long "
                "the run is: give max_epochs or max_iters"
            )
        group = self.cumulative_iters
        self.remainder_iters = runner.max_iters % group
        self.divisible_iters = runner.max_iters - self.remainder_iters
        self.initialized = True
        if runner.iter % group and all(one.grad is None for one in runner.model.parameters()):
            runner.logger.warning(
                "the run goes on at iteration %d, inside a group of %d: the gradients of its first part are lost",
                runner.iter,
                group,
            )
        if group > 1 and self.has_batch_norm(runner.model):
            runner.logger.warning("gradients are accumulated, but BatchNorm still sees one batch at a time")
        if self.remainder_iters:
            runner.logger.warning(
                "%d iterations are no multiple of cumulative_iters=%d: the losses of the last %d are divided by %d",
                runner.max_iters,
                group,
                self.remainder_iters,
                self.remainder_iters,
            )

    def _get_loss_factor(self, runner: BaseRunner) -> int:
        if not self.initialized:
            self._init(runner)
        rest = self.remainder_iters
        # max_iters is asked each time: a hook may move the end of the run
        if not rest or runner.max_iters is None or runner.iter < runner.max_iters - rest:
            return self.cumulative_iters
        return rest

    def _ends_group(self, runner: BaseRunner) -> bool:
        return self.every_n_iters(runner, self.cumulative_iters) or self.is_last_iter(runner)


def _check_clip(grad_clip: Any) -> None:
    if grad_clip is None:
        return
    if not isinstance(grad_clip, Mapping) or not grad_clip:
        raise ConfigError(f"grad_clip must be a dict such as dict(max_norm=35, norm_type=2), not {grad_clip!r}")
    for key in grad_clip:
        if key not in CLIP_KEYS:
            raise ConfigError(
                f"grad_clip has the key {key!r}, which clip_grad_norm_ does not take: it takes "
                f"{', '.join(CLIP_KEYS)}{nearest(str(key), CLIP_KEYS)}"
            )
    if "max_norm" not in grad_clip:
        raise ConfigError(f"grad_clip needs max_norm, as in dict(max_norm=35, norm_type=2); it is {grad_clip!r}")
    for key in ("max_norm", "norm_type"):
        value = grad_clip.get(key, 2)
        if isinstance(value, bool) or not (value == "inf" or (isinstance(value, Real) and float(value) > 0)):
            raise ConfigError(f"grad_clip's {key} must be a positive number, not {value!r}")
    for key in ("error_if_nonfinite", "foreach"):
        if grad_clip.get(key) is not None:
            check_flag("grad_clip", key, grad_clip[key])


def _leaves(loss: torch.Tensor) -> set[torch.Tensor]:
    """Collect the tensors at the ends of a loss' graph."""
    found: set[torch.Tensor] = set()
    seen: set[Any] = set()
    open_nodes: list[Any] = [loss.grad_fn]
    while open_nodes:  # not recursive: graphs are deep
        node = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(node.variable)
        open_nodes.extend(parent for parent, _ in node.next_functions)
    return found

"""EMAHook: an exponential moving average of the parameters."""

from __future__ import annotations

import math
from operator import is_not
from typing import Any

import torch
from torch import nn

from mmhooks.checks import check_choice, check_count, check_flag, check_path
from mmhooks.distributed import unwrap
from mmhooks.errors import ConfigError, HookError
from mmhooks.foreign import is_a
from mmhooks.hook import Hook, when
from mmhooks.hooks.averages import Averages, find_overlap, swap
from mmhooks.hooks.checkpoint import CheckpointHook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module()
class EMAHook(Hook):
    """Average the parameters over the iterations; evaluate and save the average, train the raw ones.

    After an iteration ``ema = (1 - m) * ema + m * parameter``. The averages are buffers ``ema_*`` of the model.
    After a train epoch they change places with the parameters, before the next one they change back, so
    checkpoints and evaluations between the two see the averages. Register it before those:
    ``priority="ABOVE_NORMAL"``. Other buffers, such as the statistics of a BatchNorm, are not averaged.

    The numbers are MMCV's, which are odd where an interval is above 1, during the warm-up, and in an
    iteration-based run, in which nothing is ever swapped; ``interval_mode``, ``warm_up_mode`` and
    ``swap_interval`` set them right.

    Args:
        momentum: m, the weight of the newest parameters, in (0, 1).
        interval: update every so many iterations.
        warm_up: how long the warm-up is, in iterations, roughly; 1 for none.
        resume_from: a checkpoint to resume, averages included.
        interval_mode: what an update weighs when there is one every k iterations. ``"power"`` is MMCV's: m ** k,
            at the first iteration, the (k+1)-th, ... ``"compound"``: 1 - (1 - m) ** k, the weight that k updates
            with the same parameters have together, at the k-th iteration, the 2k-th, ...
        warm_up_mode: ``"rising"`` is MMCV's: m is at most (1 + t) / (warm_up + t) after t iterations, which
            changes nothing unless m is above 1 / warm_up. ``"falling"``: m is at least
            (warm_up - 1) / (warm_up + t), so the averages first follow the parameters and forget the initial
            ones; this is the cap (1 + t) / (warm_up + t) on the decay 1 - m of tf.train.ExponentialMovingAverage,
            where warm_up is 10.
        swap_interval: swap after every so many iterations too, and after the last one; back before the next train
            iteration. What runs between the two, hooks of a later priority and a val flow, sees the averages:
            give the interval of the checkpoints or evaluations. An iteration-based run swaps only so.
        fused: update by one ``torch._foreach_lerp_``, which is faster and rounds otherwise than MMCV.

    Raises:
        ConfigError: an argument out of range.
        HookError: when the run starts, where two parameters share memory; in the run, when a parameter is gone or has
            another shape than at its start.

    Example:
        >>> runner.register_hook(EMAHook(0.001, warm_up_mode="falling"), priority="ABOVE_NORMAL")
        >>> iter_based.register_hook(EMAHook(0.001, swap_interval=2000), priority="ABOVE_NORMAL")
    """

    catches_up = True

    def __init__(
        self,
        momentum: float = 0.0002,
        interval: int = 1,
        warm_up: int = 100,
        resume_from: str | None = None,
        interval_mode: str = "power",
        warm_up_mode: str = "rising",
        swap_interval: int | None = None,
        fused: bool = False,
    ) -> None:
        name = type(self).__name__
        interval = check_count(name, "interval", interval)
        if swap_interval is not None:
            check_count(name, "swap_interval", swap_interval, special={None: "epochs only"})
        if not isinstance(momentum, (int, float)) or not 0 < momentum < 1:
            raise ConfigError(f"EMAHook's momentum must be between 0 and 1, not {momentum!r}")
        if not isinstance(warm_up, (int, float)) or isinstance(warm_up, bool) or not 1 <= warm_up < math.inf:
            raise ConfigError(f"EMAHook's warm_up must be a number of at least 1 (1: no warm-up), not {warm_up!r}")
        check_choice(name, "interval_mode", interval_mode, ("power", "compound"))
        check_choice(name, "warm_up_mode", warm_up_mode, ("rising", "falling"))
        self.momentum = momentum**interval if interval_mode == "power" else momentum
        self.interval = interval
        self.warm_up = warm_up
        self.checkpoint = check_path(name, "resume_from", resume_from, optional=True)
        self.compound = interval_mode == "compound"
        self.falling = warm_up_mode == "falling"
        self.swap_interval = swap_interval
        self.fused = check_flag(name, "fused", fused)
        self._swapped: bool | None = None
        self._resumed = False
        self._views: Averages | None = None

    def before_run(self, runner: BaseRunner) -> None:
        """Register the averages as buffers of the model."""
        self._warn(runner)
        model = self._model = unwrap(runner.model)
        parameters = dict(model.named_parameters())
        self._names = {name: f"ema_{name.replace('.', '_')}" for name in parameters}
        taken: dict[str, str] = {}
        for name, buffer in self._names.items():
            if buffer in taken:
                raise ConfigError(
                    f"EMAHook needs one buffer a parameter, but {taken[buffer]} and {name} would share {buffer}: "
                    "rename one of them"
                )
            taken[buffer] = name
        overlap = find_overlap(parameters)
        if overlap is not None:
            raise HookError(
                f"EMAHook cannot swap {overlap[0]} and {overlap[1]}, two parameters with memory in common, without "
                "losing the raw weights: give each its own memory, or make them one nn.Parameter"
            )
        resumed, self._resumed = self._resumed, False
        for name, parameter in parameters.items():
            buffer = self._names[name]
            if not (resumed and buffer in model._buffers):  # of an earlier run, filled anew from the file
                model.register_buffer(buffer, parameter.data.clone())
        if self.checkpoint is not None:
            runner.resume(self.checkpoint)
        for buffer in self._names.values():  # of a file that was resumed before these buffers existed
            saved = runner.claim(buffer)
            if saved is not None and saved.shape == model.get_buffer(buffer).shape:  # else the parameter is new too
                model.get_buffer(buffer).copy_(saved)
        if self._swapped is None:
            # a file that does not say so (MMCV's) was saved with the averages in place at an epoch's end; of a run
            # that begins now both are equal
            self._swapped = runner.by_epoch
        self._pair_up()

    @when(lambda hook: hook.swap_interval is not None)
    def before_train_iter(self, runner: BaseRunner) -> None:
        """Put the parameters back."""
        if self.swap_interval is not None:
            self._take_back()

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Update the averages; swap where an iteration is due."""
        finished = runner.iter + 1
        if (finished if self.compound else runner.iter) % self.interval == 0:
            averages, momentum = self._current(), self.weight(runner.iter)
            if self.fused:
                averages.lerp(momentum)
            else:
                averages.update(momentum)
        if self.swap_interval is not None and (finished % self.swap_interval == 0 or self.is_last_iter(runner)):
            self._put_in_place()

    def weight(self, step: int) -> float:
        """Give the weight of the parameters in an update.

        Args:
            step: the iterations that were finished before the one that the update follows.
        """
        if not self.compound:
            return self._momentum_at(step)
        steps = range(max(0, step + 1 - self.interval), step + 1)
        return 1 - math.prod(1 - self._momentum_at(one) for one in steps)

    def _momentum_at(self, step: int) -> float:
        if self.falling:
            return max(self.momentum, (self.warm_up - 1) / (self.warm_up + step))
        return min(self.momentum, (1 + step) / (self.warm_up + step))

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Put the averages in place of the parameters."""
        self._put_in_place()

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Put the parameters back."""
        self._take_back()

    @when(lambda hook: hook.swap_interval is not None)
    def after_run(self, runner: BaseRunner) -> None:
        """Leave the averages in place."""
        if self.swap_interval is not None:
            self._put_in_place()

    def before_epoch(self, runner: BaseRunner) -> None:
        """Put the parameters back once when an iteration-based run goes on from a file with the averages in place."""
        if not runner.by_epoch and self.swap_interval is None:
            self._take_back()

    def state_dict(self) -> dict[str, Any]:
        """Say which of the two the model's own parameters are now."""
        return {} if self._swapped is None else {"swapped": self._swapped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a file whose parameters are the averages, or the raw ones."""
        self._swapped = state["swapped"]
        self._resumed = True

    # swapping ---------------------------------------------------------------------------------------------

    def _put_in_place(self) -> None:
        if not self._swapped:
            self._swap_ema_parameters()
            self._swapped = True

    def _take_back(self) -> None:
        if self._swapped:
            self._swap_ema_parameters()
            self._swapped = False

    def _swap_ema_parameters(self) -> None:
        """Exchange parameters and averages; a subclass may override it, as in MMCV."""
        self._views = None  # views hold the memory, which would then not be traded
        self._views = swap(*self._tensors())

    # the tensors ------------------------------------------------------------------------------------------

    def _tensors(self) -> tuple[list[nn.Parameter], list[torch.Tensor]]:
        """Look up the parameters that the model has now, and their averages.

        Raises:
            HookError: one is gone, or has another shape.
        """
        found: dict[str, nn.Parameter] = dict(self._model.named_parameters())
        parameters, averages = [], []
        for name, buffer in self._names.items():
            average = self._model.get_buffer(buffer)
            parameter = found.get(name)
            if parameter is None or parameter.shape != average.shape:
                change = "is gone" if parameter is None else f"has become {tuple(parameter.shape)}"
                raise HookError(
                    f"EMAHook averages {name} of shape {tuple(average.shape)}, which {change} since the run began: "
                    "change the model before the run"
                )
            parameters.append(parameter)
            averages.append(average)
        return parameters, averages

    def _pair_up(self) -> Averages:
        """Make views of the tensors where they are in memory now."""
        parameters, averages = self._tensors()
        homes: dict[Any, tuple[dict[str, Any], str]] = {}
        for module in self._model.modules():
            for key, parameter in module._parameters.items():
                homes.setdefault(parameter, (module._parameters, key))
        # a model may name parameters that no module of it holds
        self._homes = [homes.get(parameter) or ({"": parameter}, "") for parameter in parameters]
        self._addresses = [parameter.data_ptr() for parameter in parameters]
        self._averages = averages
        self._views = Averages(parameters, averages)
        return self._views

    def _current(self) -> Averages:
        """Give the views, new ones where tensors have moved."""
        if self._views is None:
            return self._pair_up()
        try:
            moved = [home[key].data_ptr() for home, key in self._homes] != self._addresses
        except (KeyError, AttributeError):  # one is gone: pairing up says which
            moved = True
        averages = map(self._model._buffers.get, self._names.values())
        return self._pair_up() if moved or any(map(is_not, averages, self._averages)) else self._views

    def _warn(self, runner: BaseRunner) -> None:
        if not runner.by_epoch and self.swap_interval is None:
            runner.logger.warning(
                "EMAHook in an iteration-based run averages, but what is evaluated and saved as the model's own stays "
                "raw, as in MMCV: give it a swap_interval, that of the checkpoints and evaluations"
            )
        for hook in runner.hooks:
            if hook is self:
                return
            if is_a(hook, CheckpointHook):
                runner.logger.warning(
                    "EMAHook runs after CheckpointHook, so checkpoints hold the raw weights as the model's own, and "
                    "mmcv, resuming one, would train the averages: register EMAHook with priority='ABOVE_NORMAL'"
                )
                return

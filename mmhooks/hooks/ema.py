"""EMAHook: an exponential moving average of the parameters."""

from __future__ import annotations

import torch

from mmhooks.distributed import unwrap
from mmhooks.errors import ConfigError
from mmhooks.hook import Hook
from mmhooks.hooks.checkpoint import CheckpointHook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module()
class EMAHook(Hook):
    """Average the parameters over the iterations; evaluate and save the average, train the raw ones.

    After an iteration ``ema = (1 - m) * ema + m * parameter``. The averages are buffers ``ema_*`` of the model.
    After a train epoch they change places with the parameters, before the next one they change back, so
    checkpoints and evaluations between the two see the averages. Register it before those:
    ``priority="ABOVE_NORMAL"``.

    The numbers are MMCV's: with an interval the momentum is ``momentum ** interval``, and in an iteration-based
    run (no train epochs) nothing is ever swapped.

    Args:
        momentum: the weight of the newest parameters, in (0, 1).
        interval: update every so many iterations.
        warm_up: for the first iterations the momentum is at most ``(1 + iter) / (warm_up + iter)``.
        resume_from: a checkpoint to resume, averages included.

    Raises:
        ConfigError: an argument out of range.
    """

    def __init__(
        self, momentum: float = 0.0002, interval: int = 1, warm_up: int = 100, resume_from: str | None = None
    ) -> None:
        if not isinstance(interval, int) or interval <= 0:
            raise ConfigError(f"EMAHook's interval must be a positive integer, not {interval!r}")
        if not 0 < momentum < 1:
            raise ConfigError(f"EMAHook's momentum must be between 0 and 1, not {momentum!r}")
        self.momentum = momentum**interval
        self.interval = interval
        self.warm_up = warm_up
        self.checkpoint = resume_from
        self._pairs: list[tuple[torch.nn.Parameter, torch.Tensor]] = []

    def before_run(self, runner: BaseRunner) -> None:
        """Register the averages as buffers of the model."""
        self._warn_of_order(runner)
        model = unwrap(runner.model)
        parameters = dict(model.named_parameters())
        names = {name: f"ema_{name.replace('.', '_')}" for name in parameters}
        taken: dict[str, str] = {}
        for name, buffer in names.items():
            if buffer in taken:
                raise ConfigError(
                    f"EMAHook needs one buffer a parameter, but {taken[buffer]} and {name} would share {buffer}: "
                    "rename one of them"
                )
            taken[buffer] = name
        for name, parameter in parameters.items():
            model.register_buffer(names[name], parameter.data.clone())
        if self.checkpoint is not None:
            runner.resume(self.checkpoint)
        buffers = dict(model.named_buffers())
        self._pairs = [(parameter, buffers[names[name]]) for name, parameter in parameters.items()]
        for name in parameters:  # of a file that was resumed before these buffers existed
            saved = runner.claim(names[name])
            if saved is not None:
                buffers[names[name]].copy_(saved)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Update the averages."""
        step = runner.iter
        if step % self.interval:
            return
        momentum = min(self.momentum, (1 + step) / (self.warm_up + step))
        for parameter, average in self._pairs:
            average.mul_(1 - momentum).add_(parameter.data, alpha=momentum)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Put the averages in place of the parameters."""
        self._swap()

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Put the parameters back."""
        self._swap()

    def _swap(self) -> None:
        # values, not storages, are exchanged: tensors taken from state_dict() earlier stay aliases
        for parameter, average in self._pairs:
            kept = parameter.data.clone()
            parameter.data.copy_(average)
            average.copy_(kept)

    def _warn_of_order(self, runner: BaseRunner) -> None:
        for hook in runner.hooks:
            if hook is self:
                return
            if isinstance(hook, CheckpointHook):
                runner.logger.warning(
                    "EMAHook runs after CheckpointHook, so checkpoints hold the raw weights as the model's own and a "
                    "resume would train the averages: register EMAHook with priority='ABOVE_NORMAL'"
                )
                return

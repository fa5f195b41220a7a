"""UpdaterHook: when a schedule is applied to which key of the param groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mmhooks.errors import ConfigError, HookError
from mmhooks.hook import Hook
from mmhooks.hooks.updater.schedules import Schedule, Warmup
from mmhooks.runner.base import BaseRunner

Values = list[float] | dict[str, list[float]]


class UpdaterHook(Hook):
    """Sets one value of every param group, by epoch or by iteration, with an optional warmup by iteration.

    Subclasses say how the value is read from and written to a param group, and what it is called.

    Args:
        by_epoch: the schedule counts epochs; otherwise iterations.
        warmup: ``constant``, ``linear``, ``exp`` or None.
        warmup_iters: how long the warmup lasts, in iterations.
        warmup_ratio: the fraction of the regular value to begin with, in (0, 1].
        warmup_by_epoch: ``warmup_iters`` means epochs.

    Raises:
        ConfigError: a warmup that cannot be.
    """

    schedule: Schedule

    def __init__(
        self,
        by_epoch: bool = True,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = 0.1,
        warmup_by_epoch: bool = False,
    ) -> None:
        self.by_epoch = by_epoch
        self.warmup = warmup
        self.warmup_ratio = warmup_ratio
        self.warmup_by_epoch = warmup_by_epoch
        self.warmup_epochs = warmup_iters if warmup_by_epoch else None
        self.warmup_iters: int | None = None if warmup_by_epoch else warmup_iters
        self._base: Values = []
        self._regular: Values = []
        if warmup is not None:
            self._warm = Warmup(warmup, warmup_ratio)
            if warmup_iters <= 0:
                raise ConfigError(f"warmup={warmup!r} needs a positive warmup_iters, not {warmup_iters}")

    def read(self, group: dict[str, Any]) -> float:
        """Read the base value of a param group."""
        raise NotImplementedError

    def write(self, group: dict[str, Any], value: float) -> None:
        """Write the value of a param group."""
        raise NotImplementedError

    def value(self, runner: BaseRunner, base: float) -> float:
        """Compute the regular value now."""
        progress, end = (runner.epoch, runner.max_epochs) if self.by_epoch else (runner.iter, runner.max_iters)
        return self.schedule(base, progress, end)  # type: ignore[arg-type]  # one that needs no end gets None

    def regular_values(self, runner: BaseRunner) -> Values:
        """Compute the regular value of every param group."""
        return _each(self._base, lambda base: self.value(runner, base))

    def warmup_values(self, iteration: int) -> Values:
        """Compute the value of every param group during the warmup."""
        assert self.warmup_iters is not None
        iterations = self.warmup_iters
        return _each(self._regular, lambda regular: self._warm(regular, iteration, iterations))

    def set_values(self, runner: BaseRunner, values: Values) -> None:
        """Write the values into the param groups."""
        if isinstance(runner.optimizer, Mapping):
            assert isinstance(values, dict)
            pairs = [(one, values[name]) for name, one in runner.optimizer.items()]
        else:
            assert isinstance(values, list)
            pairs = [(runner.optimizer, values)]
        for optimizer, own in pairs:
            for group, value in zip(optimizer.param_groups, own, strict=False):
                self.write(group, value)

    def before_run(self, runner: BaseRunner) -> None:
        """Read the base values."""
        if runner.optimizer is None:
            raise HookError(f"{type(self).__name__} needs an optimizer: give the runner one, optimizer=...")
        if isinstance(runner.optimizer, Mapping):
            self._base = {
                name: [self.read(group) for group in one.param_groups] for name, one in runner.optimizer.items()
            }
        else:
            self._base = [self.read(group) for group in runner.optimizer.param_groups]

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Set the regular values when they move by epoch."""
        if self.warmup_iters is None:
            assert self.warmup_epochs is not None
            self.warmup_iters = self.warmup_epochs * len(runner.data_loader)
        if self.by_epoch:
            self._regular = self.regular_values(runner)
            self.set_values(runner, self._regular)

    def before_train_iter(self, runner: BaseRunner) -> None:
        """Set the values of the warmup, and the regular ones when they move by iteration."""
        if self.by_epoch and self.warmup is None:
            return
        if self.warmup_iters is None:
            raise HookError(
                f"{type(self).__name__}(warmup_by_epoch=True) needs epochs, and this run has none: "
                "give warmup_iters in iterations"
            )
        iteration = runner.iter
        warming = self.warmup is not None and iteration < self.warmup_iters
        if not self.by_epoch:
            self._regular = self.regular_values(runner)
        elif iteration > self.warmup_iters:
            return
        self.set_values(runner, self.warmup_values(iteration) if warming else self._regular)


def _each(values: Values, change: Callable[[float], float]) -> Values:
    if isinstance(values, dict):
        return {name: [change(value) for value in own] for name, own in values.items()}
    return [change(value) for value in values]

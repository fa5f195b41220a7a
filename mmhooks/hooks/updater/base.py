"""UpdaterHook: when which param groups get a new value, whatever the value is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from mmhooks.checks import check_flag
from mmhooks.errors import ConfigError, HookError
from mmhooks.hook import Hook
from mmhooks.hooks.updater.arguments import check_warmup
from mmhooks.hooks.updater.schedules import warmup_factor
from mmhooks.runner.base import BaseRunner

#: A value for each param group; with several optimizers, such a list for each of them by name.
Values = list[float] | dict[str, list[float]]


class UpdaterHook(Hook):
    """Sets one value of every param group, by epoch or by iteration, with an optional warmup by iteration.

    The two families, `LrUpdaterHook` and `MomentumUpdaterHook`, say which value, and give the parts of this class
    the names under which policies of one's own override them.

    Args:
        by_epoch: the schedule counts epochs; otherwise iterations.
        warmup: ``constant``, ``linear``, ``exp`` or None.
        warmup_iters: how long the warmup lasts, in iterations.
        warmup_ratio: the factor to begin with, in (0, 1].

    Raises:
        ConfigError: a warmup that cannot be, or a by_epoch that is not True or False.
    """

    warmup_iters: int | None
    warmup_ratio: float

    def __init__(self, by_epoch: bool, warmup: str | None, warmup_iters: int | None, warmup_ratio: float) -> None:
        self.warmup_iters, self.warmup_ratio = check_warmup(type(self).__name__, warmup, warmup_iters, warmup_ratio)
        self.by_epoch = check_flag(type(self).__name__, "by_epoch", by_epoch)
        self.warmup = warmup
        self._base: Values = []
        self._regular: Values = []

    # what a family says -----------------------------------------------------------------------------------

    def _read(self, group: dict[str, Any]) -> float:
        """Read the base value of a param group, and note it there for a resume."""
        raise NotImplementedError

    def _advance(self, runner: BaseRunner) -> None:
        """Compute the regular values, keep them, and write them into the param groups."""
        raise NotImplementedError

    def _apply(self, runner: BaseRunner, warming: bool) -> None:
        """Write the regular values into the param groups, or those of this iteration of the warmup."""
        raise NotImplementedError

    # what policies use ------------------------------------------------------------------------------------

    def _progress(self, runner: BaseRunner) -> int:
        """Give the finished epochs, or iterations."""
        return runner.epoch if self.by_epoch else runner.iter

    def _span(self, runner: BaseRunner) -> tuple[int, int]:
        """Give the progress, and the progress at which the run ends.

        Raises:
            ConfigError: the run does not say when it ends.
        """
        if self.by_epoch:
            progress, end = runner.epoch, runner.max_epochs
        else:
            progress, end = runner.iter, runner.max_iters
        return progress, self._known(end) if end is None else end

    def _known(self, end: int | None) -> int:
        """Check that the length of the run is known.

        Raises:
            ConfigError: it is not.
        """
        if end is None:
            raise ConfigError(
                f"{type(self).__name__} must know how long the run is, and this one does not say how many "
                f"{'epochs' if self.by_epoch else 'iterations'} it has: give it max_epochs and a loader with a length"
            )
        return end

    def _warmup_factor(self, iteration: int) -> float:
        """Give the factor, from ``warmup_ratio`` to 1, of an iteration of the warmup."""
        assert self.warmup is not None
        assert self.warmup_iters is not None
        return warmup_factor(self.warmup, self.warmup_ratio, iteration, self.warmup_iters)

    # the points -------------------------------------------------------------------------------------------

    def before_run(self, runner: BaseRunner) -> None:
        """Read the base values."""
        self._check_run(runner)
        self._base = values_of(runner.optimizer, lambda name, one: [self._read(group) for group in one.param_groups])

    def _check_run(self, runner: BaseRunner) -> None:
        """Check that there is something to set, and warn where nothing will be.

        Raises:
            HookError: no optimizer; or several, and no epochs for a schedule by epoch with a warmup.
        """
        name = type(self).__name__
        if runner.optimizer is None:
            raise HookError(f"{name} needs an optimizer: give the runner one, optimizer=...")
        if self.by_epoch and not runner.by_epoch:
            idle = f"{name} does nothing by epoch in an iteration-based run: give it by_epoch=False"
            if self.warmup is not None and isinstance(runner.optimizer, dict):
                raise HookError(idle)  # here MMCV fails, too
            runner.logger.warning(idle)

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Set the regular values when they move by epoch."""
        if self.by_epoch:
            self._advance(runner)

    def _warm_up(self, runner: BaseRunner) -> None:
        """Set the values of the warmup, and at its end the regular ones, when those move by epoch."""
        if self.warmup is not None:
            left: int = self.warmup_iters - runner.iter  # type: ignore[operator]  # an int since the first epoch
            if left >= 0:
                self._apply(runner, left > 0)


def moves_by_iteration(hook: UpdaterHook) -> bool:
    """Tell whether an updater has something to do before an iteration."""
    return not hook.by_epoch or hook.warmup is not None


class Alias:
    """Another name of an attribute: each family has its own name for the values, and policies assign to it too."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, hook: UpdaterHook, owner: type | None = None) -> Any:
        return self if hook is None else getattr(hook, self._name)

    def __set__(self, hook: UpdaterHook, values: Values) -> None:
        setattr(hook, self._name, values)


def values_of(optimizer: Any, read: Callable[[str | None, Any], list[float]]) -> Values:
    """Collect values: of one optimizer (its name is None), or by name of several."""
    if isinstance(optimizer, dict):
        return {name: read(name, one) for name, one in optimizer.items()}
    return read(None, optimizer)


def changed(values: Values, change: Callable[[float], float]) -> Values:
    """Change every value."""
    if isinstance(values, dict):
        return {name: [change(value) for value in own] for name, own in values.items()}
    return [change(value) for value in values]


def pairs(optimizer: Any, values: Values) -> Iterable[tuple[dict[str, Any], float]]:
    """Give each param group with its value; a group that was added since there are values has none, and is left out.

    The groups are looked up each time: ``load_state_dict`` of an optimizer puts new ones in their place.
    """
    if isinstance(values, dict):
        return chain.from_iterable(pairs(one, values[name]) for name, one in optimizer.items())
    return zip(optimizer.param_groups, values)  # noqa: B905  # strict=False costs time

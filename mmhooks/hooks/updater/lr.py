"""Learning rate updaters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmhooks.hooks.updater.base import UpdaterHook, Values
from mmhooks.hooks.updater.schedules import CosineAnnealing, Step, fixed
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


class LrUpdaterHook(UpdaterHook):
    """Base of the lr updaters; a policy of one's own overrides `get_lr`.

    The base value is the param group's ``initial_lr``, which a resumed optimizer brings along.

    Args:
        **kwargs: by_epoch and the warmup; see `UpdaterHook`.

    Example:
        >>> @HOOKS.register_module()
        ... class HalvingLrUpdaterHook(LrUpdaterHook):          # lr_config=dict(policy="halving")
        ...     def get_lr(self, runner, base_lr):
        ...         return base_lr * 0.5**runner.epoch
    """

    @property
    def base_lr(self) -> Values:
        """The lr of every param group at the start."""
        return self._base

    @property
    def regular_lr(self) -> Values:
        """The lr of every param group now, if there were no warmup."""
        return self._regular

    def read(self, group: dict[str, Any]) -> float:
        """Read, and at the first time set, the group's initial lr."""
        return float(group.setdefault("initial_lr", group["lr"]))

    def write(self, group: dict[str, Any], value: float) -> None:
        """Write the group's lr."""
        group["lr"] = value

    def value(self, runner: BaseRunner, base: float) -> float:
        """Compute the regular lr now."""
        return self.get_lr(runner, base)

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Compute the regular lr now from a group's initial one."""
        return super().value(runner, base_lr)

    def warmup_values(self, iteration: int) -> Values:
        """Compute the lr of every param group during the warmup."""
        return self.get_warmup_lr(iteration)

    def get_warmup_lr(self, cur_iters: int) -> Values:
        """Compute the lr of every param group during the warmup; a warmup of one's own overrides it."""
        return super().warmup_values(cur_iters)


@HOOKS.register_module()
class FixedLrUpdaterHook(LrUpdaterHook):
    """Keep the lr (after a warmup, if any).

    Args:
        **kwargs: by_epoch and the warmup; see `UpdaterHook`.
    """

    schedule = staticmethod(fixed)


@HOOKS.register_module()
class StepLrUpdaterHook(LrUpdaterHook):
    """Multiply the lr by ``gamma`` again at each step.

    Args:
        step: every so many epochs (or iterations), or a list of those at which to step.
        gamma: the factor.
        min_lr: the lr never falls below it.
        **kwargs: by_epoch and the warmup; see `UpdaterHook`.
    """

    def __init__(
        self, step: int | Sequence[int], gamma: float = 0.1, min_lr: float | None = None, **kwargs: Any
    ) -> None:
        self.schedule = Step(step, gamma, min_lr)
        super().__init__(**kwargs)


@HOOKS.register_module()
class CosineAnnealingLrUpdaterHook(LrUpdaterHook):
    """Let the lr fall to a minimum along half a cosine, over the whole run.

    Args:
        min_lr: the lr at the end, or
        min_lr_ratio: the lr at the end as a fraction of the initial one.
        **kwargs: by_epoch and the warmup; see `UpdaterHook`.
    """

    def __init__(self, min_lr: float | None = None, min_lr_ratio: float | None = None, **kwargs: Any) -> None:
        self.schedule = CosineAnnealing(min_lr, min_lr_ratio)
        super().__init__(**kwargs)

"""Learning rate updaters that follow half cosines or lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from mmhooks.checks import check_count, check_flag, check_number
from mmhooks.errors import ConfigError
from mmhooks.hooks.updater import arguments as check
from mmhooks.hooks.updater.base import values_of
from mmhooks.hooks.updater.lr import LrUpdaterHook
from mmhooks.hooks.updater.schedules import (
    annealing_cos,
    annealing_linear,
    cosine_restart,
    cyclic,
    flat_cosine,
    one_cycle,
    target_of,
)
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


class _AnnealingLrUpdaterHook(LrUpdaterHook):
    """Base of those that end at ``min_lr``, or at ``min_lr_ratio`` of the initial lr."""

    anneal: ClassVar[Any]  # an Annealing

    def __init__(self, min_lr: float | None = None, min_lr_ratio: float | None = None, **kwargs: Any) -> None:
        self.min_lr, self.min_lr_ratio = check.check_target(
            type(self).__name__, "lr", min_lr=min_lr, min_lr_ratio=min_lr_ratio
        )
        super().__init__(**kwargs)

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Compute the regular lr now."""
        # `_span` and `target_of` written out: this may come at every iteration
        progress, end = (runner.epoch, runner.max_epochs) if self.by_epoch else (runner.iter, runner.max_iters)
        ratio = self.min_lr_ratio
        target = self.min_lr if ratio is None else base_lr * ratio
        value: float = self.anneal(base_lr, target, progress / (end or self._known(end)))
        return value


@HOOKS.register_module()
class CosineAnnealingLrUpdaterHook(_AnnealingLrUpdaterHook):
    """Let the lr fall to a minimum along half a cosine, over the whole run.

    Args:
        min_lr: the lr at the end, or
        min_lr_ratio: the lr at the end as a fraction of the initial one.
        **kwargs: by_epoch and the warmup; see `LrUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    anneal = staticmethod(annealing_cos)


@HOOKS.register_module()
class LinearAnnealingLrUpdaterHook(_AnnealingLrUpdaterHook):
    """Let the lr fall to a minimum along a line, over the whole run.

    Args:
        min_lr: the lr at the end, or
        min_lr_ratio: the lr at the end as a fraction of the initial one.
        **kwargs: by_epoch and the warmup; see `LrUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    anneal = staticmethod(annealing_linear)


@HOOKS.register_module()
class FlatCosineAnnealingLrUpdaterHook(_AnnealingLrUpdaterHook):
    """Keep the lr for a part of the run, then let it fall to a minimum along half a cosine.

    Args:
        start_percent: the part of the run, 0.0 to 1.0, after which the lr falls.
        min_lr: the lr at the end, or
        min_lr_ratio: the lr at the end as a fraction of the initial one.
        **kwargs: by_epoch and the warmup; see `LrUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(
        self,
        start_percent: float = 0.75,
        min_lr: float | None = None,
        min_lr_ratio: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.start_percent = check.check_percent(type(self).__name__, "start_percent", start_percent)
        super().__init__(min_lr, min_lr_ratio, **kwargs)

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Compute the regular lr now."""
        target = target_of(base_lr, self.min_lr, self.min_lr_ratio)
        return flat_cosine(base_lr, *self._span(runner), target, self.start_percent)


@HOOKS.register_module()
class CosineRestartLrUpdaterHook(_AnnealingLrUpdaterHook):
    """Let the lr fall to a minimum along half a cosine again and again, each time from a weighted restart.

    Args:
        periods: how many epochs (or iterations) each fall lasts; together at least as long as the run.
        restart_weights: for each period, the weight of the initial lr where it begins.
        min_lr: the lr at the end of each period, or
        min_lr_ratio: the same as a fraction of the initial lr.
        **kwargs: by_epoch and the warmup; see `LrUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(
        self,
        periods: Sequence[int],
        restart_weights: Sequence[float] = (1,),
        min_lr: float | None = None,
        min_lr_ratio: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.periods, self.restart_weights = check.check_periods(type(self).__name__, periods, restart_weights)
        super().__init__(min_lr, min_lr_ratio, **kwargs)

    def _check_run(self, runner: BaseRunner) -> None:
        """Check that the periods last as long as the run.

        Raises:
            ConfigError: they end before.
        """
        super()._check_run(runner)
        unit, end = ("epochs", runner.max_epochs) if self.by_epoch else ("iterations", runner.max_iters)
        if end is not None and sum(self.periods) < end:
            raise ConfigError(
                f"periods={list(self.periods)} last {sum(self.periods)} {unit}, and the run has {end}: "
                "make them last as long as the run"
            )

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Compute the regular lr now."""
        target = target_of(base_lr, self.min_lr, self.min_lr_ratio)
        return cosine_restart(base_lr, self._progress(runner), self.periods, self.restart_weights, target)


@HOOKS.register_module()
class CyclicLrUpdaterHook(LrUpdaterHook):
    """Let the lr rise to a peak and fall to a lowest value, by iteration, once or several times a run.

    Args:
        by_epoch: False; this policy moves by iteration.
        target_ratio: the peak and the lowest value as ratios of the initial lr; without the second, 1e-5 of the peak.
        cyclic_times: how many cycles the run has.
        step_ratio_up: which part of a cycle is the way up, in [0, 1).
        anneal_strategy: the shape of both ways, ``cos`` or ``linear``.
        gamma: the distance of the peak from the initial lr shrinks by this factor from cycle to cycle, in (0, 1].
        **kwargs: the warmup; see `LrUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(
        self,
        by_epoch: bool = False,
        target_ratio: float | tuple[float, ...] = (10, 1e-4),
        cyclic_times: int = 1,
        step_ratio_up: float = 0.4,
        anneal_strategy: str = "cos",
        gamma: float = 1,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        check.check_by_iteration(owner, by_epoch)
        self.target_ratio = check.cycle_ratios(owner, target_ratio)
        self.cyclic_times, self.step_ratio_up = check.check_cycle(owner, cyclic_times, step_ratio_up)
        self.gamma = check_number(owner, "gamma", gamma, above=0, maximum=1)
        self.anneal_func = check.annealing_of(owner, anneal_strategy)
        super().__init__(by_epoch, **kwargs)

    def before_run(self, runner: BaseRunner) -> None:
        """Read the initial lr, and divide the run into cycles."""
        super().before_run(runner)
        self.max_iter_per_phase = check.cycle_length(self._known(runner.max_iters), self.cyclic_times)

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Compute the regular lr now."""
        period = self.max_iter_per_phase
        turn = int(self.step_ratio_up * period)
        return cyclic(base_lr, runner.iter, period, turn, self.target_ratio, self.gamma, self.anneal_func)


@HOOKS.register_module()
class OneCycleLrUpdaterHook(LrUpdaterHook):
    """Let the lr rise to a peak and fall far below where it began, by iteration, once a run.

    The lr of the optimizer plays no part: it begins at ``max_lr / div_factor``.

    Args:
        max_lr: the peak: a number from 0 on, a list with one for each param group, or a dict with such a list for
            each optimizer (by its name; one optimizer alone goes by its class).
        total_steps: how many iterations the cycle has, at least as many as the run; as many by default.
        pct_start: the part of the cycle, 0.0 to 1.0, that the way up takes.
        anneal_strategy: the shape of all ways, ``cos`` or ``linear``.
        div_factor: the lr begins at so small a part of the peak.
        final_div_factor: the lr ends at so small a part of where it began.
        three_phase: come back to where it began in as many iterations as the way up took, and only then go further.
        **kwargs: the warmup; see `LrUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(
        self,
        max_lr: float | list[float] | dict[str, list[float]],
        total_steps: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        check.check_by_iteration(owner, kwargs.setdefault("by_epoch", False))
        self._max_lr = check.check_numbers_of_groups(owner, "max_lr", max_lr, minimum=0)
        if total_steps is not None:
            total_steps = check_count(owner, "total_steps", total_steps, special={None: "as many as the run"})
        self.total_steps = total_steps
        self.pct_start = check.check_percent(owner, "pct_start", pct_start)
        self.anneal_func = check.annealing_of(owner, anneal_strategy)
        self.div_factor = check_number(owner, "div_factor", div_factor, above=0)
        self.final_div_factor = check_number(owner, "final_div_factor", final_div_factor, above=0)
        self.three_phase = check_flag(owner, "three_phase", three_phase)
        super().__init__(**kwargs)

    def before_run(self, runner: BaseRunner) -> None:
        """Compute where the lr of each param group begins."""
        self._check_run(runner)
        self._steps = self._known(runner.max_iters) if self.total_steps is None else self.total_steps
        if runner.max_iters is not None and self._steps < runner.max_iters:
            raise ConfigError(
                f"total_steps={self._steps} is less than the {runner.max_iters} iterations of this run: "
                "give as many, or leave it out"
            )
        self.base_lr = values_of(runner.optimizer, self._first_lr)

    def _first_lr(self, name: str | None, optimizer: Any) -> list[float]:
        max_lr = check.numbers_of_groups("max_lr", self._max_lr, name, optimizer)
        first = [lr / self.div_factor for lr in max_lr]
        for group, lr in zip(optimizer.param_groups, first, strict=False):
            group.setdefault("initial_lr", lr)
        return first

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Compute the regular lr now."""
        peak, last = base_lr * self.div_factor, base_lr * (1 / self.final_div_factor)
        values = (base_lr, peak, base_lr, last) if self.three_phase else (base_lr, peak, last)
        return one_cycle(values, runner.iter, self._steps, self.pct_start, self.anneal_func)

"""Momentum updaters: the ``momentum`` of a param group, or Adam's first beta."""

from __future__ import annotations

from typing import Any, ClassVar

from mmhooks.checks import check_flag, check_number
from mmhooks.errors import ConfigError, HookError
from mmhooks.hook import when
from mmhooks.hooks.updater import arguments as check
from mmhooks.hooks.updater.base import Alias, UpdaterHook, Values, changed, moves_by_iteration, pairs, values_of
from mmhooks.hooks.updater.schedules import (
    annealing_cos,
    annealing_linear,
    cyclic,
    one_cycle,
    step_decay,
    target_of,
)
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


class MomentumUpdaterHook(UpdaterHook):
    """Base of the momentum updaters; a policy of one's own overrides `get_momentum`, or any other method.

    A param group without ``momentum`` has its first beta moved. The base value is the group's
    ``initial_momentum``, which a resumed optimizer brings along.

    Args:
        by_epoch: the schedule counts epochs; otherwise iterations.
        warmup: ``constant`` (the regular momentum divided by a ratio), ``linear`` or ``exp`` (falling from that to the
            regular momentum), or None.
        warmup_iters: how long the warmup lasts, in iterations.
        warmup_ratio: the ratio, in (0, 1].

    Attributes:
        base_momentum: the momentum of every param group at the start: a list, or a list by name of the optimizer.
        regular_momentum: the momentum of every param group now, if there were no warmup.

    Raises:
        ConfigError: a warmup that cannot be.
    """

    base_momentum = Alias("_base")
    regular_momentum = Alias("_regular")

    def __init__(
        self, by_epoch: bool = True, warmup: str | None = None, warmup_iters: int = 0, warmup_ratio: float = 0.9
    ) -> None:
        super().__init__(by_epoch, warmup, warmup_iters, warmup_ratio)

    def get_momentum(self, runner: BaseRunner, base_momentum: float) -> float:
        """Compute the regular momentum now from the initial one of a param group."""
        raise NotImplementedError(f"{type(self).__name__} must define get_momentum(self, runner, base_momentum)")

    def get_regular_momentum(self, runner: BaseRunner) -> Values:
        """Compute the regular momentum of every param group now."""
        get_momentum, base = self.get_momentum, self._base
        if isinstance(base, dict):
            return {name: [get_momentum(runner, base_momentum) for base_momentum in own] for name, own in base.items()}
        return [get_momentum(runner, base_momentum) for base_momentum in base]

    def get_warmup_momentum(self, cur_iters: int) -> Values:
        """Compute the momentum of every param group in an iteration of the warmup."""
        factor = self._warmup_factor(cur_iters)
        return changed(self._regular, lambda momentum: momentum / factor)

    def _set_momentum(self, runner: BaseRunner, momentum_groups: Values) -> None:
        for group, momentum in pairs(runner.optimizer, momentum_groups):
            _write_momentum(group, momentum)

    def _read(self, group: dict[str, Any]) -> float:
        self._check_group(group)
        now = group["momentum"] if "momentum" in group else group["betas"][0]
        return group.setdefault("initial_momentum", now)  # type: ignore[no-any-return]

    def _check_group(self, group: dict[str, Any]) -> None:
        if "momentum" not in group and "betas" not in group:
            raise ConfigError(
                f"{type(self).__name__} finds neither momentum nor betas in a param group of the optimizer, which has "
                f"{', '.join(key for key in group if key != 'params')}: leave momentum_config out"
            )

    def _advance(self, runner: BaseRunner) -> None:
        self._regular = regular = self.get_regular_momentum(runner)
        self._set_momentum(runner, regular)

    def _apply(self, runner: BaseRunner, warming: bool) -> None:
        self._set_momentum(runner, self.get_warmup_momentum(runner.iter) if warming else self._regular)

    @when(moves_by_iteration)
    def before_train_iter(self, runner: BaseRunner) -> None:
        """Set the momentum of the warmup, and the regular one when it moves by iteration."""
        if self.by_epoch:
            self._warm_up(runner)
            return
        self._regular = momentum_groups = self.get_regular_momentum(runner)
        if self.warmup is not None and runner.iter < self.warmup_iters:  # type: ignore[operator]
            momentum_groups = self.get_warmup_momentum(runner.iter)
        self._set_momentum(runner, momentum_groups)


def _write_momentum(group: dict[str, Any], momentum: float) -> None:
    if "momentum" in group:
        group["momentum"] = momentum
    elif "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])


@HOOKS.register_module()
class StepMomentumUpdaterHook(MomentumUpdaterHook):
    """Multiply the momentum by ``gamma`` again at each step.

    Args:
        step: every so many epochs (or iterations), or a list of those at which to step.
        gamma: the factor.
        min_momentum: the momentum never falls below it.
        **kwargs: by_epoch and the warmup; see `MomentumUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(
        self, step: int | list[int], gamma: float = 0.5, min_momentum: float | None = None, **kwargs: Any
    ) -> None:
        self.step = check.check_step(type(self).__name__, step)
        self.gamma = check_number(type(self).__name__, "gamma", gamma)
        self.min_momentum = (
            None if min_momentum is None else check_number(type(self).__name__, "min_momentum", min_momentum)
        )
        super().__init__(**kwargs)

    def get_momentum(self, runner: BaseRunner, base_momentum: float) -> float:
        """Compute the regular momentum now."""
        return step_decay(base_momentum, self._progress(runner), self.step, self.gamma, self.min_momentum)


class _AnnealingMomentumUpdaterHook(MomentumUpdaterHook):
    """Base of those that end at ``min_momentum``, or at ``min_momentum_ratio`` of the initial momentum."""

    anneal: ClassVar[Any]  # an Annealing

    def __init__(
        self, min_momentum: float | None = None, min_momentum_ratio: float | None = None, **kwargs: Any
    ) -> None:
        self.min_momentum, self.min_momentum_ratio = check.check_target(
            type(self).__name__, "momentum", min_momentum=min_momentum, min_momentum_ratio=min_momentum_ratio
        )
        super().__init__(**kwargs)

    def get_momentum(self, runner: BaseRunner, base_momentum: float) -> float:
        """Compute the regular momentum now."""
        progress, end = self._span(runner)
        target = target_of(base_momentum, self.min_momentum, self.min_momentum_ratio)
        value: float = self.anneal(base_momentum, target, progress / end)
        return value


@HOOKS.register_module()
class CosineAnnealingMomentumUpdaterHook(_AnnealingMomentumUpdaterHook):
    """Move the momentum to a minimum along half a cosine, over the whole run.

    Args:
        min_momentum: the momentum at the end, or
        min_momentum_ratio: the momentum at the end as a fraction of the initial one.
        **kwargs: by_epoch and the warmup; see `MomentumUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    anneal = staticmethod(annealing_cos)


@HOOKS.register_module()
class LinearAnnealingMomentumUpdaterHook(_AnnealingMomentumUpdaterHook):
    """Move the momentum to a minimum along a line, over the whole run.

    Args:
        min_momentum: the momentum at the end, or
        min_momentum_ratio: the momentum at the end as a fraction of the initial one.
        **kwargs: by_epoch and the warmup; see `MomentumUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    anneal = staticmethod(annealing_linear)


@HOOKS.register_module()
class CyclicMomentumUpdaterHook(MomentumUpdaterHook):
    """Move the momentum to a first ratio and on to a second one, by iteration, once or several times a run.

    Beside a CyclicLrUpdaterHook the momentum is low where the lr is high.

    Args:
        by_epoch: False; this policy moves by iteration.
        target_ratio: where the first and the second way end, as ratios of the initial momentum; without the second,
            1e-5 of the first.
        cyclic_times: how many cycles the run has.
        step_ratio_up: which part of a cycle is the first way, in [0, 1).
        anneal_strategy: the shape of both ways, ``cos`` or ``linear``.
        gamma: the distance of the first end from the initial momentum changes by this factor from cycle to cycle.
        **kwargs: the warmup; see `MomentumUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(
        self,
        by_epoch: bool = False,
        target_ratio: float | tuple[float, ...] = (0.85 / 0.95, 1.0),
        cyclic_times: int = 1,
        step_ratio_up: float = 0.4,
        anneal_strategy: str = "cos",
        gamma: float = 1.0,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        check.check_by_iteration(owner, by_epoch)
        self.target_ratio = check.cycle_ratios(owner, target_ratio)
        self.cyclic_times, self.step_ratio_up = check.check_cycle(owner, cyclic_times, step_ratio_up)
        self.gamma = check_number(owner, "gamma", gamma)
        self.anneal_func = check.annealing_of(owner, anneal_strategy)
        super().__init__(by_epoch, **kwargs)

    def before_run(self, runner: BaseRunner) -> None:
        """Read the initial momentum, and divide the run into cycles."""
        super().before_run(runner)
        self.max_iter_per_phase = check.cycle_length(self._known(runner.max_iters), self.cyclic_times)

    def get_momentum(self, runner: BaseRunner, base_momentum: float) -> float:
        """Compute the regular momentum now."""
        period = self.max_iter_per_phase
        turn = int(self.step_ratio_up * period)
        return cyclic(base_momentum, runner.iter, period, turn, self.target_ratio, self.gamma, self.anneal_func)


@HOOKS.register_module()
class OneCycleMomentumUpdaterHook(MomentumUpdaterHook):
    """Let the momentum fall from ``max_momentum`` to ``base_momentum`` and come back, by iteration, once a run.

    Beside a OneCycleLrUpdaterHook the momentum is lowest where the lr is highest. The momentum of the optimizer plays
    no part. Both bounds are kept in the param groups, under the names of the arguments.

    Args:
        base_momentum: the lowest value: a float, a list with one for each param group, or a dict with such a list for
            each optimizer (by its name; one optimizer alone goes by its class).
        max_momentum: the highest value, likewise.
        pct_start: the part of the run, 0.0 to 1.0, that the way down takes.
        anneal_strategy: the shape of all ways, ``cos`` or ``linear``.
        three_phase: come back in as many iterations as the way down took, then stay.
        **kwargs: the warmup; see `MomentumUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(
        self,
        base_momentum: float | list[float] | dict[str, list[float]] = 0.85,
        max_momentum: float | list[float] | dict[str, list[float]] = 0.95,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        three_phase: bool = False,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        check.check_by_iteration(owner, kwargs.setdefault("by_epoch", False))
        self._base_momentum = check.check_numbers_of_groups(owner, "base_momentum", base_momentum, float_alone=True)
        self._max_momentum = check.check_numbers_of_groups(owner, "max_momentum", max_momentum, float_alone=True)
        self.pct_start = check.check_percent(owner, "pct_start", pct_start)
        self.anneal_func = check.annealing_of(owner, anneal_strategy)
        self.three_phase = check_flag(owner, "three_phase", three_phase)
        super().__init__(**kwargs)

    def before_run(self, runner: BaseRunner) -> None:
        """Put the bounds into the param groups, and set the momentum to the upper one."""
        self._check_run(runner)
        self._steps = self._known(runner.max_iters)
        several = isinstance(runner.optimizer, dict)
        for name, optimizer in runner.optimizer.items() if several else [(None, runner.optimizer)]:
            low = check.numbers_of_groups("base_momentum", self._base_momentum, name, optimizer)
            high = check.numbers_of_groups("max_momentum", self._max_momentum, name, optimizer)
            for group, base_momentum, max_momentum in zip(optimizer.param_groups, low, high, strict=False):
                self._check_group(group)
                _write_momentum(group, max_momentum)
                group["base_momentum"] = base_momentum
                group["max_momentum"] = max_momentum

    def get_momentum(self, runner: BaseRunner, param_group: dict[str, float]) -> float:  # type: ignore[override]
        """Compute the regular momentum of a param group now (MMCV's signature: the group, not a base value)."""
        try:
            low, high = param_group["base_momentum"], param_group["max_momentum"]
        except KeyError:
            raise HookError(
                f"{type(self).__name__} finds a param group without base_momentum and max_momentum: it was added, or "
                "loaded, after the run began. Add groups, and resume, before"
            ) from None
        values = (high, low, high, high) if self.three_phase else (high, low, high)
        return one_cycle(values, runner.iter, self._steps, self.pct_start, self.anneal_func)

    def get_regular_momentum(self, runner: BaseRunner) -> Values:
        """Compute the regular momentum of every param group now."""
        return values_of(
            runner.optimizer, lambda name, one: [self.get_momentum(runner, group) for group in one.param_groups]
        )

"""Learning rate updaters."""

from __future__ import annotations

from typing import Any

from mmhooks.checks import check_flag, check_number
from mmhooks.errors import ConfigError, HookError
from mmhooks.hook import when
from mmhooks.hooks.updater import arguments as check
from mmhooks.hooks.updater.base import Alias, UpdaterHook, Values, changed, moves_by_iteration, pairs
from mmhooks.hooks.updater.schedules import exponential, inverse, polynomial, step_decay
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


class LrUpdaterHook(UpdaterHook):
    """Base of the lr updaters; a policy of one's own overrides `get_lr`, or any other method.

    The base value is the param group's ``initial_lr``, which a resumed optimizer brings along.

    Args:
        by_epoch: the schedule counts epochs; otherwise iterations.
        warmup: ``constant`` (a fraction of the regular lr), ``linear`` or ``exp`` (rising from that fraction to the
            regular lr), or None.
        warmup_iters: how long the warmup lasts, in iterations.
        warmup_ratio: the fraction, in (0, 1].
        warmup_by_epoch: ``warmup_iters`` means epochs.

    Attributes:
        base_lr: the lr of every param group at the start: a list, or a list by name of the optimizer.
        regular_lr: the lr of every param group now, if there were no warmup.

    Raises:
        ConfigError: a warmup that cannot be.

    Example:
        >>> @HOOKS.register_module()
        ... class HalvingLrUpdaterHook(LrUpdaterHook):          # lr_config=dict(policy="halving")
        ...     def get_lr(self, runner, base_lr):
        ...         return base_lr * 0.5**runner.epoch
    """

    base_lr = Alias("_base")
    regular_lr = Alias("_regular")

    def __init__(
        self,
        by_epoch: bool = True,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = 0.1,
        warmup_by_epoch: bool = False,
    ) -> None:
        warmup_iters = check.check_integer(type(self).__name__, "warmup_iters", warmup_iters)
        super().__init__(by_epoch, warmup, warmup_iters, warmup_ratio)
        self.warmup_by_epoch = check_flag(type(self).__name__, "warmup_by_epoch", warmup_by_epoch)
        self.warmup_epochs: int | None = None
        if warmup_by_epoch:  # the length of an epoch is known when the first one begins
            self.warmup_epochs, self.warmup_iters = warmup_iters, None

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Compute the regular lr now from the initial one of a param group."""
        raise NotImplementedError(f"{type(self).__name__} must define get_lr(self, runner, base_lr)")

    def get_regular_lr(self, runner: BaseRunner) -> Values:
        """Compute the regular lr of every param group now."""
        base, now = self._base, []
        if isinstance(base, dict):
            return {name: [self.get_lr(runner, one) for one in own] for name, own in base.items()}
        for one in base:  # often one: without the frame of a comprehension
            now.append(self.get_lr(runner, one))
        return now

    def get_warmup_lr(self, cur_iters: int) -> Values:
        """Compute the lr of every param group in an iteration of the warmup."""
        factor = self._warmup_factor(cur_iters)
        return changed(self._regular, lambda lr: lr * factor)

    def _set_lr(self, runner: BaseRunner, lr_groups: Values) -> None:
        if lr_groups and type(lr_groups) is list:  # the usual case, which may come at every iteration
            for group, lr in zip(runner.optimizer.param_groups, lr_groups):  # noqa: B905  # strict=False costs time
                group["lr"] = lr
            return
        for group, lr in pairs(runner.optimizer, lr_groups):
            group["lr"] = lr

    def _read(self, group: dict[str, Any]) -> float:
        return group.setdefault("initial_lr", group["lr"])  # type: ignore[no-any-return]

    def _advance(self, runner: BaseRunner) -> None:
        self._regular = regular = self.get_regular_lr(runner)
        self._set_lr(runner, regular)

    def _apply(self, runner: BaseRunner, warming: bool) -> None:
        self._set_lr(runner, self.get_warmup_lr(runner.iter) if warming else self._regular)

    def _check_run(self, runner: BaseRunner) -> None:
        """Check that the run has what this hook counts.

        Raises:
            HookError: no optimizer, or no epochs for ``warmup_by_epoch``.
        """
        super()._check_run(runner)
        if self.warmup_iters is None and not runner.by_epoch:
            raise HookError(
                f"{type(self).__name__}(warmup_by_epoch=True) needs epochs, and this run has none: "
                "give warmup_iters in iterations"
            )

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Set the regular lr when it moves by epoch."""
        if self.warmup_iters is None:
            assert self.warmup_epochs is not None
            self.warmup_iters = self.warmup_epochs * len(runner.data_loader)
        super().before_train_epoch(runner)

    @when(moves_by_iteration)
    def before_train_iter(self, runner: BaseRunner) -> None:
        """Set the lr of the warmup, and the regular one when it moves by iteration."""
        if self.by_epoch:
            self._warm_up(runner)
            return
        self._regular = lr_groups = self.get_regular_lr(runner)
        if self.warmup is not None and runner.iter < self.warmup_iters:  # type: ignore[operator]
            lr_groups = self.get_warmup_lr(runner.iter)
        self._set_lr(runner, lr_groups)


@HOOKS.register_module()
class FixedLrUpdaterHook(LrUpdaterHook):
    """Keep the lr (after a warmup, if any). Its arguments are those of `LrUpdaterHook`."""

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Give the initial lr."""
        return base_lr


@HOOKS.register_module()
class StepLrUpdaterHook(LrUpdaterHook):
    """Multiply the lr by ``gamma`` again at each step.

    Args:
        step: every so many epochs (or iterations), or a list of those at which to step.
        gamma: the factor.
        min_lr: the lr never falls below it.
        **kwargs: by_epoch and the warmup; see `LrUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(self, step: int | list[int], gamma: float = 0.1, min_lr: float | None = None, **kwargs: Any) -> None:
        self.step = check.check_step(type(self).__name__, step)
        self.gamma = check_number(type(self).__name__, "gamma", gamma)
        self.min_lr = None if min_lr is None else check_number(type(self).__name__, "min_lr", min_lr)
        super().__init__(**kwargs)

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Compute the regular lr now."""
        return step_decay(base_lr, self._progress(runner), self.step, self.gamma, self.min_lr)


@HOOKS.register_module()
class ExpLrUpdaterHook(LrUpdaterHook):
    """Multiply the lr by ``gamma`` at each epoch (or iteration).

    Args:
        gamma: the factor.
        **kwargs: by_epoch and the warmup; see `LrUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(self, gamma: float, **kwargs: Any) -> None:
        self.gamma = check_number(type(self).__name__, "gamma", gamma)
        super().__init__(**kwargs)

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Compute the regular lr now."""
        return exponential(base_lr, self._progress(runner), self.gamma)


@HOOKS.register_module()
class PolyLrUpdaterHook(LrUpdaterHook):
    """Let the lr fall to ``min_lr`` as a power of what is left of the run.

    Args:
        power: the exponent; 1 is a line.
        min_lr: the lr at the end.
        **kwargs: by_epoch and the warmup; see `LrUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(self, power: float = 1.0, min_lr: float = 0.0, **kwargs: Any) -> None:
        self.power = check_number(type(self).__name__, "power", power)
        self.min_lr = check_number(type(self).__name__, "min_lr", min_lr)
        super().__init__(**kwargs)

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Compute the regular lr now."""
        return polynomial(base_lr, *self._span(runner), self.power, self.min_lr)


@HOOKS.register_module()
class InvLrUpdaterHook(LrUpdaterHook):
    """Divide the lr by ``(1 + gamma * progress) ** power``.

    Args:
        gamma: how fast; a negative one lets the lr rise, as far as the divisor stays positive to the end of the run.
        power: the exponent.
        **kwargs: by_epoch and the warmup; see `LrUpdaterHook`.

    Raises:
        ConfigError: an argument that cannot be.
    """

    def __init__(self, gamma: float, power: float = 1.0, **kwargs: Any) -> None:
        self.gamma = check_number(type(self).__name__, "gamma", gamma, above=-1)
        self.power = check_number(type(self).__name__, "power", power)
        super().__init__(**kwargs)

    def _check_run(self, runner: BaseRunner) -> None:
        """Check that the divisor stays positive.

        Raises:
            ConfigError: it does not.
        """
        super()._check_run(runner)
        unit, end = ("epochs", runner.max_epochs) if self.by_epoch else ("iterations", runner.max_iters)
        if end is not None and self.gamma < 0 and 1 + self.gamma * (end - 1) <= 0:
            raise ConfigError(
                f"{type(self).__name__}'s gamma={self.gamma} is too far below 0 for the {end} {unit} of this run: "
                f"1 + gamma * {end - 1} must be positive"
            )

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Compute the regular lr now."""
        return inverse(base_lr, self._progress(runner), self.gamma, self.power)

"""The lr and the momentum at every iteration, by the updaters themselves."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from typing import Any

from mmhooks.dispatch import find_method
from mmhooks.hooks.updater import LrUpdaterHook, MomentumUpdaterHook, UpdaterHook
from mmhooks.runner import BaseRunner
from mmhooks.walk.runners import Method
from mmhooks.walk.trace import Rates, Run, Span, spans


def walk_rates(runner: BaseRunner, run: Run, epoch_len: int) -> Rates:
    """Let the updaters of a runner set their values at every iteration of a run, and note them.

    Only the updaters are called: at before_run, before_train_epoch and before_train_iter, with the counters of the
    runner as they are there. Where a schedule by epoch has nothing more to do in an epoch, its iterations are passed
    over.

    Args:
        runner: at the beginning of a run, with its hooks and its optimizer.
        run: the length of the run.
        epoch_len: train iterations an epoch.

    Raises:
        ConfigError: a schedule that cannot be in this run.
        HookError: likewise.
    """
    updaters = [hook for hook in runner.hooks if isinstance(hook, UpdaterHook)]
    table = _Table(runner, moves_momentum=any(isinstance(hook, MomentumUpdaterHook) for hook in updaters))
    for call in _calls(updaters, "before_run"):
        call(runner)
    before_epoch = _calls(updaters, "before_train_epoch") if run.by_epoch else []
    before_iter = _calls(updaters, "before_train_iter")
    for span in spans(run, epoch_len):
        runner.epoch, runner.iter = span.epoch, span.first  # inner_iter is still that of the last iteration
        for call in before_epoch:
            call(runner)
        table.fill(before_iter, span, max((_idle_from(hook) for hook in updaters), default=0))
    return table.rates()


def _calls(updaters: Iterable[Any], point: str) -> list[Method]:
    return [method for hook in updaters if (method := find_method(hook, point)) is not None]


def _idle_from(hook: UpdaterHook) -> float:
    """Give the iteration from which an updater does nothing more before iterations; infinity where that is unknown."""
    if find_method(hook, "before_train_iter") is None:
        return 0
    cls = type(hook)
    ours = (LrUpdaterHook.before_train_iter, MomentumUpdaterHook.before_train_iter)
    if not hook.by_epoch or cls.before_train_iter not in ours or cls._warm_up is not UpdaterHook._warm_up:
        return math.inf
    return 0 if hook.warmup is None or hook.warmup_iters is None else hook.warmup_iters + 1


class _Table:
    """Notes the values of param groups, an iteration after another.

    Args:
        runner: whose optimizer has them.
        moves_momentum: whether anything moves the momentum.
    """

    def __init__(self, runner: BaseRunner, moves_momentum: bool) -> None:
        self._runner = runner
        optimizer = runner.optimizer
        several = optimizer if isinstance(optimizer, dict) else {"": optimizer} if optimizer is not None else {}
        self._groups: list[tuple[str, dict[str, Any]]] = []
        for name, one in several.items():
            for index, group in enumerate(one.param_groups):
                label = name if len(one.param_groups) == 1 else f"{name}[{index}]"
                self._groups.append((label, group))
        self._lr: list[array[float]] = [array("d") for _ in self._groups]
        self._momentum: list[array[float]] = [array("d") for _ in self._groups]
        self._moves_momentum = moves_momentum

    def fill(self, calls: list[Method], span: Span, idle: float) -> None:
        """Call hooks before each of some iterations, and note the values.

        Args:
            calls: the hooks' methods.
            span: the iterations.
            idle: the iteration from which the hooks do nothing more.
        """
        runner, first, inner, period = self._runner, span.first, span.inner, span.period
        stop = int(min(span.stop, max(first, idle)))
        if len(self._groups) == 1 and not self._moves_momentum:  # the usual case, at every iteration
            group, note = self._groups[0][1], self._lr[0].append
            for i in range(first, stop):
                runner.iter, runner.inner_iter = i, (inner + i) % period
                for call in calls:
                    call(runner)
                note(group["lr"])
        else:
            for i in range(first, stop):
                runner.iter, runner.inner_iter = i, (inner + i) % period
                for call in calls:
                    call(runner)
                self._repeat(1)
        if stop < span.stop:
            runner.inner_iter = (inner + span.stop - 1) % period
            self._repeat(span.stop - stop)

    def _repeat(self, count: int) -> None:
        """Note the values of now for so many iterations."""
        for (_, group), lr, momentum in zip(self._groups, self._lr, self._momentum, strict=True):
            lr.extend(array("d", [lr_of(group)]) * count)
            if self._moves_momentum:
                momentum.extend(array("d", [momentum_of(group)]) * count)

    def rates(self) -> Rates:
        """Give what was noted."""
        if not self._moves_momentum:
            constant = [array("d", [momentum_of(group)]) for _, group in self._groups]
            self._momentum = [one * len(lr) for one, lr in zip(constant, self._lr, strict=True)]
        return Rates([label for label, _ in self._groups], self._lr, self._momentum)


def lr_of(group: dict[str, Any]) -> float:
    """Read the lr of a param group."""
    return float(group["lr"])


def momentum_of(group: dict[str, Any]) -> float:
    """Read the momentum of a param group, or Adam's first beta, or 0."""
    return float(group["momentum"] if "momentum" in group else group.get("betas", (0,))[0])

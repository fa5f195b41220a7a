"""Acts: which hook does what at which point, how often, and which key asked for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmhooks.hook import GENERIC
from mmhooks.hooks import (
    CheckInvalidLossHook,
    CheckpointHook,
    EMAHook,
    EvalHook,
    GradientCumulativeOptimizerHook,
    LoggerHook,
    RetiredLoggerHook,
)
from mmhooks.hooks.updater import UpdaterHook
from mmhooks.plan import RunPlan
from mmhooks.priority import priority_name
from mmhooks.walk.evaluation import EvaluationStandIn
from mmhooks.walk.hooks import HookSet, StandIn
from mmhooks.walk.runners import points_of, walking_runner
from mmhooks.walk.trace import Run

#: In place of a point, for a hook whose class cannot be found.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Act:
    """A hook at a point.

    Attributes:
        point: one of the ten points; ``before_epoch`` and ``after_epoch`` around an iteration-based run; or
            ``"unknown"``, for a hook whose class cannot be found.
        hook: the class of the hook.
        priority: its priority, ``"VERY_HIGH"`` or a number as text.
        every: how often it does something there: ``"every iteration"``, ``"every 50 iterations"``, ``"each epoch"``.
        key: the key of the config that asks for it; empty: the code base does.
    """

    point: str
    hook: str
    priority: str
    every: str
    key: str = ""


def acts(plan: RunPlan) -> list[Act]:
    """List what hooks do in a run, point by point in calling order.

    Args:
        plan: the run.

    Raises:
        ConfigError: a hook refuses its arguments.

    Example:
        >>> [act.hook for act in acts(plan) if act.point == "after_train_epoch"]  # doctest: +SKIP
        ['CheckpointHook', 'EvalHook', 'TextLoggerHook']
    """
    run = Run(plan.by_epoch, plan.length, plan.workflow)
    runner = walking_runner(plan.by_epoch)
    hooks = HookSet.of(plan)
    hooks.register(runner)
    validates = any(mode == "val" for mode, _ in run.workflow)
    found: list[Act] = []
    for point in points_of(run):
        if not validates and "val" in point:
            continue
        for hook in runner.call_table.owners(point):
            every = _every(hook, point, run)
            if every:
                found.append(_act(point, hook, every, hooks))
    unknown = [hook for hook in runner.hooks if isinstance(hook, StandIn) and not hook.every]
    return found + [_act(UNKNOWN, hook, "?", hooks) for hook in unknown]


def _act(point: str, hook: Any, every: str, hooks: HookSet) -> Act:
    return Act(point, type(hook).__name__, priority_name(hook.priority), every, hooks.origins[id(hook)])


def _every(hook: Any, point: str, run: Run) -> str:
    """Say how often a hook does something at a point; empty: never."""
    if isinstance(hook, StandIn):
        return _of_stand_in(hook, point)
    if isinstance(hook, UpdaterHook) and not run.by_epoch and hook.by_epoch:
        return "" if point != "before_run" else "once, and then never: it counts epochs"
    for cls, say in _SAYING.items():
        if isinstance(hook, cls):
            said = say(hook, point)
            return _usual(point) if said is None else said
    return _usual(point)


def _usual(point: str) -> str:
    if point in ("before_run", "after_run", "before_epoch", "after_epoch"):
        return "once"  # the latter two are around an iteration-based run
    return "each epoch" if point.endswith("epoch") else "every iteration"


def count(number: float, unit: str) -> str:
    """Say ``every 50 iterations``, or ``every iteration``.

    Example:
        >>> count(50, "iteration"), count(1, "epoch")
        ('every 50 iterations', 'each epoch')
    """
    if number == 1:
        return f"{'each' if unit == 'epoch' else 'every'} {unit}"
    return f"every {number:g} {unit}s"


def _of_stand_in(hook: StandIn, point: str) -> str:
    text = hook.every.get(point, hook.every.get(GENERIC.get(point, ""), ""))
    try:
        text = text.format(**{"interval": 1, "num_last_epochs": 15, **hook.config})
    except (KeyError, ValueError):
        return _usual(point)
    return {"every 1 epochs": "each epoch", "every 1 iterations": "every iteration"}.get(text, text)


def _of_updater(hook: UpdaterHook, point: str) -> str | None:
    if point == "before_train_epoch":
        return None if hook.by_epoch else ""
    if point != "before_train_iter" or not hook.by_epoch:
        return None
    if getattr(hook, "warmup_epochs", None) is not None:
        return f"the first {hook.warmup_epochs} epochs ({hook.warmup} warmup)"  # type: ignore[attr-defined]
    return f"the first {hook.warmup_iters} iterations ({hook.warmup} warmup)"


def _of_checkpoint(hook: CheckpointHook, point: str) -> str | None:
    if point == ("after_train_iter" if hook.by_epoch else "after_train_epoch"):
        return ""
    if point not in ("after_train_iter", "after_train_epoch"):
        return None
    unit = "epoch" if hook.by_epoch else "iteration"
    if hook.interval <= 0:
        return "at the end" if hook.save_last else ""
    last = " and at the end" if hook.save_last and hook.interval > 1 else ""
    return count(hook.interval, unit) + last


def _of_evaluation(hook: EvalHook, point: str) -> str | None:
    unit = "epoch" if hook.by_epoch else "iteration"
    if point.startswith("before_train"):
        return None if hook.start is not None and hook.start <= 0 else ""
    if not point.startswith("after_train"):
        return None
    said = count(hook.interval, unit) + ("" if hook.start is None else f", from {unit} {hook.start} on")
    steps = hook.steps if isinstance(hook, EvaluationStandIn) else []
    return ", ".join([said, *(f"{count(interval, unit)} from {start} on" for start, interval in steps[1:])])


def _of_logger(hook: LoggerHook, point: str) -> str | None:
    return count(hook.interval, "iteration") if point == "after_train_iter" else None


def _of_retired(hook: RetiredLoggerHook, point: str) -> str | None:
    return f"once, to say that {hook.service} is gone"


def _of_group(hook: GradientCumulativeOptimizerHook, point: str) -> str | None:
    steps = hook.cumulative_iters
    return f"every iteration, a step every {steps}" if point == "after_train_iter" and steps > 1 else None


def _of_interval(hook: Any, point: str) -> str | None:
    return count(hook.interval, "iteration") if point == "after_train_iter" else None


_SAYING: dict[type, Callable[[Any, str], str | None]] = {
    UpdaterHook: _of_updater,
    CheckpointHook: _of_checkpoint,
    EvalHook: _of_evaluation,
    LoggerHook: _of_logger,
    RetiredLoggerHook: _of_retired,
    GradientCumulativeOptimizerHook: _of_group,
    EMAHook: _of_interval,
    CheckInvalidLossHook: _of_interval,
}

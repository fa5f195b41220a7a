"""Which files a run writes and deletes, and when it evaluates, by the hooks themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmhooks.dispatch import find_method
from mmhooks.hooks import CheckpointHook, OptimizerHook
from mmhooks.hooks.best import KeepsBest
from mmhooks.walk.runners import Method, Walking
from mmhooks.walk.trace import Files, Run, Span, spans


def walk_files(runner: Walking, run: Run, epoch_len: int) -> Files:
    """Let the hooks that save and evaluate do so over a whole run, on paper.

    Only hooks of the families of `CheckpointHook` and `EvalHook` are called, at every point at which they may act, with
    the counters of the runner as they are there.

    Args:
        runner: at the beginning of a run, with its hooks.
        run: the length of the run.
        epoch_len: train iterations an epoch.

    Raises:
        ConfigError: a hook that cannot be in this run.
    """
    hooks = [hook for hook in runner.hooks if isinstance(hook, (CheckpointHook, KeepsBest))]
    for hook in hooks:  # on the objects: nothing is there to be deleted
        if isinstance(hook, CheckpointHook):
            hook.remove_all = runner.forget_all  # type: ignore[method-assign]
        else:
            hook._remove_previous = _forgetting(runner, hook)  # type: ignore[assignment, method-assign]
    walk = _Walk(runner, hooks)
    walk.call("before_run")
    for span in spans(run, epoch_len):
        walk.train(span, run.by_epoch)
    runner.point = "after_run"
    return Files(runner.events, walk.steps)


def _forgetting(runner: Walking, hook: KeepsBest) -> Callable[[Any, str | None], None]:
    """Give what notes that the former best file is deleted, unless the new one has its name."""

    def forget(_: Any, previous: str | None) -> None:
        if previous != hook.best_ckpt_path:
            runner.forget(runner, previous)

    return forget


class _Walk:
    """Calls some hooks at the points of a run."""

    def __init__(self, runner: Walking, hooks: list[Any]) -> None:
        self._runner = runner
        self._hooks = hooks
        stepping = [hook for hook in runner.hooks if isinstance(hook, OptimizerHook)]
        self._stepping = stepping[0] if stepping else None
        self.steps = 0 if stepping else None
        self._found: dict[str, list[Method]] = {}

    def call(self, point: str) -> None:
        """Call the hooks at a point."""
        self._runner.point = point
        for method in self._calls(point):
            method(self._runner)

    def _calls(self, point: str) -> list[Method]:
        if point not in self._found:
            self._found[point] = [
                method
                for hook in self._hooks
                if not _is_idle(hook, point) and (method := find_method(hook, point)) is not None
            ]
        return self._found[point]

    def train(self, span: Span, by_epoch: bool) -> None:
        """Go through some train iterations; by epoch, through a whole one."""
        runner, inner, period = self._runner, span.inner, span.period
        runner.epoch, runner.iter = span.epoch, span.first
        if by_epoch:
            self.call("before_train_epoch")
        before, after = self._calls("before_train_iter"), self._calls("after_train_iter")
        runner.point = "train_iter"
        for i in range(span.first, span.stop) if before or after else ():
            runner.iter, runner.inner_iter = i, (inner + i) % period
            for call in before:
                call(runner)
            for call in after:
                call(runner)
        if self.steps is not None:
            self.steps += self._count_steps(span.first, span.stop)
        runner.iter, runner.inner_iter = span.stop, (inner + span.stop - 1) % period
        if by_epoch:
            self.call("after_train_epoch")

    def _count_steps(self, first: int, stop: int) -> int:
        hook, runner = self._stepping, self._runner
        if not getattr(hook, "_accumulates", False):
            return stop - first
        steps = 0
        for runner.iter in range(first, stop):
            steps += hook._ends_group(runner)  # type: ignore[union-attr]
        return steps


def _is_idle(hook: Any, point: str) -> bool:
    """Tell whether a CheckpointHook has nothing to do at a point that it is called at."""
    if not isinstance(hook, CheckpointHook) or getattr(type(hook), point, None) is not getattr(
        CheckpointHook, point, None
    ):
        return False
    return point == ("after_train_iter" if hook.by_epoch else "after_train_epoch")

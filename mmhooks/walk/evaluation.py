"""The evaluation of a walked run: it happens when it would, and evaluates nothing."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmhooks.hook import when
from mmhooks.hooks import EvalHook
from mmhooks.runner.base import BaseRunner
from mmhooks.walk.known import MMPOSE_GREATER, MMPOSE_LESS

#: What only an evaluation that really takes place reads.
_UNUSED = ("test_fn", "metrics", "predict", "broadcast_bn_buffer", "tmpdir", "gpu_collect", "efficient_test")


class NoData:
    """A loader that is never gone through."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0


class EvaluationStandIn(EvalHook):
    """Evaluates when an EvalHook of MMCV, or one of a code base, would. Every score is better than the one before.

    Args:
        dynamic_intervals: of mmdet: ``[(10, 2)]`` evaluates every 2 epochs from the tenth on.
        **arguments: those of `EvalHook`, without a loader.
    """

    def __init__(self, dynamic_intervals: Sequence[tuple[int, int]] | None = None, **arguments: Any) -> None:
        super().__init__(NoData(), **{key: value for key, value in arguments.items() if key not in _UNUSED})
        self.steps: list[tuple[int, int]] = []
        if dynamic_intervals is not None:
            self.steps = [(0, self.interval), *((int(start), int(interval)) for start, interval in dynamic_intervals)]
        self.evaluated = 0
        if self.key_indicator == "auto":
            self.key_indicator, self.rule = "*", self.rule or "greater"
            self.compare_func = self.rule_map[self.rule]

    @when(lambda hook: hook.by_epoch)
    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Settle the interval, and evaluate before training where that is asked."""
        self._decide_interval(runner)
        super().before_train_epoch(runner)

    @when(lambda hook: not hook.by_epoch)
    def before_train_iter(self, runner: BaseRunner) -> None:
        """Settle the interval, and evaluate before training where that is asked."""
        self._decide_interval(runner)
        super().before_train_iter(runner)

    @when(lambda hook: not hook.by_epoch)
    def after_train_iter(self, runner: BaseRunner) -> None:
        """Evaluate when an iteration is due; there is nothing to log before."""
        if not self.by_epoch and self._should_evaluate(runner):
            self._perform(runner)

    def _decide_interval(self, runner: BaseRunner) -> None:
        if self.steps:
            finished = (runner.epoch if self.by_epoch else runner.iter) + 1
            self.interval = self.steps[bisect([start for start, _ in self.steps], finished) - 1][1]

    def _do_evaluate(self, runner: BaseRunner) -> None:
        self.evaluated += 1
        note = getattr(runner, "note", None)
        if note is not None:
            note("evaluate", type(self).__name__)
        if self.save_best:
            self._save_ckpt(runner, self.evaluated if self.rule == "greater" else 1 / self.evaluated)


def evaluation_stand_in(config: Mapping[str, Any], place: str | None) -> EvaluationStandIn:
    """Make the stand-in for an evaluation.

    Args:
        config: its ``type`` and arguments.
        place: where its class is, ``"mmdet.core:EvalHook"``; the code base has defaults of its own. None: MMCV's.

    Raises:
        ConfigError: an argument that cannot be used.
    """
    arguments = dict(config)
    name = str(arguments.pop("type", "EvalHook")).rpartition(".")[2].rpartition(":")[2]
    package = "" if place is None else place.partition(".")[0]
    if package == "mmseg":
        arguments.setdefault("by_epoch", False)
    if package == "mmpose":
        _as_mmpose_reads(arguments)
    cls = type(name, (EvaluationStandIn,), {"__module__": __name__})
    made: EvaluationStandIn = cls(**arguments)
    return made


def _as_mmpose_reads(arguments: dict[str, Any]) -> None:
    indicator = arguments.pop("key_indicator", None)
    if indicator is not None or isinstance(arguments.get("save_best"), bool):
        arguments["save_best"] = indicator or "AP"
    arguments.setdefault("greater_keys", list(MMPOSE_GREATER))
    arguments.setdefault("less_keys", list(MMPOSE_LESS))

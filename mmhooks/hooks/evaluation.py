"""EvalHook: evaluate during training, and keep the best model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from mmhooks.checkpoint import plain
from mmhooks.distributed import device_of, to_device
from mmhooks.errors import ConfigError, HookError, nearest
from mmhooks.hook import Hook
from mmhooks.hooks.checkpoint import resolve_out_dir
from mmhooks.hooks.loggers.base import LoggerHook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner

Predict = Callable[[nn.Module, Any], tuple[Any, Any]]


class Metrics(Protocol):
    """What EvalHook asks of ``metrics``; a torchmetrics MetricCollection is one."""

    def update(self, preds: Any, target: Any) -> Any:
        """Take a batch in."""

    def compute(self) -> Mapping[str, Any]:
        """Give the values by name."""

    def reset(self) -> Any:
        """Forget all batches."""

    def to(self, device: Any) -> Any:
        """Move to a device."""


def single_gpu_test(model: nn.Module, data_loader: Any) -> list[Any]:
    """Collect the model's results over a loader: ``model(return_loss=False, **batch)``, one list a batch.

    The model is left in eval mode.
    """
    model.eval()
    device = device_of(model)
    results: list[Any] = []
    with torch.no_grad():
        for batch in data_loader:
            results.extend(model(return_loss=False, **to_device(batch, device)))
    return results


@torch.no_grad()
def measure(model: nn.Module, data_loader: Any, metrics: Metrics, predict: Predict) -> dict[str, float]:
    """Measure a model with torchmetrics.

    Args:
        model: left in eval mode.
        data_loader: what to measure on.
        metrics: a torchmetrics ``MetricCollection``, reset before and after.
        predict: ``predict(model, batch) -> (preds, target)``.

    Returns:
        Numbers by name.
    """
    model.eval()
    device = device_of(model)
    metrics.to(device)
    metrics.reset()
    for batch in data_loader:
        preds, target = predict(model, to_device(batch, device))
        metrics.update(preds, target)
    values = metrics.compute()
    metrics.reset()
    if not isinstance(values, Mapping):
        raise HookError("metrics must be a torchmetrics MetricCollection, as in MetricCollection({'acc': metric})")
    for name, value in values.items():
        if isinstance(value, torch.Tensor) and value.numel() != 1:
            raise HookError(f"the metric {name!r} gives {value.numel()} values, not one: average it over the classes")
    return {name: float(value) for name, value in values.items()}


@HOOKS.register_module()
class EvalHook(Hook):
    """Evaluate every few epochs or iterations, log the result, and save the best model.

    What to measure is said in one of two ways: ``metrics`` and ``predict`` (torchmetrics), or MMCV's way, in
    which ``dataloader.dataset.evaluate(results, logger=..., **eval_kwargs)`` gets what ``test_fn`` collected.

    As in MMCV, the model stays in eval mode afterwards; the next train epoch sets it back.

    Args:
        dataloader: what to evaluate on.
        start: the first epoch (or iteration) to evaluate after; also evaluates before training when the run
            begins at or after it. None: from the first one.
        interval: every so many epochs (or iterations), counted from ``start``.
        by_epoch: count epochs; otherwise iterations.
        save_best: the metric by which ``best_<metric>_<when>.pth`` is kept, or ``"auto"`` for the first one.
        rule: ``"greater"`` or ``"less"``: which value is better. None: inferred from the name.
        test_fn: ``test_fn(model, dataloader) -> results``; `single_gpu_test` by default.
        greater_keys: names (or parts of them) for which greater is better.
        less_keys: names (or parts of them) for which less is better.
        out_dir: a folder other than the work_dir for the best checkpoint.
        metrics: a torchmetrics ``MetricCollection``.
        predict: ``predict(model, batch) -> (preds, target)`` for ``metrics``.
        **eval_kwargs: reach ``dataset.evaluate``.

    Raises:
        ConfigError: an argument out of range, a rule that is none or that cannot be inferred.

    Example:
        >>> EvalHook(loader, save_best="accuracy",
        ...          metrics=MetricCollection({"accuracy": MulticlassAccuracy(10, average="micro")}),
        ...          predict=lambda model, batch: (model(batch["img"]), batch["label"]))
    """

    default_greater_keys: Sequence[str] = (
        "acc", "top", "AR@", "auc", "precision", "mAP", "mDice", "mIoU", "mAcc", "aAcc",
    )  # fmt: skip
    default_less_keys: Sequence[str] = ("loss",)

    def __init__(
        self,
        dataloader: Any,
        start: int | None = None,
        interval: int = 1,
        by_epoch: bool = True,
        save_best: str | None = None,
        rule: str | None = None,
        test_fn: Callable[[nn.Module, Any], Any] | None = None,
        greater_keys: str | Sequence[str] | None = None,
        less_keys: str | Sequence[str] | None = None,
        out_dir: str | None = None,
        metrics: Metrics | None = None,
        predict: Predict | None = None,
        **eval_kwargs: Any,
    ) -> None:
        if not hasattr(dataloader, "__iter__") or not hasattr(dataloader, "__len__"):
            raise TypeError(f"EvalHook's dataloader must be a sized loader, not {type(dataloader).__name__}")
        if interval <= 0:
            raise ConfigError(f"EvalHook's interval must be a positive number, not {interval}")
        if start is not None and start < 0:
            raise ConfigError(f"EvalHook's start must be 0 or later, not {start}")
        if (metrics is None) != (predict is None):
            raise ConfigError(
                "EvalHook takes metrics and predict together: metrics=MetricCollection(...), "
                "predict=lambda model, batch: (preds, target)"
            )
        if metrics is None and not hasattr(getattr(dataloader, "dataset", None), "evaluate"):
            raise ConfigError(
                "EvalHook does not know what to measure: give it metrics=MetricCollection(...) and "
                "predict=lambda model, batch: (preds, target), or the data set a method "
                "evaluate(results, logger=None, **kwargs) -> dict"
            )
        self.dataloader = dataloader
        self.start = start
        self.interval = interval
        self.by_epoch = by_epoch
        self.save_best = save_best
        self.rule = rule
        self.test_fn = test_fn or single_gpu_test
        self.greater_keys = _as_keys(greater_keys, self.default_greater_keys)
        self.less_keys = _as_keys(less_keys, self.default_less_keys)
        self.out_dir = out_dir
        self.metrics = metrics
        self.predict = predict
        self.eval_kwargs = eval_kwargs
        self.key_indicator = save_best
        self._initial = True
        if rule not in (None, "greater", "less"):
            raise ConfigError(
                f"rule must be 'greater', 'less' or None, not {rule!r}{nearest(rule, ('greater', 'less'))}"
            )
        if save_best is not None and save_best != "auto":
            self.rule = rule or self._infer_rule(save_best)

    def before_run(self, runner: BaseRunner) -> None:
        """Make room in ``runner.meta`` for the best score."""
        self._initial = True
        if self.save_best is None:
            return
        if runner.work_dir is None and self.out_dir is None:
            raise ConfigError("EvalHook(save_best=...) has nowhere to write: give the runner a work_dir")
        if runner.meta is None:
            runner.meta = {}
        runner.meta.setdefault("hook_msgs", {})

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Evaluate before training when the run begins at or after ``start``."""
        if self.by_epoch and self._initial:
            if self.start is not None and runner.epoch >= self.start:
                self.after_train_epoch(runner)
            self._initial = False

    def before_train_iter(self, runner: BaseRunner) -> None:
        """Evaluate before training when the run begins at or after ``start``."""
        if not self.by_epoch and self._initial:
            if self.start is not None and runner.iter >= self.start:
                self.after_train_iter(runner)
            self._initial = False

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Evaluate when an epoch is due."""
        if self.by_epoch and self._is_due(runner):
            self._evaluate(runner)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Evaluate when an iteration is due."""
        if self.by_epoch or not self._is_due(runner):
            return
        # what was collected from training is logged first, or its averages would mix with the evaluation's
        for hook in list(runner.hooks):
            if isinstance(hook, LoggerHook):
                hook.after_train_iter(runner)
        runner.log_buffer.clear()
        self._evaluate(runner)

    def evaluate(self, runner: BaseRunner) -> dict[str, Any]:
        """Measure the runner's model as it is now.

        Returns:
            Values by name.
        """
        return self.measure(runner.model, runner.logger)

    def measure(self, model: nn.Module, logger: logging.Logger) -> dict[str, Any]:
        """Measure a model outside of a run too.

        Args:
            model: left in eval mode.
            logger: reaches ``dataset.evaluate``.

        Returns:
            Values by name.
        """
        if self.metrics is not None:
            assert self.predict is not None
            return measure(model, self.dataloader, self.metrics, self.predict)
        results = self.test_fn(model, self.dataloader)
        return dict(self.dataloader.dataset.evaluate(results, logger=logger, **self.eval_kwargs))

    def _is_due(self, runner: BaseRunner) -> bool:
        finished = (runner.epoch if self.by_epoch else runner.iter) + 1
        if self.start is None:
            return finished % self.interval == 0
        return finished >= self.start and (finished - self.start) % self.interval == 0

    def _evaluate(self, runner: BaseRunner) -> None:
        values = self.evaluate(runner)
        runner.log_buffer.output["eval_iter_num"] = len(self.dataloader)
        runner.log_buffer.output.update(values)
        runner.log_buffer.ready = True
        if self.save_best is None:
            return
        if not values:
            runner.logger.warning("the evaluation gave no values, so no best checkpoint is kept this time")
            return
        score = self._score(values)
        if score:  # MMCV's truth test: a score of 0 is never the best
            self._keep_best(runner, score)

    def _score(self, values: Mapping[str, Any]) -> Any:
        if self.key_indicator == "auto":
            self.key_indicator = next(iter(values))
            self.rule = self.rule or self._infer_rule(self.key_indicator)
        assert self.key_indicator is not None
        try:
            return plain(values[self.key_indicator])
        except KeyError:
            raise HookError(
                f"EvalHook(save_best={self.key_indicator!r}), but the evaluation gave {', '.join(values)}"
                f"{nearest(self.key_indicator, values)}"
            ) from None

    def _keep_best(self, runner: BaseRunner, score: Any) -> None:
        assert runner.meta is not None
        messages = runner.meta["hook_msgs"]
        best = messages.get("best_score", -inf if self.rule == "greater" else inf)
        if not (score > best if self.rule == "greater" else score < best):
            return
        unit, number = ("epoch", runner.epoch + 1) if self.by_epoch else ("iter", runner.iter + 1)
        folder = resolve_out_dir(self.out_dir, runner.work_dir)
        name = f"best_{self.key_indicator}_{unit}_{number}.pth"
        before = dict(messages)
        messages["best_score"] = score
        messages["best_ckpt"] = str(folder / name)
        try:
            runner.save_checkpoint(str(folder), filename_tmpl=name, create_symlink=False)
        except BaseException:
            runner.meta["hook_msgs"] = before
            raise
        previous = before.get("best_ckpt")
        if previous and previous != messages["best_ckpt"] and runner.rank == 0:
            Path(previous).unlink(missing_ok=True)  # only now that the better one is on the disk
        runner.logger.info("Now best checkpoint is saved as %s.", name)
        runner.logger.info("Best %s is %0.4f at %d %s.", self.key_indicator, score, number, unit)

    def _infer_rule(self, key: str) -> str:
        folded = key.lower()
        greater = [part.lower() for part in self.greater_keys]
        less = [part.lower() for part in self.less_keys]
        if folded in greater:
            return "greater"
        if folded in less:
            return "less"
        if any(part in folded for part in greater):
            return "greater"
        if any(part in folded for part in less):
            return "less"
        raise ConfigError(
            f"EvalHook cannot tell whether a greater or a smaller {key!r} is better: "
            "say so with rule='greater' or rule='less'"
        )


def _as_keys(keys: str | Sequence[str] | None, default: Sequence[str]) -> Sequence[str]:
    if keys is None:
        return default
    return (keys,) if isinstance(keys, str) else keys

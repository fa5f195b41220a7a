"""EvalHook: evaluate during training, and keep the best model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.utils.data import RandomSampler

from mmhooks.checks import check_count, check_flag
from mmhooks.errors import ConfigError, HookError, nearest
from mmhooks.evaluation import Metrics, Predict, measure, single_gpu_test
from mmhooks.foreign import is_a
from mmhooks.hook import when
from mmhooks.hooks.best import KeepsBest
from mmhooks.hooks.loggers.base import LoggerHook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module(yields=True)
class EvalHook(KeepsBest):
    """Evaluate every few epochs or iterations, log the result, and save the best model.

    What to measure is said in one of two ways: ``metrics`` and ``predict`` (torchmetrics), or MMCV's way, in
    which ``dataloader.dataset.evaluate(results, logger=..., **eval_kwargs)`` gets what ``test_fn`` collected.

    In several processes every one of them goes through the whole loader; `DistEvalHook` shares the work.

    A subclass may override ``_do_evaluate(runner)``, which by default tests the model, hands what comes out to
    `evaluate` and its score to ``_save_ckpt(runner, score)``; and ``_should_evaluate(runner)``.

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
        out_dir: a folder (or URL) other than the work_dir for the best checkpoint; the work_dir's name is added.
        file_client_args: MMCV's arguments of the store of ``out_dir``.
        metrics: a torchmetrics ``MetricCollection``. Without ``predict``, names (or anything else that cannot
            ``compute``) are one of the ``eval_kwargs``.
        predict: ``predict(model, batch) -> (preds, target)`` for ``metrics``.
        zero_counts: a score of 0 may be the best one; in MMCV it never is.
        restore_mode: put every module back into the mode that it was in. As in MMCV, the model otherwise stays in
            eval mode until the runner next sets it back: at an epoch's start, iteration-based at every iteration.
        **eval_kwargs: reach ``dataset.evaluate``.

    Raises:
        ConfigError: an argument out of range, a rule that is none or that cannot be inferred.
        TypeError: the ``dataloader`` is no sized loader.

    Example:
        >>> EvalHook(loader, save_best="accuracy",
        ...          metrics=MetricCollection({"accuracy": MulticlassAccuracy(10, average="micro")}),
        ...          predict=lambda model, batch: (model(batch["img"]), batch["label"]))
    """

    _shares_work = False

    catches_up = True

    def __init__(
        self,
        dataloader: Any,
        start: int | None = None,
        interval: int = 1,
        by_epoch: bool = True,
        save_best: str | None = None,
        rule: str | None = None,
        test_fn: Callable[..., Any] | None = None,
        greater_keys: str | Sequence[str] | None = None,
        less_keys: str | Sequence[str] | None = None,
        out_dir: str | None = None,
        file_client_args: Mapping[str, Any] | None = None,
        *,
        metrics: Metrics | None = None,
        predict: Predict | None = None,
        zero_counts: bool = False,
        restore_mode: bool = False,
        **eval_kwargs: Any,
    ) -> None:
        if predict is None and metrics is not None and not hasattr(metrics, "compute"):
            eval_kwargs["metrics"], metrics = metrics, None
        super().__init__(save_best, rule, greater_keys, less_keys, out_dir, file_client_args, by_epoch)
        self.dataloader = dataloader
        self.start = start
        self.interval = interval
        self.test_fn: Callable[..., Any] = single_gpu_test if test_fn is None else test_fn
        self.metrics = metrics
        self.predict = predict
        self.zero_counts = zero_counts
        self.restore_mode = restore_mode
        self.eval_kwargs = eval_kwargs
        self.initial_flag = True
        self._check()

    def _check(self) -> None:
        name = type(self).__name__
        if not hasattr(self.dataloader, "__iter__") or not hasattr(self.dataloader, "__len__"):
            raise TypeError(f"{name}'s dataloader must be a sized loader, not {type(self.dataloader).__name__}")
        self.interval = check_count(name, "interval", self.interval, whole_floats=True)
        if self.start is not None:
            self.start = check_count(
                name, "start", self.start, minimum=0, special={None: "the first one"}, whole_floats=True
            )
        check_flag(name, "zero_counts", self.zero_counts)
        check_flag(name, "restore_mode", self.restore_mode)
        if not callable(self.test_fn):
            raise ConfigError(f"{name}'s test_fn must be a function of the model and the loader, not {self.test_fn!r}")
        if (self.metrics is None) != (self.predict is None):
            raise ConfigError(
                f"{name} takes metrics and predict together: metrics=MetricCollection(...), "
                "predict=lambda model, batch: (preds, target)"
            )
        if self.predict is not None and not callable(self.predict):
            raise ConfigError(f"{name}'s predict must be a function of the model and a batch, not {self.predict!r}")
        if self.metrics is not None and not hasattr(self.metrics, "compute"):
            raise ConfigError(f"{name}'s metrics must be a MetricCollection of torchmetrics, not {self.metrics!r}")
        ways = (type(self).evaluate, type(self)._do_evaluate)
        own_way = not all(way.__module__.startswith("mmhooks.hooks.") for way in ways)  # a subclass's of the user
        if not own_way and self.metrics is None and not hasattr(getattr(self.dataloader, "dataset", 0), "evaluate"):
            raise ConfigError(
                f"{name} does not know what to measure: give it metrics=MetricCollection(...) and "
                "predict=lambda model, batch: (preds, target), or the data set a method "
                "evaluate(results, logger=None, **kwargs) -> dict"
            )

    # when -------------------------------------------------------------------------------------------------

    def before_run(self, runner: BaseRunner) -> None:
        """Find the best file so far; warn of what would not work."""
        if self.by_epoch and not runner.by_epoch:
            runner.logger.warning("EvalHook(by_epoch=True) never evaluates in an iteration-based run: by_epoch=False")
        if runner.world_size > 1 and not self._shares_work:
            runner.logger.warning(
                "EvalHook goes through the whole loader in each of %d processes, whose scores may differ by their "
                "BatchNorm statistics: use DistEvalHook",
                runner.world_size,
            )
        if self.metrics is None and _shuffles(self.dataloader):
            runner.logger.warning(
                "EvalHook's loader shuffles, so dataset.evaluate gets its results in another order than the data "
                "set's: shuffle=False"
            )
        self._find_best(runner)

    @when(lambda hook: hook.by_epoch)
    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Evaluate before training when the run begins at or after ``start``."""
        if self.by_epoch and self.initial_flag:
            if self.start is not None and runner.epoch >= self.start:
                self.after_train_epoch(runner)
            self.initial_flag = False

    @when(lambda hook: not hook.by_epoch)
    def before_train_iter(self, runner: BaseRunner) -> None:
        """Evaluate before training when the run begins at or after ``start``."""
        if not self.by_epoch and self.initial_flag:
            if self.start is not None and runner.iter >= self.start:
                self.after_train_iter(runner)
            self.initial_flag = False

    @when(lambda hook: hook.by_epoch)
    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Evaluate when an epoch is due."""
        if self.by_epoch and self._should_evaluate(runner):
            self._perform(runner)

    @when(lambda hook: not hook.by_epoch)
    def after_train_iter(self, runner: BaseRunner) -> None:
        """Evaluate when an iteration is due."""
        if self.by_epoch or not self._should_evaluate(runner):
            return
        # what was collected from training is logged first, or its averages would mix with the evaluation's
        for hook in list(runner.hooks):
            if is_a(hook, LoggerHook):
                hook.after_train_iter(runner)
        runner.log_buffer.clear()
        self._perform(runner)

    def state_dict(self) -> dict[str, Any]:
        """Say whether the evaluation before training is behind us."""
        return {"begun": not self.initial_flag}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Evaluate before training only where the run that is resumed had not."""
        self.initial_flag = not state["begun"]

    def _should_evaluate(self, runner: BaseRunner) -> bool:
        finished = (runner.epoch if self.by_epoch else runner.iter) + 1
        if self.start is None:
            return finished % self.interval == 0
        return finished >= self.start and (finished - self.start) % self.interval == 0

    # what -------------------------------------------------------------------------------------------------

    def _perform(self, runner: BaseRunner) -> None:
        modes = [(module, module.training) for module in runner.model.modules()] if self.restore_mode else []
        try:
            self._do_evaluate(runner)
        finally:
            for module, training in modes:
                module.training = training

    def _do_evaluate(self, runner: BaseRunner) -> None:
        results = self._test(runner.model, runner.work_dir)
        if not self._has_results():
            return
        runner.log_buffer.output["eval_iter_num"] = len(self.dataloader)
        score = self.evaluate(runner, results)
        if self.save_best:
            score = self._agree(runner, score)  # before a rank with a score of 0 goes its own way
            if score or (self.zero_counts and score is not None):
                self._save_ckpt(runner, score)

    def evaluate(self, runner: BaseRunner, results: Any) -> Any:
        """Judge the results of a test, and log the values.

        Args:
            runner: whose log buffer takes the values.
            results: what ``test_fn`` collected; with ``metrics``, the values themselves.

        Returns:
            The score by which the best model is kept; None without ``save_best`` or without values.
        """
        values = self._values(results, runner.logger)
        runner.log_buffer.output.update(values)
        runner.log_buffer.ready = True
        if self.save_best is None:
            return None
        if not values:
            runner.logger.warning("the evaluation gave no values, so no best checkpoint is kept this time")
            return None
        if self.key_indicator == "auto":
            self._init_rule(self.rule, next(iter(values)))
        assert self.key_indicator is not None
        try:
            return values[self.key_indicator]
        except KeyError:
            raise HookError(
                f"{type(self).__name__}(save_best={self.key_indicator!r}), but the evaluation gave "
                f"{', '.join(values)}{nearest(self.key_indicator, values)}"
            ) from None

    def measure(self, model: nn.Module, logger: logging.Logger) -> dict[str, Any]:
        """Measure a model outside of a run.

        Args:
            model: left in eval mode.
            logger: reaches ``dataset.evaluate``.

        Returns:
            Values by name; none on a rank that gets no results.
        """
        results = self._test(model, None)
        return dict(self._values(results, logger)) if self._has_results() else {}

    def _test(self, model: nn.Module, work_dir: str | None) -> Any:
        if self.metrics is not None and self.predict is not None:
            return measure(model, self.dataloader, self.metrics, self.predict)
        return self.test_fn(model, self.dataloader)

    def _has_results(self) -> bool:
        """Tell whether this process is one that judges what a test gave."""
        return True

    def _values(self, results: Any, logger: logging.Logger) -> Mapping[str, Any]:
        if self.metrics is None:
            results = self.dataloader.dataset.evaluate(results, logger=logger, **self.eval_kwargs)
        if not isinstance(results, Mapping):
            source = (
                "dataset.evaluate" if self.metrics is None else "_do_evaluate (which metrics need as EvalHook has it)"
            )
            raise HookError(
                f"{type(self).__name__} needs values by name, a dict; {source} gave a {type(results).__name__}"
            )
        return results


def _shuffles(dataloader: Any) -> bool:
    sampler = getattr(dataloader, "sampler", None)
    return isinstance(sampler, RandomSampler) or getattr(sampler, "shuffle", False) is True

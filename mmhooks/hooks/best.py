"""KeepsBest: which score is better, and the file of the best one."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, ClassVar

import torch

from mmhooks.checkpoint import join, plain, remove, storage_options_of
from mmhooks.checkpoint.storage import located
from mmhooks.checks import check_flag, check_path
from mmhooks.errors import CheckpointError, ConfigError, nearest
from mmhooks.hook import Hook
from mmhooks.hooks.checkpoint import check_folder, resolve_out_dir
from mmhooks.runner.base import BaseRunner


class KeepsBest(Hook):
    """Base of a hook that keeps a checkpoint of the model with the best score.

    Args:
        save_best: the metric, ``"auto"`` for one that `_init_rule` gets later, or None to keep none.
        rule: which value is better, a key of ``rule_map``. None: inferred from the name.
        greater_keys: names (or parts of them) for which greater is better.
        less_keys: names (or parts of them) for which less is better.
        out_dir: a folder (or URL) other than the work_dir.
        file_client_args: MMCV's arguments of the store of ``out_dir``.
        by_epoch: files are numbered by epoch; otherwise by iteration.

    Attributes:
        best_ckpt_path: the best file so far.
        key_indicator: the metric.
        rule_map: how a rule compares a score with the best one. A subclass may have rules of its own.
        init_value_map: what the first score of a rule is compared with.

    Raises:
        ConfigError: a rule that is none or that cannot be inferred, or names that are none.
    """

    rule_map: ClassVar[dict[str, Callable[[Any, Any], bool]]] = {"greater": operator.gt, "less": operator.lt}
    init_value_map: ClassVar[dict[str, float]] = {"greater": -inf, "less": inf}
    _default_greater_keys: Sequence[str] = (
        "acc", "top", "AR@", "auc", "precision", "mAP", "mDice", "mIoU", "mAcc", "aAcc",
    )  # fmt: skip
    _default_less_keys: Sequence[str] = ("loss",)

    def __init__(
        self,
        save_best: str | None,
        rule: str | None,
        greater_keys: str | Sequence[str] | None,
        less_keys: str | Sequence[str] | None,
        out_dir: str | None,
        file_client_args: Mapping[str, Any] | None,
        by_epoch: bool,
    ) -> None:
        name = type(self).__name__
        if save_best is not None and not isinstance(save_best, str):
            raise ConfigError(f"{name}'s save_best must be a metric's name, 'auto' or None, not {save_best!r}")
        check_flag(name, "by_epoch", by_epoch)
        out_dir = check_path(name, "out_dir", out_dir, optional=True)
        self._storage_options = storage_options_of(file_client_args)
        if out_dir:
            located(out_dir, file_client_args)  # wrong now rather than when the run begins
        self.save_best = save_best
        self.greater_keys = _as_keys("greater_keys", greater_keys, self._default_greater_keys)
        self.less_keys = _as_keys("less_keys", less_keys, self._default_less_keys)
        self.out_dir = out_dir
        self.file_client_args = file_client_args
        self.by_epoch = by_epoch
        self.best_ckpt_path: str | None = None
        self._wanted_dir = out_dir
        self._init_rule(rule, save_best)

    def _init_rule(self, rule: str | None, key_indicator: str | None) -> None:
        """Settle by which metric, and how, scores are compared."""
        if rule is not None and rule not in list(self.rule_map):
            raise ConfigError(
                f"rule must be {', '.join(map(repr, self.rule_map))} or None, not {rule!r}"
                f"{nearest(str(rule), self.rule_map)}"
            )
        if rule is None and key_indicator is not None and key_indicator != "auto":
            rule = infer_rule(key_indicator, self.greater_keys, self.less_keys)
        self.rule = rule
        self.key_indicator = key_indicator
        if rule is not None:
            self.compare_func = self.rule_map[rule]

    def _find_best(self, runner: BaseRunner) -> None:
        """Find the folder and, in ``runner.meta``, the best file so far."""
        if runner.work_dir is not None or self._wanted_dir:
            self.out_dir = resolve_out_dir(self._wanted_dir, runner.work_dir, self.file_client_args)
        if self.save_best is None:
            return
        if self.out_dir is None:
            raise ConfigError(f"{type(self).__name__}(save_best=...) has nowhere to write: give the runner a work_dir")
        check_folder(runner, self, self.out_dir, self._wanted_dir, self._storage_options)
        if self.out_dir != runner.work_dir:
            runner.logger.info("The best checkpoint will be saved to %s", self.out_dir)
        if runner.meta is None:
            runner.meta = {}
        self.best_ckpt_path = runner.meta.setdefault("hook_msgs", {}).get("best_ckpt")

    def _agree(self, runner: BaseRunner, key_score: Any) -> Any:
        """Give the score as a number; where saving takes all ranks, rank 0's, by its metric and its rule."""
        score, rule, key = runner.agree((as_number(key_score), self.rule, self.key_indicator))
        if score is not None and (rule, key) != (self.rule, self.key_indicator):
            self._init_rule(rule, key)
        return score

    def _save_ckpt(self, runner: BaseRunner, key_score: Any) -> None:
        """Save the model if its score is better than the best one so far."""
        self._keep(runner, self._agree(runner, key_score))

    def _keep(self, runner: BaseRunner, score: Any) -> None:
        if score is None:
            return
        assert runner.meta is not None
        assert self.out_dir is not None
        assert self.rule is not None
        messages = runner.meta["hook_msgs"]
        if not self.compare_func(score, messages.get("best_score", self.init_value_map[self.rule])):
            return
        unit, number = ("epoch", runner.epoch + 1) if self.by_epoch else ("iter", runner.iter + 1)
        name = f"best_{self.key_indicator}_{unit}_{number}.pth"
        before, previous = dict(messages), self.best_ckpt_path
        self.best_ckpt_path = join(self.out_dir, name)
        messages.update(best_score=score, best_ckpt=self.best_ckpt_path)  # the file itself says that it is the best
        written = False
        try:
            store: dict[str, Any] = {"storage_options": self._storage_options} if self._storage_options else {}
            runner.save_checkpoint(self.out_dir, filename_tmpl=name, create_symlink=False, **store)
            written = runner.writes_files
        finally:
            if not written:
                self.best_ckpt_path, runner.meta["hook_msgs"] = previous, before
        if not written or runner.rank != 0:
            return
        self._remove_previous(runner, previous)
        runner.logger.info("Now best checkpoint is saved as %s.", name)
        runner.logger.info("Best %s is %0.4f at %d %s.", self.key_indicator, score, number, unit)

    def _remove_previous(self, runner: BaseRunner, previous: str | None) -> None:
        """Delete the file that is no longer the best, now that the better one is written.

        Nothing else than such a file is deleted, whatever the meta of a resumed file says.
        """
        if not previous:
            return
        key = re.escape(str(self.key_indicator))  # such as bbox/AP, which makes a folder
        if not re.search(rf"(^|[/\\])best_({key}|[^/\\]+)_(epoch|iter)_\d+\.pth$", previous):
            runner.logger.warning("hook_msgs['best_ckpt'] is not a file of this hook, so it stays: %s", previous)
            return
        try:
            if previous != self.best_ckpt_path:
                remove(previous, self._storage_options)
        except (CheckpointError, OSError) as error:  # a file too many is no reason to end a run
            runner.logger.warning("the previous best checkpoint stays: %s", error)
            return
        runner.logger.info("The previous best checkpoint %s was removed", previous)


def as_number(score: Any) -> Any:
    """Give a score as the plain Python number that ``runner.meta`` keeps; None stays None."""
    return plain(score.item() if isinstance(score, torch.Tensor) else score)


def infer_rule(key: str, greater_keys: Sequence[str], less_keys: Sequence[str]) -> str:
    """Tell by its name whether a greater or a smaller value of a metric is better.

    A name that is one of the keys comes before one that contains a key, and greater before less. Upper and lower
    case are the same.

    Raises:
        ConfigError: the name is no key and contains none.
    """
    folded = key.lower()
    greater, less = ([part.lower() for part in keys] for keys in (greater_keys, less_keys))
    if folded in greater:
        return "greater"
    if folded in less:
        return "less"
    if any(part in folded for part in greater):
        return "greater"
    if any(part in folded for part in less):
        return "less"
    raise ConfigError(
        f"save_best: cannot tell whether a greater or a smaller {key!r} is better: "
        "say so with rule='greater' or rule='less'"
    )


def _as_keys(argument: str, keys: Any, default: Sequence[str]) -> Sequence[str]:
    if keys is None:
        return default
    if isinstance(keys, str):
        return (keys,)
    if isinstance(keys, (list, tuple)) and all(isinstance(key, str) for key in keys):
        return keys
    raise ConfigError(f"{argument} must be a name, a list of names or None, not {keys!r}")

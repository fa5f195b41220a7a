"""DistEvalHook: evaluate in several processes at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from mmhooks.checks import check_flag, check_path
from mmhooks.distributed.collect import broadcast_object
from mmhooks.distributed.ranks import get_dist_info
from mmhooks.errors import HookError
from mmhooks.evaluation import broadcast_bn_stats, multi_gpu_test
from mmhooks.hooks.best import as_number
from mmhooks.hooks.evaluation import EvalHook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module(yields=True)
class DistEvalHook(EvalHook):
    """Evaluate in several processes, each of which tests its share of the samples.

    Rank 0 gets all results and judges them. With ``metrics`` every rank judges, and torchmetrics brings the ranks'
    batches together; a ``DistributedSampler`` then counts a few samples twice (see `mmhooks.evaluation.measure`),
    while results are cut to the size of the data set. Every rank learns the score and takes the same decision about
    the best checkpoint; rank 0 writes it.

    Args:
        dataloader: what to evaluate on; its sampler is a ``DistributedSampler(dataset, shuffle=False)`` or one that
            deals out as that does.
        start: see `EvalHook`.
        interval: see `EvalHook`.
        by_epoch: see `EvalHook`.
        save_best: see `EvalHook`.
        rule: see `EvalHook`.
        test_fn: ``test_fn(model, dataloader, tmpdir=..., gpu_collect=...) -> results``, called on every rank;
            `multi_gpu_test` by default. Without a ``tmpdir``, one of your own gets ``<work_dir>/.eval_hook``.
        greater_keys: see `EvalHook`.
        less_keys: see `EvalHook`.
        broadcast_bn_buffer: give the running statistics of BatchNorm the values of rank 0 before a test; the
            ranks' own ones differ, since each has seen its own share of the training data.
        tmpdir: a folder that all processes see, through which results travel. None: through main memory.
        gpu_collect: results travel through the run's own process group instead, so with NCCL from GPU to GPU.
        out_dir: see `EvalHook`.
        file_client_args: see `EvalHook`.
        **eval_kwargs: ``metrics``, ``predict``, ``zero_counts`` and ``restore_mode``, see `EvalHook`; others reach
            ``dataset.evaluate``.

    Raises:
        ConfigError: an argument out of range, a rule that is none or that cannot be inferred.
        TypeError: the ``dataloader`` is no sized loader.

    Example:
        >>> sampler = DistributedSampler(dataset, shuffle=False)
        >>> DistEvalHook(DataLoader(dataset, batch_size=8, sampler=sampler), interval=2, save_best="bbox_mAP")
    """

    _shares_work = True

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
        broadcast_bn_buffer: bool = True,
        tmpdir: str | os.PathLike[str] | None = None,
        gpu_collect: bool = False,
        out_dir: str | None = None,
        file_client_args: Mapping[str, Any] | None = None,
        **eval_kwargs: Any,
    ) -> None:
        super().__init__(
            dataloader,
            start=start,
            interval=interval,
            by_epoch=by_epoch,
            save_best=save_best,
            rule=rule,
            test_fn=multi_gpu_test if test_fn is None else test_fn,
            greater_keys=greater_keys,
            less_keys=less_keys,
            out_dir=out_dir,
            file_client_args=file_client_args,
            **eval_kwargs,
        )
        name = type(self).__name__
        check_path(name, "tmpdir", tmpdir, optional=True)
        self.broadcast_bn_buffer = check_flag(name, "broadcast_bn_buffer", broadcast_bn_buffer)
        self.tmpdir = tmpdir
        self.gpu_collect = check_flag(name, "gpu_collect", gpu_collect)
        self._performing = False
        self._tested = False
        self._found: tuple[Any, str | None, str | None] | None = None

    def _perform(self, runner: BaseRunner) -> None:
        self._performing, self._tested, self._found = True, False, None
        try:
            super()._perform(runner)
        except Exception as error:
            if self._tested:  # the others are not in the test any more: they wait to hear what was found
                broadcast_object((f"{type(error).__name__}: {error}", None))
            raise
        finally:
            self._performing = False
        if get_dist_info()[1] == 1:
            return
        # saving may take all ranks, and only some of them have judged (a subclass's own _do_evaluate: rank 0)
        failure, found = broadcast_object(("", self._found))
        if failure:
            raise HookError(f"the evaluation failed on rank 0, so rank {get_dist_info()[0]} ends too: {failure}")
        if found is not None:
            score, key, rule = found
            self._init_rule(rule, key)
            runner.gather_ranks()
            self._keep(runner, score)

    def _do_evaluate(self, runner: BaseRunner) -> None:
        if self.broadcast_bn_buffer:
            broadcast_bn_stats(runner.model)
        super()._do_evaluate(runner)

    def evaluate(self, runner: BaseRunner, results: Any) -> Any:
        """See `EvalHook.evaluate`; on rank 0, with ``metrics`` on every rank."""
        self._tested = True  # by a subclass's own _do_evaluate, perhaps
        return super().evaluate(runner, results)

    def _test(self, model: nn.Module, work_dir: str | None) -> Any:
        if self.metrics is not None:
            results = super()._test(model, work_dir)
        else:
            tmpdir = self.tmpdir
            if tmpdir is None and work_dir is not None and self.test_fn is not multi_gpu_test:
                tmpdir = str(Path(work_dir) / ".eval_hook")
            results = self.test_fn(model, self.dataloader, tmpdir=tmpdir, gpu_collect=self.gpu_collect)
        self._tested = True
        return results

    def _agree(self, runner: BaseRunner, key_score: Any) -> Any:
        return as_number(key_score) if self._performing else super()._agree(runner, key_score)  # _perform sees to it

    def _has_results(self) -> bool:
        return self.metrics is not None or get_dist_info()[0] == 0

    def _save_ckpt(self, runner: BaseRunner, key_score: Any) -> None:
        if self._performing and get_dist_info()[1] > 1:
            self._found = (as_number(key_score), self.key_indicator, self.rule)
        else:
            super()._save_ckpt(runner, key_score)

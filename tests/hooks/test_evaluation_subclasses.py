"""Subclasses of EvalHook and DistEvalHook as MMCV's code bases write them."""

import bisect
import operator
import os
from typing import ClassVar

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, Dataset
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from mmhooks import CheckpointError, DistEvalHook, EvalHook, HookError, IterBasedRunner, multi_gpu_test, single_gpu_test


class Scored(Dataset):
    def __init__(self, scores):
        self.scores, self.asked = list(scores), 0

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return {"x": torch.ones(3) * index}

    def evaluate(self, results, logger=None):
        assert len(results) == 3
        self.asked += 1
        return {"bbox_mAP": self.scores[self.asked - 1]}


class DetectionEvalHook(EvalHook):
    """The interval changes at milestones, and the results stay for other hooks."""

    def __init__(self, *args, dynamic_intervals=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.latest_results = None
        self.stages = [(0, self.interval), *(dynamic_intervals or [])]

    def decide(self, runner):
        progress = runner.epoch if self.by_epoch else runner.iter
        stage = bisect.bisect([milestone for milestone, _ in self.stages], progress + 1)
        self.interval = self.stages[stage - 1][1]

    def before_train_epoch(self, runner):
        self.decide(runner)
        super().before_train_epoch(runner)

    def before_train_iter(self, runner):
        self.decide(runner)
        super().before_train_iter(runner)

    def _do_evaluate(self, runner):
        if not self._should_evaluate(runner):
            return
        results = single_gpu_test(runner.model, self.dataloader)
        self.latest_results = results
        runner.log_buffer.output["eval_iter_num"] = len(self.dataloader)
        key_score = self.evaluate(runner, results)
        if self.save_best and key_score:
            self._save_ckpt(runner, key_score)


class DistDetectionEvalHook(DistEvalHook):
    def _do_evaluate(self, runner):
        if self.broadcast_bn_buffer:
            for module in runner.model.modules():
                assert not isinstance(module, _BatchNorm)
        if not self._should_evaluate(runner):
            return
        tmpdir = self.tmpdir
        if tmpdir is None:
            tmpdir = os.path.join(runner.work_dir, ".eval_hook")  # noqa: PTH118
        results = multi_gpu_test(runner.model, self.dataloader, tmpdir=tmpdir, gpu_collect=self.gpu_collect)
        if runner.rank == 0:
            runner.log_buffer.output["eval_iter_num"] = len(self.dataloader)
            key_score = self.evaluate(runner, results)
            if self.save_best and key_score:
                self._save_ckpt(runner, key_score)


class SegmentationEvalHook(EvalHook):
    """Saves whatever the score: by iteration, and without asking whether there is a score."""

    def __init__(self, *args, by_epoch=False, pre_eval=False, **kwargs):
        super().__init__(*args, by_epoch=by_epoch, **kwargs)
        self.pre_eval = pre_eval

    def _do_evaluate(self, runner):
        if not self._should_evaluate(runner):
            return
        results = single_gpu_test(runner.model, self.dataloader)
        runner.log_buffer.clear()
        runner.log_buffer.output["eval_iter_num"] = len(self.dataloader)
        key_score = self.evaluate(runner, results)
        if self.save_best:
            self._save_ckpt(runner, key_score)


class KeypointEvalHook(EvalHook):
    """Keys and a rule of its own."""

    _default_greater_keys = ("PCK", "AUC")
    _default_less_keys = ("EPE",)
    rule_map: ClassVar = {
        "greater": operator.gt,
        "less": operator.lt,
        "nearest to 1": lambda new, old: abs(new - 1) < abs(old - 1),
    }
    init_value_map: ClassVar = {"greater": float("-inf"), "less": float("inf"), "nearest to 1": float("inf")}


def data(*scores):
    return DataLoader(Scored(scores), batch_size=2)


def train(runner, hook, batches):
    runner.register_hook(hook, "LOW")
    runner.run([batches], [("train", 1)])
    return runner


@pytest.fixture
def saved(tmp_path):
    return lambda: sorted(path.name for path in (tmp_path / "work").iterdir())


@pytest.mark.parametrize("kind", [DetectionEvalHook, DistDetectionEvalHook])
def test_a_hook_of_its_own_evaluation_keeps_the_best(make_runner, batches, saved, kind):
    hook = kind(data(0.1, 0.3, 0.2), save_best="bbox_mAP")
    runner = train(make_runner(max_epochs=3), hook, batches)
    assert saved() == ["best_bbox_mAP_epoch_2.pth"]
    assert runner.meta["hook_msgs"] == {"best_score": 0.3, "best_ckpt": hook.best_ckpt_path}
    assert runner.log_buffer.output == {"eval_iter_num": 2, "bbox_mAP": 0.2}


@pytest.mark.parametrize("by_epoch", [True, False])
def test_dynamic_intervals(make_runner, batches, by_epoch):
    """Every third one, and from the seventh on each."""
    loader, asked = data(*range(9)), []
    hook = DetectionEvalHook(loader, interval=3, by_epoch=by_epoch, dynamic_intervals=[(7, 1)])
    inner = hook.evaluate
    hook.evaluate = lambda runner, results: (
        asked.append(runner.epoch + 1 if by_epoch else runner.iter + 1) or inner(runner, results)
    )
    train(make_runner(max_epochs=9) if by_epoch else make_runner(IterBasedRunner, max_iters=9), hook, batches)
    assert asked == [3, 6, 7, 8, 9]
    assert len(hook.latest_results) == 3


def test_a_hook_that_saves_whatever_the_score(make_runner, batches, saved):
    hook = SegmentationEvalHook(data(0.0, None, -1.0, 0.5), interval=2, save_best="bbox_mAP", pre_eval=True)
    runner = train(make_runner(IterBasedRunner, max_iters=8), hook, batches)
    assert saved() == ["best_bbox_mAP_iter_8.pth"]
    assert hook.eval_kwargs == {}
    assert runner.meta["hook_msgs"]["best_score"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "rule", "best"),
    [
        ({"save_best": "bbox_mAP", "rule": "nearest to 1"}, "nearest to 1", 2),
        ({"save_best": "bbox_mAP", "rule": "less"}, "less", 1),
    ],
)
def test_an_own_rule(make_runner, batches, saved, arguments, rule, best):
    hook = KeypointEvalHook(data(0.5, 1.1, 1.4), **arguments)
    train(make_runner(max_epochs=3), hook, batches)
    assert hook.rule == rule
    assert saved() == [f"best_bbox_mAP_epoch_{best}.pth"]


def test_own_default_keys():
    assert KeypointEvalHook(data(), save_best="PCK@0.2").rule == "greater"
    assert KeypointEvalHook(data(), save_best="EPE").rule == "less"


def test_an_own_way_to_judge_needs_nothing_of_the_data_set(make_runner, batches):
    class CountingHook(EvalHook):
        def evaluate(self, runner, results):
            runner.log_buffer.output["count"] = len(results)
            runner.log_buffer.ready = True

    runner = train(make_runner(max_epochs=1), CountingHook(batches, test_fn=lambda model, loader: [1, 2, 3]), batches)
    assert runner.log_buffer.output == {"eval_iter_num": 4, "count": 3}


def test_metrics_need_the_evaluation_of_eval_hook(make_runner, batches):
    metrics = MetricCollection({"acc": MulticlassAccuracy(2)})
    hook = DetectionEvalHook(data(), metrics=metrics, predict=lambda model, batch: (model(batch["x"]), batch["y"]))
    with pytest.raises(HookError, match="which metrics need as EvalHook has it"):
        train(make_runner(max_epochs=1), hook, batches)


def test_a_file_that_cannot_be_written_leaves_the_best_as_it_was(make_runner, batches, tmp_path):
    class Failing(EvalHook):
        def before_run(self, runner):
            super().before_run(runner)
            (tmp_path / "file").touch()
            self.out_dir = str(tmp_path / "file" / "folder")

    hook = Failing(data(0.5), save_best="bbox_mAP")
    runner = make_runner(max_epochs=1)
    with pytest.raises(CheckpointError, match="file"):
        train(runner, hook, batches)
    assert runner.meta["hook_msgs"] == {}
    assert hook.best_ckpt_path is None

"""A walk does, without a model, what a run with one does: the same numbers, calls, files and evaluations."""

import logging
import sys
from array import array
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmhooks import ConfigError, EpochBasedRunner, EvalHook, Hook, IterBasedRunner
from mmhooks.dispatch import find_method
from mmhooks.hook import POINTS
from mmhooks.optim import build_optimizer
from mmhooks.plan import plan_run
from mmhooks.walk import Run, acts, default_lengths, walk
from mmhooks.walk.trace import shortened

sys.path.insert(0, str(Path(__file__).parents[1]))
from walked_runs import drawn, plan_of

QUIET = logging.getLogger("quiet.walk")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 1)

    def forward(self, x):
        return self.net(x)

    def train_step(self, data, optimizer=None, **kwargs):
        loss = self.net(data).square().mean()
        return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": len(data)}

    val_step = train_step


class Data(Dataset):
    """Whose model is better each time that it is evaluated."""

    def __init__(self, length):
        self.length, self.evaluated = length, 0

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return torch.full((2,), index / 10)

    def evaluate(self, results, logger=None, **kwargs):
        self.evaluated += 1
        return {"acc": self.evaluated, "loss": 1 / self.evaluated}


class Probe(Hook):
    """Notes the values that the optimizer steps with."""

    def __init__(self):
        self.lr, self.momentum = [], []

    def before_train_iter(self, runner):
        self.lr.append(runner.current_lr())
        self.momentum.append(runner.current_momentum())


class Calls:
    """Notes which hook is called where, and what the counters are; not what a hook calls in another one."""

    def __init__(self, runner):
        self.seen, self.evaluations, self.depth = [], [], 0
        points = POINTS if runner.by_epoch else (*POINTS, "before_epoch", "after_epoch")
        for hook in list(runner.hooks):
            for point in points:
                method = find_method(hook, point)
                if method is not None and (point in POINTS or point in dir(hook)):
                    setattr(hook, point, self.noting(point, hook, method))

    def noting(self, point, hook, method):
        def noted(runner):
            if self.depth == 0:
                self.seen.append((point, runner.epoch, runner.iter, runner.inner_iter, type(hook).__name__))
            self.depth += 1
            method(runner)
            self.depth -= 1

        return noted


def really(plan, epoch_len, folder):
    """Train a model as the plan says, and note all that a walk tells."""
    model = Net()
    kind = EpochBasedRunner if plan.by_epoch else IterBasedRunner
    runner = kind(model, optimizer=build_optimizer(model, plan.optimizer), work_dir=folder, logger=QUIET,
                  max_epochs=plan.max_epochs, max_iters=plan.max_iters)  # fmt: skip
    runner.register_training_hooks(**plan.training_hooks)
    evaluations = []
    for hook in plan.hooks:
        config = hook.config
        if hook.key == "evaluation":
            arguments = {key: value for key, value in config.items() if key != "type"}
            config = EvalHook(DataLoader(Data(3), 2), test_fn=lambda model, loader: [], **arguments)
            do = config._do_evaluate

            def noted(runner, do=do):
                evaluations.append((runner.epoch, runner.iter))
                do(runner)

            config._do_evaluate = noted
        runner.register_hook(config, hook.priority)
    calls, probe = Calls(runner), Probe()
    runner.register_hook(probe, "LOWEST")
    loaders = [DataLoader(Data(epoch_len * 2 if mode == "train" else 4), 2) for mode, _ in plan.workflow]
    runner.run(loaders, plan.workflow)
    kept = sorted(path.name for path in Path(folder).glob("*.pth") if not path.is_symlink())
    return probe, calls.seen, kept, evaluations


def assert_walks_as_it_runs(plan, epoch_len):
    with TemporaryDirectory() as folder:
        probe, seen, kept, evaluations = really(plan, epoch_len, folder)
    trace = walk(plan, epoch_len, whole=True)
    assert trace.unwalked == []
    assert trace.rates.lr == [array("d", column) for column in zip(*probe.lr, strict=True)]
    assert trace.rates.momentum == [array("d", column) for column in zip(*probe.momentum, strict=True)]
    walked = [
        (call.point, call.epoch, call.iter, call.inner_iter, name)
        for call in trace.points.calls
        for name in trace.points.order[call.point]
    ]
    assert walked == seen
    assert sorted(trace.files.kept) == kept
    assert trace.files.evaluations == evaluations
    return trace


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn())
def test_a_walk_is_the_run_without_its_model(case):
    plan, epoch_len = case
    try:
        walk(plan, epoch_len)
    except ConfigError:  # cycles that are longer than the run, and such
        with TemporaryDirectory() as folder, pytest.raises(ConfigError):
            really(plan, epoch_len, folder)
        return
    assert_walks_as_it_runs(plan, epoch_len)


@pytest.mark.parametrize("by_epoch", [True, False])
def test_custom_hooks_keep_their_places(by_epoch):
    hooks = [{"type": "EMAHook", "priority": "ABOVE_NORMAL"}, {"type": "CheckInvalidLossHook", "interval": 3},
             {"type": "EmptyCacheHook", "priority": 5}]  # fmt: skip
    trace = assert_walks_as_it_runs(plan_of(by_epoch, 3, custom_hooks=hooks), 4)
    names = [("OptimizerHook", 40), ("EMAHook", 40), ("CheckpointHook", 50), ("CheckInvalidLossHook", 50)]
    found = zip(trace.points.order["after_train_iter"], trace.points.priorities["after_train_iter"], strict=True)
    assert list(found)[:4] == names


def test_a_warmup_by_epoch_takes_the_length_of_an_epoch():
    lr = {"policy": "step", "step": [2], "warmup": "linear", "warmup_iters": 2, "warmup_by_epoch": True}
    trace = assert_walks_as_it_runs(plan_of(True, 4, lr_config=lr), 5)
    assert len(set(trace.rates.lr[0])) == 11  # ten of the warmup, whose end is the regular lr, and the step


@pytest.mark.parametrize("by_epoch", [True, False])
def test_steps_are_those_of_the_hook(by_epoch):
    group = {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 4}
    length = 3 if by_epoch else 15
    assert walk(plan_of(by_epoch, length, optimizer_config=group), 5).files.steps == 4
    assert walk(plan_of(by_epoch, length), 5).files.steps == 15
    assert walk(plan_of(by_epoch, length, optimizer_config=None), 5).files.steps is None


def test_several_optimizers_have_rates_by_name():
    optimizers = {"a": {"type": "SGD", "lr": 0.1}, "b": {"type": "Adam", "lr": 0.01}}
    plan = plan_of(True, 3, optimizer=optimizers, optimizer_config=None, lr_config={"policy": "step", "step": 1})
    rates = walk(plan, 2).rates
    assert rates.groups == ["a", "b"]
    assert [one[0] for one in rates.lr] == [0.1, 0.01]
    assert rates.lr[1].tolist() == pytest.approx([0.01, 0.01, 1e-3, 1e-3, 1e-4, 1e-4])
    assert [one[0] for one in rates.momentum] == [0, 0.9]


def test_what_cannot_be_found_keeps_its_place_and_is_told():
    plan = plan_of(
        True, 2,
        lr_config={"policy": "YOLOX", "num_last_epochs": 15},
        log_config={"interval": 50, "hooks": [{"type": "TextLoggerHook"}, {"type": "NotALogger"}]},
        custom_hooks=[{"type": "Unheard", "priority": "HIGH"}, {"type": "SetEpochInfoHook"}, {"mode": "no type"}],
        optimizer={"type": "Lamb", "lr": 0.02},
    )  # fmt: skip
    trace = walk(plan, 3)
    told = {one.key: one.what for one in trace.unwalked}
    assert told == {
        "lr_config": "YOLOXLrUpdaterHook",
        "log_config.hooks[1]": "NotALogger",
        "custom_hooks[0]": "Unheard",
        "custom_hooks[1]": "SetEpochInfoHook",
        "custom_hooks[2]": "a hook without a type",
        "optimizer": "Lamb",
    }
    assert trace.rates.lr == []
    order = trace.points.order["before_train_epoch"]
    assert order[:3] == ("YOLOXLrUpdaterHook", "Unheard", "SetEpochInfoHook")
    assert order[-2:] == ("TextLoggerHook", "NotALogger")
    assert "SetEpochInfoHook" not in trace.points.order["after_train_epoch"]  # it is known where that acts
    assert [act.hook for act in acts(plan) if act.point == "unknown"] == ["Unheard", "Untyped"]


def test_a_known_optimizer_class_is_not_needed_for_the_lr():
    trace = walk(plan_of(True, 2, optimizer={"type": "Lamb", "lr": 0.02}), 3)
    assert set(trace.rates.lr[0]) == {0.02}
    assert "Lamb" in str(trace.unwalked[0])


MMDET = {
    "model": {"type": "FasterRCNN"},
    "optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9},
    "optimizer_config": {},
    "lr_config": {"policy": "step", "step": [8, 11]},
    "checkpoint_config": {"interval": 4},
    "log_config": {"interval": 50, "hooks": [{"type": "TextLoggerHook"}]},
    "runner": {"type": "EpochBasedRunner", "max_epochs": 12},
}


def test_the_evaluation_of_a_code_base_takes_place_when_it_would():
    evaluation = {"interval": 5, "dynamic_intervals": [(9, 1)], "metric": "bbox", "save_best": "bbox_mAP"}
    files = walk(plan_run({**MMDET, "evaluation": evaluation}), 2).files
    assert [epoch + 1 for epoch, _ in files.evaluations] == [5, 9, 10, 11, 12]
    assert files.kept == ["epoch_4.pth", "epoch_8.pth", "epoch_12.pth", "best_bbox_mAP_epoch_12.pth"]


def test_mmpose_has_defaults_of_its_own():
    poses = {**MMDET, "model": {"type": "TopDown"}, "total_epochs": 4, "runner": None}
    files = walk(
        plan_run({**poses, "evaluation": {"interval": 2, "key_indicator": "NME", "gpu_collect": True}}), 2
    ).files
    assert files.kept[-1] == "best_NME_epoch_4.pth"
    assert [epoch + 1 for epoch, _ in files.evaluations] == [2, 4]


def test_several_processes_have_hooks_of_their_own():
    plan = plan_run(MMDET, world_size=8)
    trace = walk(plan, 2, world_size=8)
    assert "DistSamplerSeedHook" in trace.points.order["before_train_epoch"]
    assert "DistEvalHook" in trace.points.order["after_train_epoch"]


def test_nothing_is_imported_or_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = plan_of(True, 2, custom_imports={"imports": ["walk_project"]}, custom_hooks=[{"type": "WalkProjectHook"}],
                   checkpoint_config={"interval": 1, "out_dir": str(tmp_path / "out")}, work_dir="there",
                   log_config={"interval": 1, "hooks": [{"type": "TextLoggerHook"}]})  # fmt: skip
    assert [one.what for one in walk(plan, 3).unwalked] == ["WalkProjectHook"]
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "walk_project.py").write_text(
        "from mmhooks import HOOKS, Hook\n"
        "@HOOKS.register_module()\n"
        "class WalkProjectHook(Hook):\n"
        "    def after_train_epoch(self, runner): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "walk_project" not in sys.modules
    trace = walk(plan, 3, imports=True)
    assert trace.unwalked == []
    assert trace.points.order["after_train_epoch"] == ("WalkProjectHook", "CheckpointHook", "TextLoggerHook")[1:2] + (
        "WalkProjectHook", "TextLoggerHook")  # fmt: skip


@pytest.mark.parametrize("by_epoch", [True, False])
@pytest.mark.parametrize("flows", [[("train", 1)], [("train", 2), ("val", 1)], [("train", 5000)]])
def test_a_shortened_run_reaches_the_same_points_with_the_same_hooks(by_epoch, flows):
    plan = plan_of(by_epoch, 11 if by_epoch else 90, workflow=flows)
    short, whole = walk(plan, 9).points, walk(plan, 9, whole=True).points
    assert short.order == whole.order
    assert len(short.calls) < len(whole.calls)
    assert shortened(Run(True, 3, [("train", 1)]), 4) == (Run(True, 3, [("train", 1)]), 4)


def test_lengths_that_show_what_depends_on_them():
    warm = {"policy": "step", "step": [8], "warmup": "linear", "warmup_iters": 500}
    assert default_lengths(plan_of(True, 12, lr_config=warm)) == [1, 7, 501]
    assert default_lengths(plan_of(True, 12)) == [1, 7]
    assert default_lengths(plan_of(False, 12, lr_config=warm)) == [7]


def test_what_a_run_refuses_a_walk_refuses():
    restart = {"policy": "CosineRestart", "periods": [2], "restart_weights": [1], "min_lr": 0.0}
    with pytest.raises(ConfigError, match="periods"):
        walk(plan_of(True, 5, lr_config=restart), 2)
    with pytest.raises(ConfigError, match="epoch_len"):
        walk(plan_of(True, 5), 0)


def test_acts_say_how_often():
    plan = plan_run({**MMDET, "evaluation": {"interval": 3, "start": 2},
                     "lr_config": {**MMDET["lr_config"], "warmup": "linear", "warmup_iters": 500}})  # fmt: skip
    said = {(act.point, act.hook): (act.priority, act.every, act.key) for act in acts(plan)}
    assert said["before_train_iter", "StepLrUpdaterHook"] == (
        "VERY_HIGH", "the first 500 iterations (linear warmup)", "lr_config")  # fmt: skip
    assert said["after_train_epoch", "CheckpointHook"] == (
        "NORMAL", "every 4 epochs and at the end", "checkpoint_config")  # fmt: skip
    assert said["after_train_epoch", "EvalHook"] == ("LOW", "every 3 epochs, from epoch 2 on", "evaluation")
    assert said["after_train_iter", "TextLoggerHook"] == ("VERY_LOW", "every 50 iterations", "log_config.hooks[0]")
    assert ("after_train_iter", "CheckpointHook") not in said
    points = [act.point for act in acts(plan)]
    assert list(dict.fromkeys(points)) == [
        "before_run", "before_train_epoch", "before_train_iter", "after_train_iter", "after_train_epoch", "after_run",
    ]  # fmt: skip

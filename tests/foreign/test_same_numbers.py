"""Each hook of mmcv's own, as an object, under mmcv's runner and under both drivers: the same numbers and files."""

import mmcv.runner as mmcv
import pytest
import torch
from mmcv.runner.hooks import lr_updater, momentum_updater
from mmcv.runner.hooks.memory import EmptyCacheHook
from mmcv.runner.hooks.profiler import ProfilerHook
from real_mmcv import points, train

DRIVERS = ("native", "lightning")


def compare(tmp_path, *args, **kwargs):
    """Train three times, and demand the same."""
    theirs = train("mmcv", tmp_path / "mmcv", *args, **kwargs)
    ours = [train(driver, tmp_path / driver, *args, **kwargs) for driver in DRIVERS]
    for seen in ours:
        assert_same_values(theirs.model.state_dict(), seen.model.state_dict())
        assert seen.lrs == theirs.lrs
        assert seen.log == theirs.log
        assert_same_files(theirs, seen)
    return theirs, *ours


def assert_same_values(one, other):
    assert list(one) == list(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name


def assert_same_files(theirs, ours):
    one, other = theirs.files, ours.files
    assert sorted(one) == sorted(other)
    for name, content in one.items():
        assert_same_values(content["state_dict"], dict_like(content["state_dict"], other[name]["state_dict"]))
        for key in ("epoch", "iter", "seed"):
            assert content["meta"][key] == other[name]["meta"][key]
        assert str(content.get("optimizer")) == str(other[name].get("optimizer"))
    messages = [
        str((run.runner.meta or {}).get("hook_msgs")).replace(run.runner.work_dir, "") for run in (theirs, ours)
    ]
    assert messages[0] == messages[1]


def dict_like(one, other):
    """A Trainer's file has the buffers that a hook adds in another place; the names must be the same."""
    assert sorted(one) == sorted(other)
    return {name: other[name] for name in one}


def said(seen, hook):
    return [
        line for line in seen.console if line == f"mmcv's {hook} is replaced by mmhooks.{hook}, with the same arguments"
    ]


REPLACED = {
    "OptimizerHook": lambda: mmcv.OptimizerHook(grad_clip={"max_norm": 0.5}),
    "GradientCumulativeOptimizerHook": lambda: mmcv.GradientCumulativeOptimizerHook(3, grad_clip={"max_norm": 0.5}),
    "Fp16OptimizerHook": lambda: mmcv.Fp16OptimizerHook(grad_clip={"max_norm": 0.5}, loss_scale=128.0),
    "GradientCumulativeFp16OptimizerHook": lambda: mmcv.GradientCumulativeFp16OptimizerHook(3, loss_scale="dynamic"),
}


@pytest.mark.parametrize("name", REPLACED)
@pytest.mark.parametrize(("by_epoch", "length"), [(True, 3), (False, 11)])
@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler", "ignore:`torch.cuda.amp.GradScaler")
def test_optimizer_hooks(tmp_path, name, by_epoch, length):
    training = {"optimizer_config": None}
    hooks = lambda: [(REPLACED[name](), "ABOVE_NORMAL")]  # noqa: E731
    _, *ours = compare(tmp_path, hooks, by_epoch=by_epoch, length=length, training=training)
    for seen in ours:
        assert len(said(seen, name)) == 1
        (hook,) = (hook for hook in seen.runner.hooks if type(hook).__name__ == name)
        assert type(hook).__module__.startswith("mmhooks.")


@pytest.mark.parametrize(
    ("arguments", "by_epoch", "length"),
    [
        ({"interval": 1, "max_keep_ckpts": 2}, True, 4),
        ({"interval": 2, "save_optimizer": False, "filename_tmpl": "at_{}.pth", "create_symlink": False}, True, 5),
        ({"interval": 2, "by_epoch": False, "meta": {"more": 1}}, False, 8),
        ({"interval": 5, "by_epoch": False, "save_last": False}, False, 8),
    ],
    ids=str,
)
def test_checkpoint_hook(tmp_path, arguments, by_epoch, length):
    hooks = lambda: [mmcv.CheckpointHook(**arguments)]  # noqa: E731
    theirs, *ours = compare(tmp_path, hooks, by_epoch=by_epoch, length=length)
    assert theirs.files
    for seen in ours:
        assert len(said(seen, "CheckpointHook")) == 1


@pytest.mark.parametrize("workflow", [[("train", 1)], [("train", 1), ("val", 1)]], ids=str)
def test_text_logger_hook(tmp_path, workflow):
    hooks = lambda: [(mmcv.TextLoggerHook(interval=3, ignore_last=False), "VERY_LOW")]  # noqa: E731
    _, *ours = compare(tmp_path, hooks, workflow=workflow, training={"log_config": None})
    for seen in ours:
        assert len(said(seen, "TextLoggerHook")) == 1


def test_text_logger_hook_by_iteration(tmp_path):
    hooks = lambda: [(mmcv.TextLoggerHook(interval=3, by_epoch=False), "VERY_LOW")]  # noqa: E731
    compare(tmp_path, hooks, by_epoch=False, length=10, training={"log_config": None})


@pytest.mark.parametrize("interval", [1, 3])
def test_ema_hook(tmp_path, interval):
    hooks = lambda: [(mmcv.EMAHook(0.3, interval=interval, warm_up=5), "ABOVE_NORMAL"), mmcv.CheckpointHook(1)]  # noqa: E731
    theirs, *ours = compare(tmp_path, hooks)
    assert any(name.startswith("ema_") for name in theirs.files["epoch_3.pth"]["state_dict"])
    for seen in ours:
        assert len(said(seen, "EMAHook")) == 1


@pytest.mark.parametrize(
    ("arguments", "by_epoch", "length"),
    [
        ({"save_best": "acc"}, True, 4),
        ({"save_best": "auto", "start": 0, "scale": -1.0}, True, 3),
        ({"interval": 2, "start": 2, "rule": "less", "save_best": "loss"}, True, 4),
        ({"interval": 3, "by_epoch": False, "save_best": "loss"}, False, 10),
        ({"interval": 3, "by_epoch": False, "start": 0}, False, 7),
    ],
    ids=str,
)
def test_eval_hook(tmp_path, arguments, by_epoch, length):
    hooks = lambda: [(mmcv.EvalHook(points(), **arguments), "LOW")]  # noqa: E731
    theirs, *ours = compare(tmp_path, hooks, by_epoch=by_epoch, length=length)
    assert any("acc" in line for line in theirs.log)
    assert bool(theirs.files) == ("save_best" in arguments)
    for seen in ours:
        assert len(said(seen, "EvalHook")) == 1


def test_a_test_function_of_ones_own_stays(tmp_path):
    calls = []

    def test_fn(model, loader):
        calls.append(model.training)
        return mmcv_test(model, loader)

    from mmcv.engine import single_gpu_test as mmcv_test

    compare(tmp_path, lambda: [(mmcv.EvalHook(points(), test_fn=test_fn), "LOW")])
    assert len(calls) == 9


class Halving(mmcv.LrUpdaterHook):
    """A policy of a project's own."""

    def get_lr(self, runner, base_lr):
        return base_lr * 0.5 ** (runner.epoch if self.by_epoch else runner.iter)


LR = {
    "own": lambda **kwargs: Halving(**kwargs),
    "fixed": lambda **kwargs: lr_updater.FixedLrUpdaterHook(**kwargs),
    "step": lambda **kwargs: lr_updater.StepLrUpdaterHook([1, 2], **kwargs),
    "exp": lambda **kwargs: lr_updater.ExpLrUpdaterHook(0.9, **kwargs),
    "poly": lambda **kwargs: lr_updater.PolyLrUpdaterHook(power=0.9, **kwargs),
    "inv": lambda **kwargs: lr_updater.InvLrUpdaterHook(0.2, **kwargs),
    "cosine": lambda **kwargs: lr_updater.CosineAnnealingLrUpdaterHook(min_lr=0.01, **kwargs),
    "flat": lambda **kwargs: lr_updater.FlatCosineAnnealingLrUpdaterHook(min_lr=0.01, **kwargs),
    "linear": lambda **kwargs: lr_updater.LinearAnnealingLrUpdaterHook(min_lr=0.01, **kwargs),
}


@pytest.mark.parametrize("policy", LR)
@pytest.mark.parametrize(
    ("by_epoch", "arguments"),
    [
        (True, {"warmup": "linear", "warmup_iters": 3}),
        (True, {"warmup": "exp", "warmup_iters": 1, "warmup_by_epoch": True}),
        (False, {"by_epoch": False, "warmup": "constant", "warmup_iters": 3}),
    ],
    ids=str,
)
def test_lr_updater_hooks_run_as_they_are(tmp_path, policy, by_epoch, arguments):
    hooks = lambda: [(LR[policy](**arguments), "VERY_HIGH")]  # noqa: E731
    _, *ours = compare(tmp_path, hooks, by_epoch=by_epoch, length=4 if by_epoch else 9, training={"lr_config": None})
    for seen in ours:
        assert type(seen.runner.hooks[0]).__module__.startswith(("mmcv.", "tests.", "test_"))


MOMENTUM = {
    "cyclic": lambda: (
        lr_updater.CyclicLrUpdaterHook(by_epoch=False, target_ratio=(5, 0.01)),
        momentum_updater.CyclicMomentumUpdaterHook(by_epoch=False),
    ),
    "one cycle": lambda: (
        lr_updater.OneCycleLrUpdaterHook(max_lr=0.3, by_epoch=False),
        momentum_updater.OneCycleMomentumUpdaterHook(by_epoch=False),
    ),
    "restart": lambda: (
        lr_updater.CosineRestartLrUpdaterHook([4, 8], [1, 0.5], min_lr=0.01, by_epoch=False),
        momentum_updater.CosineAnnealingMomentumUpdaterHook(min_momentum=0.5, by_epoch=False),
    ),
    "step": lambda: (
        lr_updater.FixedLrUpdaterHook(),
        momentum_updater.StepMomentumUpdaterHook([1, 2], by_epoch=True, warmup="linear", warmup_iters=2),
    ),
}


@pytest.mark.parametrize("policy", MOMENTUM)
@pytest.mark.parametrize(("by_epoch", "length"), [(True, 3), (False, 12)])
def test_momentum_updater_hooks_run_as_they_are(tmp_path, policy, by_epoch, length):
    def hooks():
        lr, momentum = MOMENTUM[policy]()
        return [(lr, "VERY_HIGH"), (momentum, "HIGH")]

    compare(tmp_path, hooks, by_epoch=by_epoch, length=length, training={"lr_config": None})


OTHERS = {
    "IterTimerHook": mmcv.IterTimerHook,
    "EmptyCacheHook": lambda: EmptyCacheHook(True, True, True),
    "ClosureHook": lambda: mmcv.ClosureHook("before_train_epoch", lambda runner: torch.manual_seed(runner.epoch)),
    "ProfilerHook": lambda: ProfilerHook(profile_iters=1, activities=["cpu"], on_trace_ready=lambda profiler: None),
    "SyncBuffersHook": mmcv.SyncBuffersHook,
    "DistSamplerSeedHook": mmcv.DistSamplerSeedHook,
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.filterwarnings("ignore:profiler will profile")
def test_other_hooks(tmp_path, name):
    compare(tmp_path, lambda: [OTHERS[name]()], workflow=[("train", 1), ("val", 1)])


def test_a_seed_for_a_distributed_sampler(tmp_path):
    from real_mmcv import Points
    from torch.utils.data import DataLoader, DistributedSampler

    def loader():
        return DataLoader(Points(), batch_size=6, sampler=DistributedSampler(Points(), 1, 0))

    theirs, *_ = compare(tmp_path, lambda: [mmcv.DistSamplerSeedHook()], loader=loader)
    without = train("native", tmp_path / "without", loader=loader)
    assert not torch.equal(theirs.model.first.weight, without.model.first.weight)

"""A migrated run is walked as a Trainer trains it, and compared with MMCV's loop; a difference is told."""

import copy
import dataclasses
import sys
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from torch import nn

from mmhooks import ConfigError, RegistryError
from mmhooks.plan import plan_run
from mmhooks.walk import walk
from mmhooks_lightning.migration.compare import compare, curves
from mmhooks_lightning.migration.groups import compare_groups
from mmhooks_lightning.migration.plain.walk import plain_side
from mmhooks_lightning.migration.trained import verify_with_trainer
from mmhooks_lightning.migration.verify import bridge_side, verify, written_config

sys.path.insert(0, str(Path(__file__).parents[2]))
from walked_runs import WORKFLOWS, drawn, plan_of

pytestmark = pytest.mark.filterwarnings("ignore")


def assert_same(walked):
    assert walked.differences == ()
    assert walked.lr_difference == walked.lr_relative == walked.momentum_difference == 0
    assert walked.points_equal is not False
    assert walked.files_equal


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn(workflows=WORKFLOWS))
def test_a_trainer_does_what_was_walked(case):
    plan, epoch_len = case
    try:
        walk(plan, epoch_len)
    except ConfigError:
        assume(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        walked = verify_with_trainer(plan, epoch_len)
    assert_same(walked)
    assert walked.iterations == (plan.length * epoch_len if plan.by_epoch else plan.length)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn(workflows=WORKFLOWS))
def test_both_sides_are_equal(case):
    plan, epoch_len = case
    try:
        walk(plan, epoch_len)
    except ConfigError:
        assume(False)
    (walked,) = verify(plan, epoch_lens=[epoch_len])
    assert_same(walked)


MMDET = {
    "model": {"type": "FasterRCNN"},
    "optimizer": {"type": "SGD", "lr": 0.02, "momentum": 0.9},
    "optimizer_config": {"grad_clip": {"max_norm": 35}},
    "lr_config": {"policy": "step", "step": [8, 11], "warmup": "linear", "warmup_iters": 10, "warmup_ratio": 0.001},
    "checkpoint_config": {"interval": 4, "max_keep_ckpts": 2},
    "log_config": {
        "interval": 50,
        "hooks": [{"type": "TextLoggerHook"}, {"type": "TensorboardLoggerHook"}, {"type": "TheirLoggerHook"}],
    },
    "evaluation": {"interval": 5, "dynamic_intervals": [(9, 1)], "metric": "bbox", "save_best": "auto"},
    "custom_hooks": [{"type": "NumClassCheckHook"}, {"type": "YOLOXModeSwitchHook", "priority": 48}],
    "runner": {"type": "EpochBasedRunner", "max_epochs": 12},
}
MMSEG = {
    **MMDET,
    "model": {"type": "EncoderDecoder"},
    "lr_config": {"policy": "poly", "power": 0.9, "min_lr": 1e-4, "by_epoch": False},
    "checkpoint_config": {"interval": 8, "by_epoch": False},
    "evaluation": {"interval": 10, "metric": "mIoU", "pre_eval": True},
    "runner": {"type": "IterBasedRunner", "max_iters": 50},
    "custom_hooks": [{"type": "EMAHook", "priority": "ABOVE_NORMAL"}],
    "workflow": [("train", 7), ("val", 2)],
}
MMPOSE = {
    **MMDET,
    "model": {"type": "TopDown"},
    "total_epochs": 4,
    "evaluation": {"interval": 2, "save_best": "AP"},
    "optimizer_config": {"type": "Fp16OptimizerHook", "loss_scale": 512.0},
    "momentum_config": {"policy": "step", "step": [1], "warmup": "linear", "warmup_iters": 5},
}
GAN = {
    **MMPOSE,
    "use_adversarial_train": True,
    "momentum_config": None,
    "optimizer": {"generator": {"type": "Adam", "lr": 1e-3}, "discriminator": {"type": "Adam", "lr": 1e-4}},
}


@pytest.mark.parametrize("config", [MMDET, MMSEG, MMPOSE, GAN], ids=["mmdet", "mmseg", "mmpose", "adversarial"])
def test_configs_of_code_bases(config):
    plan = plan_run(config)
    for walked in verify(plan):
        assert_same(walked)
    trained = verify_with_trainer(plan, 5)
    assert_same(trained)
    assert any("TheirLoggerHook" in one for one in trained.unwalked)
    assert not any("TensorboardLoggerHook" in one for one in trained.unwalked)


def test_several_processes_are_assumed():
    (walked,) = verify(plan_run(MMDET, world_size=8), epoch_lens=[3], world_size=8)
    assert_same(walked)
    assert walked.world_size == 8


def test_the_default_lengths():
    assert [walked.epoch_len for walked in verify(plan_run(MMDET))] == [1, 7, 11]


def changed(change):
    """Compare a plan with a written config that somebody has changed."""
    plan = plan_run(MMDET)
    config = copy.deepcopy(written_config(plan))
    change(config)
    (walked,) = verify(plan, epoch_lens=[7], after=bridge_side(config, plan.recipe))
    assert walked.differences
    return walked


def test_a_differing_rate_is_told():
    walked = changed(lambda config: config["training_hooks"]["lr_config"].update(step=[8, 10]))
    assert walked.lr_difference == pytest.approx(0.0018)
    assert walked.lr_relative == pytest.approx(0.9)
    assert walked.differences[0].startswith("lr of iteration 71: 0.002; migrated: 0.0002")
    assert walked.points_equal
    assert walked.files_equal
    walked = changed(lambda config: config["optimizer"].update(momentum=0.8))
    assert walked.momentum_difference == pytest.approx(0.1)
    assert walked.lr_difference == 0


def test_a_differing_order_is_told():
    walked = changed(lambda config: config["evaluation"].update(priority="HIGH"))
    assert not walked.points_equal
    assert any(one.startswith("after_train_epoch: ") and "EvalHook (70)" in one for one in walked.differences)


def test_differing_files_are_told():
    walked = changed(lambda config: config["training_hooks"]["checkpoint_config"].update(max_keep_ckpts=1))
    assert not walked.files_equal
    assert "kept: epoch_8.pth not any more; nothing only now" in walked.differences
    walked = changed(lambda config: config["evaluation"].pop("dynamic_intervals"))
    assert not walked.files_equal


def test_a_differing_length_is_told():
    walked = changed(lambda config: config["trainer"].update(max_epochs=13))
    assert walked.differences[0].startswith("the run: 12 epochs")
    walked = changed(lambda config: config["run"].update(workflow=[("train", 1), ("val", 1)]))
    assert not walked.points_equal


def test_a_policy_that_cannot_be_found_is_not_compared():
    plan = plan_run({**MMDET, "lr_config": {"policy": "YOLOX"}})
    (walked,) = verify(plan, epoch_lens=[3])
    assert walked.iterations == 0
    assert walked.unwalked[0].startswith("lr_config: YOLOXLrUpdaterHook")
    assert_same(walked)


def test_curves_hold_both_sides():
    plan = plan_run(MMPOSE)
    sides = walk(plan, 5), bridge_side(written_config(plan), plan.recipe)(5)
    lr, momentum = curves(*sides)
    assert (lr.name, momentum.name) == ("lr", "momentum")
    assert lr.before == lr.after == sides[0].rates.lr[0].tolist()
    assert [one.name for one in curves(walk(plan_of(True, 2), 3), walk(plan_of(True, 2), 3))] == ["lr"]


def test_a_missing_iteration_is_told():
    plan = plan_of(True, 2)
    walked = compare(walk(plan, 3), walk(dataclasses.replace(plan, max_epochs=1), 3))
    assert "lr: 6 iterations; migrated: 3" in walked.differences


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone, self.norm, self.head = nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)


PARAMWISE = {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4,
             "paramwise_cfg": {"norm_decay_mult": 0.0, "custom_keys": {"backbone": {"lr_mult": 0.1}}}}  # fmt: skip


def test_param_groups_of_a_real_model_are_compared():
    groups = compare_groups(Net(), PARAMWISE, PARAMWISE)
    assert groups.differences == ()
    assert groups.count == 6
    assert compare_groups(Net(), PARAMWISE, torch.optim.SGD(Net().parameters(), lr=0.1)).differences
    other = copy.deepcopy(PARAMWISE)
    other["paramwise_cfg"]["custom_keys"]["backbone"]["lr_mult"] = 0.2
    (first, *_) = compare_groups(Net(), PARAMWISE, other).differences
    assert first.startswith("group 1 (backbone.weight): lr 0.01")
    assert "paramwise_cfg" not in groups.differences


def test_an_optimizer_that_was_built_is_compared_too():
    model = Net()
    plain = {"type": "SGD", "lr": 0.1, "momentum": 0.9}
    assert compare_groups(model, plain, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)).differences == ()
    with pytest.raises(RegistryError, match="Lamb"):
        compare_groups(model, {"type": "Lamb", "lr": 0.1}, plain)


def steps(plan, epoch_len, base):
    """Write MMDET's lr down again, without its warmup."""
    for iteration in range(plan.max_epochs * epoch_len):
        epoch = iteration // epoch_len
        yield [lr * 0.1 ** ((epoch >= 8) + (epoch >= 11)) for lr in base]


def stay(plan, epoch_len, base):
    return ([*base] for _ in range(plan.max_epochs * epoch_len))


def refuse(plan, epoch_len, base):
    raise ConfigError("the policy 'YOLOX' is the code base's own")


def test_a_run_of_plain_lightning_is_compared_as_far_as_it_goes():
    lr = {key: value for key, value in MMDET["lr_config"].items() if not key.startswith("warmup")}
    plan = plan_run({**MMDET, "lr_config": lr})
    (walked,) = verify(plan, epoch_lens=[4], after=plain_side(plan, steps, stay, lambda plan, epoch_len: [8, 12]))
    assert_same(walked)
    assert walked.iterations == 48
    assert walked.points_equal is None
    assert any("which one that is the scores decide" in one for one in walked.unwalked)
    (walked,) = verify(plan, epoch_lens=[4], after=plain_side(plan, stay, stay, lambda plan, epoch_len: [12]))
    assert walked.lr_difference == pytest.approx(0.0198)
    assert "kept: epoch_8.pth not any more; nothing only now" in walked.differences
    (walked,) = verify(plan, epoch_lens=[4], after=plain_side(plan, refuse, stay, lambda plan, epoch_len: [8, 12]))
    assert walked.iterations == 0
    assert any("code base's own" in one for one in walked.unwalked)

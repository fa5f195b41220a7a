"""Unmodified configs of mmcls, trained by mmcls and by both drivers: the same numbers and files."""

import cifar
import mmcls.datasets.cifar
import mmcv.runner
import pytest
import runs
import torch

DRIVERS = ("native", "lightning")
RESNET = "resnet/resnet18_8xb16_cifar10.py"
MIXUP = "resnet/resnet50_8xb16-mixup_cifar10.py"
NARROW = ["model.backbone.base_channels=8", "model.backbone.stem_channels=8"]
BY_ITERATION = ["runner._delete_=True", "runner.type=IterBasedRunner", "runner.max_iters=9"]

#: the network as it is, and narrow ones with more settings
CASES = {
    "as it is": (RESNET, []),
    "val flow": (RESNET, [*NARROW, "model.head.in_channels=64", "workflow=[(train,1),(val,1)]"]),
    "by iteration": (
        RESNET,
        [*NARROW, "model.head.in_channels=64", *BY_ITERATION, "evaluation.interval=4", "checkpoint_config.interval=3"],
    ),
    "mixup": (
        MIXUP,
        [*NARROW, "model.head.in_channels=256", "data.workers_per_gpu=0", "data.persistent_workers=False"],
    ),
    "best": (
        RESNET,
        [
            *NARROW,
            "model.head.in_channels=64",
            "evaluation.save_best=accuracy_top-1",
            "evaluation.metric_options.topk=(1,)",
        ]
        + ["optimizer_config._delete_=True", "optimizer_config.grad_clip.max_norm=0.5", "lr_config.step=[1]"]
        + ["lr_config.warmup=linear", "lr_config.warmup_iters=4", "checkpoint_config.max_keep_ckpts=1"],
    ),
}


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Small data in place of CIFAR-10; that much a config has to be told."""
    for name, value in cifar.write(tmp_path / "data", size=12).items():
        monkeypatch.setattr(mmcls.datasets.cifar.CIFAR10, name, value)
    prefixes = [f"data.{part}.data_prefix={tmp_path / 'data'}" for part in ("train", "val")]
    return [*prefixes, "log_config.interval=2"]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_same_as_mmcls(tmp_path, data, case):
    config, options = CASES[case]
    length = [] if "runner._delete_=True" in options else ["runner.max_epochs=2"]
    options = [*data, *length, *options]
    theirs = runs.theirs(config, tmp_path / "mmcls", options)
    assert isinstance(theirs.runner, mmcv.runner.BaseRunner)
    assert len(set(theirs.losses)) == len(theirs.losses) > 7
    assert any("accuracy_top-1" in line for line in theirs.log)
    assert theirs.files
    for driver in DRIVERS:
        ours = runs.ours(driver, config, tmp_path / driver, options)
        assert ours.flows == theirs.flows
        assert ours.lrs == theirs.lrs
        assert ours.losses == theirs.losses
        assert ours.log == theirs.log
        assert_same(ours.model.state_dict(), theirs.model.state_dict())
        assert_same_files(ours.files, theirs.files)


def assert_same(ours, theirs):
    assert sorted(ours) == sorted(theirs)
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


def assert_same_files(ours, theirs):
    assert sorted(ours) == sorted(theirs)
    for name, content in theirs.items():
        assert_same(ours[name]["state_dict"], content["state_dict"])
        assert str(ours[name]["optimizer"]) == str(content["optimizer"])
        for key in ("epoch", "iter", "seed", "CLASSES"):
            assert ours[name]["meta"][key] == content["meta"][key]

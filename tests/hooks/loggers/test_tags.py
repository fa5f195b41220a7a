"""What the loggers of services send, against what MMCV 1.7.2's send; see tests/oracle/tags.py."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

import mmhooks
from mmhooks import HOOKS
from mmhooks.hooks import ServiceLoggerHook

TESTS = Path(__file__).parents[2]
sys.path.append(str(TESTS / "oracle"))
spec = importlib.util.spec_from_file_location("tags", TESTS / "oracle" / "tags.py")
tags = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tags)
RECORDED = json.loads((TESTS / "golden" / "tags.json").read_text())


class Notes(ServiceLoggerHook):
    """A service that is a list."""

    title, package, extra = "Notes", "json", "notes"

    def start(self, runner):
        self.sent = []

    def send(self, runner, values, step):
        self.sent.append([step, values])


def test_the_record_has_every_plan():
    assert list(RECORDED) == ["made with", *tags.PLANS, "mlflow", "wandb", "wandb, no steps"]


@pytest.mark.parametrize("name", tags.PLANS)
def test_tags_steps_and_values(name, tmp_path):
    hook = Notes(**tags.PLANS[name][3])
    tags.play(mmhooks, name, hook, tmp_path)
    ours = [[step, tag, value] for step, values in hook.sent for tag, value in values.items()]
    theirs = [[step, tag, value] for step, values in RECORDED[name] for tag, value in values.items()]
    assert [one[:2] for one in ours] == [one[:2] for one in theirs]
    assert [one[2] for one in ours] == pytest.approx([one[2] for one in theirs], rel=1e-5)
    assert all(type(one[2]) in (int, float) for one in ours)


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_lines_of_the_other_services(kind, tmp_path):
    hook = Notes(**tags.PLANS["epochs, evaluated"][3])
    tags.play(mmhooks, "epochs, evaluated", hook, tmp_path)
    assert [step for step, _ in hook.sent] == [step for step, _ in RECORDED[kind]]
    for (_, ours), (_, theirs) in zip(hook.sent, RECORDED[kind], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
        assert list(ours) == list(theirs)


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ["val/acc", "val/list", "val/tensor", "learning_rate", "momentum"]),
        ({"allow_text": True}, ["val/acc", "val/word", "val/list", "val/tensor", "learning_rate", "momentum"]),
        ({"allow_scalar": False, "allow_text": True}, ["val/word", "val/list", "learning_rate", "momentum"]),
        ({"add_mode": False, "tags_to_skip": ("acc",)}, ["data_time", "list", "tensor", "learning_rate", "momentum"]),
    ],
)
def test_loggable_tags(make_runner, asked, names):
    runner = make_runner()
    runner.mode = "train"
    runner.log_buffer.output.update(data_time=1.0, acc=0.5, word="good", list=[1, 2], tensor=torch.tensor(0.5))
    assert list(Notes().get_loggable_tags(runner, **asked)) == names


def test_configs_of_mmcv_name_the_same_arguments():
    """Their positions count: a project may pass them so."""
    for name, arguments in {
        "TensorboardLoggerHook": ["log_dir", "interval", "ignore_last", "reset_flag", "by_epoch"],
        "MlflowLoggerHook": [
            "exp_name", "tags", "params", "log_model", "interval", "ignore_last", "reset_flag", "by_epoch",
        ],
        "WandbLoggerHook": [
            "init_kwargs", "interval", "ignore_last", "reset_flag", "commit", "by_epoch", "with_step", "log_artifact",
            "out_suffix", "define_metric_cfg",
        ],
    }.items():  # fmt: skip
        code = HOOKS.get(name).__init__.__code__
        assert list(code.co_varnames[1 : code.co_argcount]) == arguments

"""mmhooks inspect: a run at a glance, by the real command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmhooks.cli import app

CONFIG = """
model = dict(type='FasterRCNN')
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=dict(max_norm=35))
lr_config = dict(policy='step', warmup='linear', warmup_iters=500, warmup_ratio=0.001, step=[8, 11])
checkpoint_config = dict(interval=1, max_keep_ckpts=3)
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook'), dict(type='TheirLoggerHook')])
evaluation = dict(interval=2, metric='bbox', save_best='bbox_mAP')
custom_hooks = [dict(type='NumClassCheckHook'), dict(type='UnheardOfHook', priority='HIGH')]
runner = dict(type='EpochBasedRunner', max_epochs=12)
workflow = [('train', 1)]
visual_config = None
gpu_ids = [0]
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "detector.py"
    path.write_text(CONFIG)
    return path


def call(*words):
    return CliRunner().invoke(app, ["inspect", *map(str, words)], env={"COLUMNS": "80"})


def shown(*words):
    result = call(*words)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def seen(*words):
    return json.loads(shown(*words, "--json"))


def test_the_command_shows_a_run_at_80_columns(config):
    command = [sys.executable, "-m", "mmhooks", "inspect", str(config)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"}, timeout=120
    )
    lines = [line.rstrip() for line in run.stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[0] == "detector.py  mmdet 2.28.2"
    assert lines[1] == "12 epochs, workflow train 1"
    text = " ".join(run.stdout.split())
    assert "after_train_epoch NORMAL CheckpointHook each epoch checkpoint_config LOW EvalHook every 2 epochs" in text
    assert "iterations 12,000 = 12 x 1,000, a length that is assumed: set --epoch-len" in text
    assert "checkpoints 18, 4 kept: epoch_10.pth, ..., best_bbox_mAP_epoch_12.pth" in text
    assert "lr first 2e-05, max 0.02, min 2e-05, last 0.0002" in text
    assert "at points that are not known HIGH UnheardOfHook ? custom_hooks[1]" in text
    assert "keys that nothing reads visual_config" in text
    assert run.stderr == ""


def test_json_holds_the_same(config):
    data = seen(config, "--epoch-len", 10)
    assert list(data) == [
        "config", "codebase", "run", "optimizer", "epoch_len", "world_size", "totals", "kept", "lr", "momentum", "acts",
        "unwalked", "keys", "notes",
    ]  # fmt: skip
    assert data["run"] == {"by_epoch": True, "max_epochs": 12, "max_iters": None, "workflow": [["train", 1]]}
    assert data["totals"] == {"epochs": 12, "iterations": 120, "steps": 120, "checkpoints": 18, "evaluations": 6}
    assert data["kept"] == ["epoch_10.pth", "epoch_11.pth", "epoch_12.pth", "best_bbox_mAP_epoch_12.pth"]
    (lr,) = data["lr"]
    assert (lr["group"], lr["first"], lr["last"]) == ("", pytest.approx(2e-5), pytest.approx(0.0002 * 0.238762))
    assert data["momentum"] == [{"group": "", "first": 0.9, "max": 0.9, "min": 0.9, "last": 0.9}]
    assert data["acts"][0] == {"point": "before_run", "hook": "StepLrUpdaterHook", "priority": "VERY_HIGH",
                               "every": "once", "key": "lr_config"}  # fmt: skip
    assert [one["key"] for one in data["unwalked"]] == ["log_config.hooks[1]", "custom_hooks[0]", "custom_hooks[1]"]
    fates = {one["key"]: one["fate"] for one in data["keys"]}
    assert (fates["visual_config"], fates["gpu_ids"], fates["model"]) == ("not read", "command line", "model or data")


@pytest.mark.parametrize("kind", ["TensorboardLoggerHook", "MlflowLoggerHook", "WandbLoggerHook"])
def test_loggers_of_services_send_nothing_and_need_no_package(config, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mmhooks.hooks.loggers.service.find_spec", lambda name: None)
    config.write_text(CONFIG.replace("TheirLoggerHook", kind))
    data = seen(config, "--epoch-len", 10)
    assert [one["key"] for one in data["unwalked"]] == ["custom_hooks[0]", "custom_hooks[1]"]
    (act,) = [one for one in data["acts"] if one["hook"] == kind and one["point"] == "after_train_iter"]
    assert (act["every"], act["key"]) == ("every 50 iterations", "log_config.hooks[1]")
    assert list(tmp_path.iterdir()) == [config]
    config.write_text(CONFIG.replace("TheirLoggerHook", f"{kind}', intervall='1"))
    result = call(config)
    assert result.exit_code != 0
    assert "intervall" in result.output


@pytest.mark.parametrize("option", ["--set", "--cfg-options"])
def test_values_can_be_laid_over(config, option):
    data = seen(config, option, "runner.max_epochs=2", "optimizer.lr=0.5", "--epoch-len", 4)
    assert data["totals"]["iterations"] == 8
    assert data["optimizer"]["lr"] == 0.5


def test_an_iteration_based_run(tmp_path):
    path = tmp_path / "segmentor.py"
    text = CONFIG.replace("FasterRCNN", "EncoderDecoder").replace("policy='step'", "policy='step', by_epoch=False")
    text = text.replace("EpochBasedRunner', max_epochs=12", "IterBasedRunner', max_iters=5000")
    path.write_text(text)
    output = " ".join(shown(path).split())
    assert "5,000 iterations, workflow train 1" in output
    assert "assumed" not in output
    data = seen(path)
    assert data["totals"]["epochs"] is None
    assert {act["point"] for act in data["acts"]} >= {"before_epoch", "after_train_iter"}
    assert not {act["point"] for act in data["acts"]} & {"before_train_epoch", "after_train_epoch"}


def test_several_processes(config):
    data = seen(config, "--world-size", 8)
    hooks = {act["hook"] for act in data["acts"]}
    assert {"DistSamplerSeedHook", "DistEvalHook"} <= hooks
    assert "12 epochs, workflow train 1, 8 processes" in shown(config, "--world-size", 8)


def test_a_code_base_can_be_said(config):
    config.write_text(CONFIG.replace("FasterRCNN", "MyOwn"))
    assert "--codebase" in call(config).output
    assert seen(config, "--codebase", "mmdet")["codebase"] == "mmdet 2.28.2"


def test_a_lr_that_cannot_be_walked_is_told(config):
    config.write_text(CONFIG.replace("policy='step'", "policy='YOLOX'"))
    output = " ".join(shown(config).split())
    assert "lr set by a class that cannot be found" in output
    assert "lr_config YOLOXLrUpdaterHook: the policy 'YOLOX' cannot be found" in output


def test_an_argument_that_a_hook_refuses_ends_the_command(config):
    config.write_text(CONFIG.replace("max_keep_ckpts=3", "max_keep_ckpts=0"))
    result = call(config)
    assert result.exit_code == 1
    assert "max_keep_ckpts" in result.output


def test_nothing_is_written(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown(Path("detector.py"))
    assert list(tmp_path.iterdir()) == [config]


def test_a_page_is_written(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown("detector.py", "--html") == "written: detector.html\n"
    text = (tmp_path / "detector.html").read_text(encoding="utf-8")
    assert "<h1>detector.py</h1>" in text
    assert shown("detector.py", "--html", "-o", "a/b.html", "--epoch-len", 7) == "written: a/b.html\n"
    assert "84 = 12 x 7" in (tmp_path / "a" / "b.html").read_text(encoding="utf-8")
    assert shown("detector.py", "--html", "-o", "-") == text


@pytest.mark.parametrize(
    ("words", "said"), [(["-o", "a.html"], "-o a.html needs --html"), (["--html", "--json"], "give --json or --html")]
)
def test_a_page_and_other_outputs_do_not_mix(config, words, said):
    result = call(config, *words)
    assert result.exit_code == 2
    assert said in " ".join(result.output.replace("│", "").split())

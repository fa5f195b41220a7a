"""Rows and files of the style `lightning`, for configs of many kinds."""

import ast
import subprocess
import sys

import pytest

from mmhooks import ConfigError
from mmhooks.config import Config
from mmhooks.plan import plan_run
from mmhooks_lightning.migration import bridge, plain
from mmhooks_lightning.migration.plain.settings import loggers
from mmhooks_lightning.migration.rows import Verdict
from tests.lightning.migration.projects import config, planned, written
from tests.zoo.packages import CACHE, cases

ITERATIONS = {"type": "IterBasedRunner", "max_iters": 100}
KINDS = {
    "plain": {},
    "iterations": {
        "runner": ITERATIONS,
        "checkpoint_config": {"interval": 30, "max_keep_ckpts": 2},
        "evaluation": {"interval": 50},
    },
    "fp16": {"fp16": {"loss_scale": "dynamic"}},
    "static_fp16": {
        "optimizer_config": {"type": "Fp16OptimizerHook", "loss_scale": 64.0, "grad_clip": {"max_norm": 1}}
    },
    "bf16": {"optimizer_config": {"type": "Fp16OptimizerHook", "dtype": "bf16"}},
    "groups": {
        "optimizer_config": {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 4},
        "runner": ITERATIONS,
    },
    "clip": {"optimizer_config": {"grad_clip": {"max_norm": 2.0, "norm_type": 1}}},
    "several": {
        "optimizer": {"a": {"type": "Adam", "lr": 1.0}, "b": {"type": "SGD", "lr": 1.0}},
        "optimizer_config": None,
    },
    "hooks": {
        "custom_hooks": [
            {"type": "EMAHook", "momentum": 0.1, "interval": 2},
            {"type": "CheckInvalidLossHook", "interval": 5},
            {"type": "SyncBuffersHook"},
            {"type": "MyHook", "priority": "LOW"},
        ]
    },
    "momentum": {
        "lr_config": {"policy": "cyclic"},
        "momentum_config": {"policy": "OneCycle"},
        "evaluation": {"interval": 2, "save_best": "auto", "start": 2},
        "workflow": [("train", 1), ("val", 1)],
    },
    "rules": {
        "optimizer": {"type": "AdamW", "lr": 0.1, "paramwise_cfg": {"custom_keys": {"a": {"lr_mult": 2}}}},
        "load_from": "weights.pth",
        "log_config": {
            "interval": 5,
            "hooks": [{"type": "TextLoggerHook"}, {"type": "TensorboardLoggerHook"}, {"type": "OtherHook"}],
        },
    },
}


def plan_of(kind):
    changes = dict(KINDS[kind])
    plan = planned(**{"optimizer_config": {}, **changes}) if changes.get("optimizer_config", 0) is not None else None
    return plan or plan_run({**config(**changes), "optimizer_config": None}, "mmcv")


def row_of(plan, key):
    return next(row for row in plain.rows(plan) if row.key == key)


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_has_a_row_and_all_files_compile(kind):
    plan = plan_of(kind)
    keys = {row.key.partition("[")[0] for row in plain.rows(plan)}
    assert {fate.key for fate in plan.keys} <= keys
    for path, text in plain.project_files([plan], [kind]).items():
        compile(text, path, "exec")


@pytest.mark.parametrize("kinds", [[kind] for kind in KINDS] + [[*KINDS]], ids=lambda kinds: "+".join(kinds)[:20])
def test_what_is_written_is_formatted_and_clean(tmp_path, kinds):
    folder = written(tmp_path, [plan_of(kind) for kind in kinds], kinds)
    for shared in ("builders.py", "test.py"):
        (folder / shared).unlink()
    (folder / "builders.py").write_text('"""What builds."""\n')
    for command in (["format", "--check", "--line-length", "120"], ["check", "--ignore", "I001"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", command[0], "--isolated", *command[1:], "."],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "hooks"])
def test_mmhooks_is_imported_only_where_something_is_carried(kind):
    files = plain.project_files([plan_of(kind)], [kind])
    assert "carried.py" not in files
    for path, text in files.items():
        names = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert not [name for name in names if "mmhooks" in ast.unparse(name)], path


def test_a_hook_of_ones_own_is_carried_with_its_priority():
    plan = plan_of("hooks")
    files = plain.project_files([plan], ["one"])
    assert "from mmhooks_lightning import HookCallback" in files["carried.py"]
    assert '"hooks": [{"type": "MyHook", "priority": "LOW"}]' in files["configs/one.py"]
    assert row_of(plan, "custom_hooks[3]").verdict is Verdict.CARRIED
    assert row_of(plan, "custom_hooks[0]").verdict is Verdict.DIFFERS


def test_what_differs_is_said():
    assert row_of(plan_of("groups"), "optimizer_config").verdict is Verdict.DIFFERS
    assert "end of each epoch" in row_of(plan_of("groups"), "optimizer_config").why
    assert row_of(plan_of("groups"), "lr_config").verdict is Verdict.EQUIVALENT
    assert "StopAfter(100)" in row_of(plan_of("groups"), "runner").became
    assert row_of(plan_of("fp16"), "fp16").verdict is Verdict.DIFFERS
    assert row_of(plan_of("clip"), "optimizer_config").verdict is Verdict.EXACT
    assert "OtherHook has no counterpart" in row_of(plan_of("rules"), "log_config").why
    assert "start=2" in row_of(plan_of("momentum"), "evaluation").why
    assert row_of(plan_of("several"), "optimizer").verdict is Verdict.DIFFERS


LOGGERS = [
    {"type": "TextLoggerHook"},
    {"type": "TensorboardLoggerHook", "log_dir": "events"},
    {"type": "MlflowLoggerHook", "exp_name": "digits", "tags": {"who": "me"}, "log_model": False},
    {"type": "WandbLoggerHook", "init_kwargs": {"project": "digits", "entity": "us", "config": {"a": 1}}},
    {"type": "NeptuneLoggerHook", "init_kwargs": {"mode": "offline"}},
    {"type": "DvcliveLoggerHook"},
    {"type": "ClearMLLoggerHook"},
    {"type": "PaviLoggerHook"},
    {"type": "MyLoggerHook"},
]


def test_every_kind_of_logger():
    plan = planned(log_config={"interval": 20, "hooks": LOGGERS})
    assert loggers(plan) == {
        "CSVLogger": {"name": "csv"},
        "TensorBoardLogger": {"save_dir": "events", "name": "", "version": ""},
        "MLFlowLogger": {"experiment_name": "digits", "tags": {"who": "me"}},
        "WandbLogger": {"project": "digits", "entity": "us"},
    }
    why = row_of(plan, "log_config").why
    for said in (
        "NeptuneLoggerHook has no counterpart: Lightning's NeptuneLogger is gone with the service",
        "DvcliveLoggerHook has no counterpart: dvclive.lightning.DVCLiveLogger is a logger for train.py",
        "ClearMLLoggerHook has no counterpart: clearml.Task.init() in train.py records",
        "PaviLoggerHook is left out: the service Pavi is gone",
        "MyLoggerHook has no counterpart: add a logger of Lightning to train.py",
    ):
        assert said in why


def test_every_kind_of_logger_on_the_bridge():
    plan = planned(log_config={"interval": 20, "hooks": LOGGERS})
    said = {row.key: row for row in bridge.rows(plan)}
    for index, extra in enumerate(["", "tensorboard", "mlflow", "wandb", "neptune", "dvclive", "clearml"]):
        row = said[f"log_config.hooks[{index}]"]
        assert row.verdict is Verdict.EXACT
        assert row.became == f"{LOGGERS[index]['type']} at VERY_LOW on the HookCallback"
        assert row.why == "every 20 iterations" + (f', with pip install "mmhooks[{extra}]"' if extra else "")
    assert said["log_config.hooks[7]"].verdict is Verdict.NOT_MAPPED
    assert "the service Pavi is gone" in said["log_config.hooks[7]"].why
    assert said["log_config.hooks[8]"].verdict is Verdict.CARRIED


def test_the_files_that_stay_are_known():
    plan = plan_of("iterations")
    assert plain.kept_checkpoints(plan, 10) == [60, 90, 100]
    assert "beside the 2 others" in row_of(plan, "checkpoint_config").why
    every = planned(
        checkpoint_config={"interval": 2, "max_keep_ckpts": 1}, runner={"max_epochs": 6, "type": "EpochBasedRunner"}
    )
    assert plain.kept_checkpoints(every, 10) == [6]
    assert plain.kept_checkpoints(planned(checkpoint_config={"interval": -1}), 10) == [3]
    assert plain.kept_checkpoints(planned(checkpoint_config={"interval": 2, "save_last": False}), 10) == [2]


def test_a_hook_that_steps_in_its_own_way_is_refused():
    with pytest.raises(ConfigError, match="--style bridge"):
        plain.project_files([planned(optimizer_config={"type": "MyOptimizerHook"})], ["one"])


def test_a_project_is_for_one_code_base():
    with pytest.raises(ConfigError, match="one code base"):
        plain.project_files([planned(), planned("mmcls")], ["one", "two"])


@pytest.mark.slow
@pytest.mark.skipif(not (CACHE / "mmdet").is_dir(), reason="make zoo fetches the real configs")
@pytest.mark.parametrize("package", ["mmdet", "mmsegmentation", "mmcls", "mmpose"])
def test_all_real_configs(package, tmp_path):
    recipe = "mmseg" if package == "mmsegmentation" else package
    plans, names = [], []
    for case in cases([package]):
        if "_base_" in case.file.parts:
            continue
        try:
            plans.append(plan_run(Config.fromfile(case.file), recipe))
        except ConfigError:
            continue  # tests/zoo knows them
        names.append(case.name.removesuffix(".py").replace("/", "_"))
    for plan in plans:
        keys = {row.key.partition("[")[0] for row in plain.rows(plan)}
        assert {fate.key for fate in plan.keys} <= keys, plan.source.name
        for path, text in plain.project_files([plan], ["one"]).items():
            compile(text, path, "exec")
    written(tmp_path, plans, names)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "format",
            "--isolated",
            "--check",
            "--line-length",
            "120",
            "configs",
            "train.py",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout

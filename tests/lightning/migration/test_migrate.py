"""Migrations in style bridge: what they say, what they write, and that it trains the same."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from typer.testing import CliRunner

from mmhooks.build import build_run
from mmhooks.checkpoint import read_checkpoint
from mmhooks.cli import app
from mmhooks.config import Config
from mmhooks.drivers import native
from mmhooks.errors import ConfigError
from mmhooks.examples.digits.model import DigitsNet
from mmhooks_lightning import migrate
from mmhooks_lightning.migration.migration import write_project
from mmhooks_lightning.migration.rows import Row, Verdict

DIGITS = Path(sys.modules["mmhooks"].__file__ or "").parent / "examples" / "digits" / "configs" / "digits_cnn.py"
SHORT = {"runner.max_epochs": 2, "model.channels": 4}
RUNTIME = """
model = dict(type='{model}')
data = dict(samples_per_gpu=2, workers_per_gpu=1, train=dict(type='A', pipeline=[]), val=dict(type='B'))
optimizer = dict(type='SGD', lr=0.1)
optimizer_config = dict(grad_clip=dict(max_norm=35))
lr_config = dict(policy='step', step=[2])
checkpoint_config = dict(interval=1)
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook')])
log_level = 'INFO'
workflow = [('train', 1)]
load_from = None
resume_from = None
"""


def digits() -> Config:
    cfg = Config.fromfile(DIGITS)
    cfg.merge_from_dict(SHORT)
    return cfg


def native_weights(folder: Path, cfg: Config | None = None) -> dict[str, torch.Tensor]:
    native(build_run(cfg or digits(), work_dir=folder, device="cpu"))
    return weights(folder)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = read_checkpoint(folder / "latest.pth")["state_dict"]
    return found


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not one[name].equal(other[name])] == []


def command(*words: object) -> Any:
    return CliRunner().invoke(app, ["migrate", *map(str, words)])


def python(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def rows_of(text: str, codebase: str, **arguments: Any) -> dict[str, Row]:
    report = migrate(Config.fromstring(text, ".py"), codebase=codebase, **arguments).report
    return {row.key: row for row in report.rows}


def test_the_project_trains_to_the_weights_of_a_native_run(tmp_path: Path) -> None:
    options = [f"{key}={value}" for key, value in SHORT.items()]
    told = command(DIGITS, "-o", tmp_path / "project", "--set", *options)
    assert told.exit_code == 0, told.output
    readme = (tmp_path / "project" / "README.md").read_text()
    train, test = (line.removeprefix("$ ").split() for line in readme.splitlines() if line.startswith("$ "))
    trained = python(tmp_path / "project", *train[1:])
    assert trained.returncode == 0, trained.stderr[-2000:]
    assert_same(weights(tmp_path / "project" / "work_dirs" / "digits_cnn"), native_weights(tmp_path / "native"))
    tested = python(tmp_path / "project", *test[1:])
    assert tested.returncode == 0, tested.stderr[-2000:]
    assert 0.5 < float(tested.stdout.rpartition("accuracy: ")[2]) <= 1


@pytest.mark.slow
def test_the_project_trains_in_two_processes_as_a_native_run_does(tmp_path: Path) -> None:
    cfg = digits()
    cfg.custom_hooks = []
    cfg.dump(tmp_path / "digits.py")
    migrate(tmp_path / "digits.py").write(tmp_path / "project")
    launched = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    trained = python(tmp_path / "project", *launched, "train.py", "configs/digits.py")
    assert trained.returncode == 0, trained.stderr[-3000:]
    options = ["digits.py", "--work-dir", "native", "--launcher", "pytorch"]
    both = python(tmp_path, *launched, "-m", "mmhooks", "train", *options)
    assert both.returncode == 0, both.stderr[-3000:]
    assert_same(weights(tmp_path / "project" / "work_dirs" / "digits"), weights(tmp_path / "native"))


def test_the_parts_of_a_migration_train_the_same(tmp_path: Path) -> None:
    cfg = digits()
    cfg.work_dir = str(tmp_path / "migrated")
    cfg.workflow = [("train", 1)]
    migration = migrate(cfg)
    spec = build_run(cfg, device="cpu")  # the same draws of random numbers
    state = torch.get_rng_state()
    callback = migration.callback
    model = DigitsNet(**{key: value for key, value in cfg.model.to_dict().items() if key != "type"})
    model.load_state_dict(spec.model.state_dict())
    trainer = L.Trainer(
        callbacks=[callback], accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
        **migration.trainer_kwargs,
    )  # fmt: skip
    module = migration.module(model)
    torch.set_rng_state(state)
    trainer.fit(module, spec.loaders[0])
    assert_same(weights(tmp_path / "migrated"), native_weights(tmp_path / "native", cfg))
    assert migration.optimizer == cfg.optimizer.to_dict()


@pytest.mark.slow
def test_a_resumed_project_ends_on_the_same_weights(tmp_path: Path) -> None:
    migrate(digits()).write(tmp_path)
    config = tmp_path / "configs" / "digits_cnn.py"
    whole = config.read_text()
    config.write_text(whole.replace("max_epochs=2", "max_epochs=1"))
    for more in ([], ["--auto-resume"]):
        done = python(tmp_path, "train.py", "configs/digits_cnn.py", *more)
        assert done.returncode == 0, done.stderr[-2000:]
        config.write_text(whole)
    names = sorted(path.name for path in (tmp_path / "work_dirs" / "digits_cnn").glob("epoch_*"))
    assert names == ["epoch_1.pth", "epoch_2.pth"]


def test_what_the_trainer_is_told(tmp_path: Path) -> None:
    text = (
        RUNTIME.format(model="FasterRCNN") + "total_epochs = 3\ncudnn_benchmark = True\nfind_unused_parameters = True\n"
    )
    kwargs = migrate(Config.fromstring(text, ".py"), world_size=2).trainer_kwargs
    strategy = kwargs.pop("strategy")
    assert kwargs == {
        "max_epochs": 3,
        "max_steps": -1,
        "precision": "32-true",
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_checkpointing": False,
        "benchmark": True,
    }
    assert strategy._ddp_kwargs == {"broadcast_buffers": False, "find_unused_parameters": True}
    iterations = text.replace("total_epochs = 3", "runner = dict(type='IterBasedRunner', max_iters=5)")
    assert migrate(Config.fromstring(iterations, ".py")).trainer_kwargs["max_epochs"] == -1


def test_every_key_has_a_row() -> None:
    text = RUNTIME.format(model="FasterRCNN") + (
        "total_epochs = 3\nseed = 3\nleft = 1\nnorm = dict(a=1)\ntrain_cfg = dict(norm=norm)\n"
        "fp16 = dict(loss_scale=512.)\n"
        "custom_hooks = [dict(type='EMAHook', priority=49), dict(type='YOLOXModeSwitchHook')]\n"
        "evaluation = dict(interval=2, metric='bbox')\n"
    )
    rows = rows_of(text, "mmdet")
    verdicts = {key: row.verdict for key, row in rows.items()}
    assert verdicts.pop("custom_hooks[1]") is Verdict.CARRIED
    assert verdicts.pop("seed") is Verdict.COMMAND_LINE
    assert verdicts.pop("left") is Verdict.NOT_MAPPED
    assert verdicts.pop("norm") is Verdict.HELPER
    assert {verdicts.pop(key) for key in ("model", "train_cfg", "data.train", "data.val")} == {Verdict.BUILDERS}
    assert set(verdicts.values()) == {Verdict.EXACT}
    assert {key.partition("[")[0].partition(".")[0] for key in rows} == set(Config.fromstring(text, ".py"))
    assert rows["custom_hooks[0]"].became == "EMAHook at 49 on the HookCallback"
    assert "Fp16OptimizerHook at ABOVE_NORMAL" in rows["fp16"].became
    assert rows["evaluation"].became == "EvalHook at LOW on the HookCallback"
    assert "found when that is imported" in rows["custom_hooks[1]"].why


@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("lr_config", "dict(policy='YOLOX', num_last_epochs=15)", "YOLOXLrUpdaterHook"),
        ("optimizer_config", "dict(type='DistOptimizerHook')", "DistOptimizerHook"),
        ("optimizer", "dict(type='Lamb', lr=0.1)", "Lamb"),
        ("optimizer", "dict(type='SGD', lr=0.1, constructor='LayerDecay')", "LayerDecay"),
        ("log_config", "dict(interval=5, hooks=[dict(type='MMDetWandbHook')])", "MMDetWandbHook"),
    ],
)
def test_what_a_code_base_defines_is_carried(key: str, value: str, name: str) -> None:
    rows = rows_of(RUNTIME.format(model="YOLOX") + f"total_epochs = 3\n{key} = {value}\n", "mmdet")
    row = rows.get(key) or rows[f"{key}.hooks[0]"]
    assert row.verdict is Verdict.CARRIED
    assert name in row.why


def test_what_the_code_base_does_not_read_is_not_mapped() -> None:
    text = RUNTIME.format(model="EncoderDecoder") + "total_iters = 9\ntotal_epochs = 3\nfp16 = dict(loss_scale=2.)\n"
    rows = rows_of(text, "mmseg")
    assert rows["fp16"].verdict is Verdict.NOT_MAPPED
    assert rows["total_epochs"].why == "total_iters says the length of the run"
    assert rows["total_iters"].verdict is Verdict.EXACT


@pytest.mark.parametrize("model", ["FasterRCNN", "EncoderDecoder", "ImageClassifier", "TopDown"])
def test_projects_of_all_code_bases_are_python(model: str, tmp_path: Path) -> None:
    length = "total_iters = 9" if model == "EncoderDecoder" else "total_epochs = 3"
    workflow = "workflow = [('train', 1), ('val', 1)]"
    cfg = Config.fromstring(f"{RUNTIME.format(model=model)}{length}\n{workflow}\n", ".py")
    paths = migrate(cfg).write(tmp_path)
    texts = {path.name: path.read_text() for path in paths if path.suffix == ".py"}
    assert set(texts) == {"train.py", "test.py", "builders.py", "run.py"}
    for text in texts.values():
        ast.parse(text)
    (tmp_path / "ruff.toml").write_text("line-length = 120\nlint.select = ['E', 'F', 'I', 'UP', 'B']\n")
    checked = subprocess.run([sys.executable, "-m", "ruff", "check", tmp_path], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    written = Config.fromfile(tmp_path / "configs" / "run.py")
    assert written.data.val_flow == {"type": "B", "pipeline": []}


def test_a_folder_becomes_one_project(tmp_path: Path) -> None:
    folder = tmp_path / "configs"
    (folder / "_base_").mkdir(parents=True)
    (folder / "deep").mkdir()
    (folder / "_base_" / "run.py").write_text(RUNTIME.format(model="RetinaNet") + "total_epochs = 3\n")
    (folder / "one.py").write_text("_base_ = '_base_/run.py'\n")
    (folder / "deep" / "one.py").write_text("_base_ = '../_base_/run.py'\ntotal_epochs = 4\n")
    (folder / "broken.py").write_text("import os\n")
    told = command(folder, "-o", tmp_path / "project")
    assert told.exit_code == 0, told.output
    assert "left out" in told.output
    assert "broken.py:1" in told.output
    names = {path.relative_to(tmp_path / "project").as_posix() for path in (tmp_path / "project").rglob("*.*")}
    assert {"train.py", "configs/one.py", "configs/deep.one.py", "reports/one.md", "reports/deep.one.html"} <= names
    assert Config.fromfile(tmp_path / "project" / "configs" / "deep.one.py").trainer.max_epochs == 4


def test_nothing_of_the_users_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("mine")
    with pytest.raises(ConfigError, match=r"train.py is there already, with another content: choose another folder"):
        migrate(digits()).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


def test_a_project_is_of_one_code_base(tmp_path: Path) -> None:
    one = migrate(Config.fromstring(RUNTIME.format(model="YOLOX") + "total_epochs = 1", ".py"))
    other = migrate(Config.fromstring(RUNTIME.format(model="TopDown") + "total_epochs = 1", ".py"))
    with pytest.raises(ConfigError, match="of one style and of one code base"):
        write_project(tmp_path, [one, other])
    with pytest.raises(ConfigError, match="two configs are called 'run'"):
        write_project(tmp_path, [one, one])


@pytest.mark.parametrize("style", ["bridge", "lightning"])
def test_the_name_of_a_config_cannot_write_code(style: str, tmp_path: Path) -> None:
    file = tmp_path / 'a"""; raise SystemExit(1); """\n`$(id)`.py'
    file.write_text(RUNTIME.format(model="FasterRCNN") + "total_epochs = 3\n")
    for path in migrate(file, style=style).write(tmp_path / "project"):
        if path.suffix == ".py":
            body = ast.parse(path.read_text()).body
            assert not any(isinstance(node, ast.Raise) for node in body)
            assert "$(" not in path.name


def test_mistakes_say_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"style must be one of bridge.*, not 'bridges'; did you mean 'bridge'"):
        migrate(digits(), style="bridges")
    told = command(tmp_path)
    assert told.exit_code == 1
    assert "holds no config that can be migrated" in told.output
    assert command(DIGITS, "--codebase", "mmdett").exit_code == 2


def test_a_verified_migration_says_so_in_its_report(tmp_path: Path) -> None:
    told = command(DIGITS, "--verify", "--epoch-len", 3, "--epoch-len", 45, "-o", tmp_path)
    assert told.exit_code == 0, told.output
    assert told.output.count("equal") == 4
    report = (tmp_path / "report.md").read_text()
    assert "| 45 |" in report
    assert "paramwise" in report
    assert "StepLrUpdaterHook" in (tmp_path / "report.html").read_text()

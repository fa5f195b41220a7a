"""Logs that MMCV writes: of a run that is killed and resumed, by epoch; and of one by iteration with evaluations."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import scenarios
from torch.utils.data import DataLoader

_STEP = {"policy": "step", "step": [3], "warmup": "linear", "warmup_iters": 3, "warmup_ratio": 0.1}


class Killed(Exception):
    """In place of a signal."""


def record(lib: Any, folder: Path) -> dict[str, Any]:
    """Write the logs into a folder for each run, and say what is in them."""
    clock = itertools.count(1_700_000_000, 0.25)
    time.time = lambda: float(next(clock))  # the same bytes every time
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # the checkpoint is our own
    shutil.rmtree(folder, ignore_errors=True)
    with scenarios.repeatable(), tempfile.TemporaryDirectory() as work_dir:
        _epochs(lib, Path(work_dir))
        _keep(Path(work_dir), folder / "epochs")
    with scenarios.repeatable(), tempfile.TemporaryDirectory() as work_dir:
        _iterations(lib, Path(work_dir))
        _keep(Path(work_dir), folder / "iterations")
    return {"files": sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.json"))}


def _keep(work_dir: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in work_dir.glob("*.log.json"):
        text = file.read_text(encoding="utf-8").replace(str(work_dir), "work_dirs/points")
        (folder / file.name).write_text(text, encoding="utf-8")


def _runner(lib: Any, kind: str, work_dir: Path, timestamp: str, **length: int) -> Any:
    meta = {"exp_name": "points.py", "seed": 0, "config": f"runner = dict(type='{kind}')\n"}
    runner = scenarios._runner(lib, kind, work_dir=str(work_dir), meta=meta, **length)
    runner.timestamp = timestamp
    return runner


def _register(lib: Any, runner: Any, evaluation: dict[str, Any], interval: int) -> None:
    log = {"interval": interval, "hooks": [{"type": "TextLoggerHook"}]}
    clip = {"grad_clip": {"max_norm": 0.5}}
    runner.register_training_hooks(copy.deepcopy(_STEP), clip, {"interval": 1 if interval == 2 else 100}, log)
    loader = DataLoader(scenarios.Points(12, 9), batch_size=5)
    runner.register_hook(lib.EvalHook(loader, **evaluation), priority="LOW")


def _epochs(lib: Any, work_dir: Path) -> None:
    class Kills(lib.Hook):
        def after_train_iter(self, runner: Any) -> None:
            if runner.epoch == 2 and runner.inner_iter == 2:
                raise Killed

    flow = [("train", 1), ("val", 1)]
    runner = _runner(lib, "EpochBasedRunner", work_dir, "20240101_080000", max_epochs=4)
    _register(lib, runner, {"interval": 1}, interval=2)
    runner.register_hook(Kills(), "LOWEST")
    with contextlib.suppress(Killed):
        runner.run(scenarios._loaders(flow), flow)
    runner = _runner(lib, "EpochBasedRunner", work_dir, "20240101_093000", max_epochs=4)
    _register(lib, runner, {"interval": 1}, interval=2)
    runner.resume(str(work_dir / "epoch_2.pth"))
    runner.run(scenarios._loaders(flow), flow)


def _iterations(lib: Any, work_dir: Path) -> None:
    flow = [("train", 1)]
    runner = _runner(lib, "IterBasedRunner", work_dir, "20240102_120000", max_iters=14)
    _register(lib, runner, {"interval": 5, "by_epoch": False}, interval=3)
    runner.run(scenarios._loaders(flow), flow)

"""Trains a config of mmcls with its own tools/train.py, and with both drivers of mmhooks."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import codebases
import mmcv.runner
import packages
import torch
from torch import nn

from mmhooks import Config, Hook
from mmhooks.build import build_run
from mmhooks.config import parse_option
from mmhooks.drivers import find_driver
from mmhooks_lightning import migrate


@dataclass
class Run:
    """What a run has led to."""

    work_dir: Path
    runner: Any = None
    losses: list[float] = field(default_factory=list)
    lrs: list[list[float]] = field(default_factory=list)
    flows: list[tuple[str, int, int]] = field(default_factory=list)

    @property
    def model(self) -> nn.Module:
        model: nn.Module = self.runner.model
        return model

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the .log.json, without times and what is said of the environment."""
        (path,) = self.work_dir.glob("*.log.json")
        lines = [json.loads(line) for line in path.read_text().splitlines()][1:]
        return [{key: value for key, value in line.items() if "time" not in key} for line in lines]

    @property
    def files(self) -> dict[str, Any]:
        """The checkpoints by name."""
        return {path.name: torch.load(path, weights_only=False) for path in self.work_dir.glob("*.pth")}

    def watch(self, base: type) -> Any:
        """Make a hook that notes what is trained with, and what comes of it."""

        def after_train_iter(hook: Any, runner: Any) -> None:
            self.losses.append(runner.outputs["loss"].item())
            self.lrs.append(runner.current_lr())
            self.flows.append(("train", runner.epoch, runner.inner_iter))

        def after_val_iter(hook: Any, runner: Any) -> None:
            self.losses.append(runner.outputs["loss"].item())
            self.flows.append(("val", runner.epoch, runner.inner_iter))

        return type("Watch", (base,), {"after_train_iter": after_train_iter, "after_val_iter": after_val_iter})()


def config_file(name: str) -> Path:
    return packages.CACHE / "mmcls" / name


def theirs(name: str, work_dir: Path, options: list[str]) -> Run:
    """Train by ``python tools/train.py CONFIG --cfg-options ...``, in this process."""
    seen = Run(work_dir)
    command = ["train.py", str(config_file(name)), "--work-dir", str(work_dir), "--seed", "0", "--cfg-options"]

    def watched(run: Any) -> Any:
        def with_watch(runner: Any, *args: Any, **kwargs: Any) -> Any:
            seen.runner = runner
            runner.register_hook(seen.watch(mmcv.runner.Hook), priority="LOWEST")
            return run(runner, *args, **kwargs)

        return with_watch

    runners = (mmcv.runner.EpochBasedRunner, mmcv.runner.IterBasedRunner)
    with mock.patch.object(sys, "argv", [*command, *options]):
        patches = [mock.patch.object(runner, "run", watched(runner.run)) for runner in runners]
        for patch in patches:
            patch.start()
        try:
            codebases.tool("mmcls").main()
        finally:
            for patch in patches:
                patch.stop()
    return seen


def _config(name: str, options: list[str]) -> Config:
    config = Config.fromfile(config_file(name))
    config.merge_from_dict(dict(map(parse_option, options)))
    return config


def ours(driver: str, name: str, work_dir: Path, options: list[str]) -> Run:
    """Train the same with mmcls's builders, our config, a driver and its hooks."""
    seen = Run(work_dir)
    spec = build_run(_config(name, options), work_dir=work_dir, seed=0, device="cpu")
    spec.hooks.append((seen.watch(Hook), "LOWEST"))
    seen.runner = find_driver(driver)(spec)
    return seen


def project(name: str, folder: Path, options: list[str]) -> Run:
    """Train the same by the project that a migration writes, in this process."""
    migrate(_config(name, options)).write(folder)
    config = next((folder / "configs").iterdir())
    command = ["train.py", str(config), "--work-dir", str(folder / "work"), "--seed", "0"]
    with (
        mock.patch.object(sys, "argv", command),
        mock.patch.object(sys, "path", [str(folder), *sys.path]),
        mock.patch.dict(sys.modules),
    ):
        runpy.run_path(str(folder / "train.py"), run_name="__main__")
    return Run(folder / "work")

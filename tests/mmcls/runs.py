"""Trains a config of mmcls with its own tools/train.py, and with both drivers of mmhooks."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import codebases
import lightning as L
import mmcls.core
import mmcls.datasets
import mmcls.models
import mmcv.runner
import packages
import torch
from mmcls.apis import set_random_seed
from torch import nn

from mmhooks import Config, EpochBasedRunner, Hook, IterBasedRunner, build_optimizer
from mmhooks.config import parse_option
from mmhooks_lightning import HookCallback, HookedModule


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


def ours(driver: str, name: str, work_dir: Path, options: list[str]) -> Run:
    """Train the same with mmcls's builders, our config, our runners and their hooks."""
    seen = Run(work_dir)
    config = Config.fromfile(config_file(name))
    config.merge_from_dict(dict(map(parse_option, options)))
    set_random_seed(0)
    model = mmcls.models.build_classifier(_theirs(config.model))
    model.init_weights()
    datasets = [mmcls.datasets.build_dataset(_theirs(config.data.train))]
    if len(config.workflow) == 2:
        val = {**config.data.val, "pipeline": config.data.train.pipeline}
        datasets.append(mmcls.datasets.build_dataset(_theirs(val)))
    loaders = [_loader(config, dataset, "train") for dataset in datasets]
    optimizer = build_optimizer(model, config.optimizer)
    limit = {key: value for key, value in config.runner.items() if key != "type"}
    by_epoch = config.runner["type"] == "EpochBasedRunner"
    meta = {"seed": 0, "CLASSES": datasets[0].CLASSES}
    target: Any
    if driver == "native":
        kind = EpochBasedRunner if by_epoch else IterBasedRunner
        target = kind(model, optimizer=optimizer, work_dir=str(work_dir), meta=meta, **limit)
        seen.runner = target
    else:
        target = HookCallback(
            work_dir=str(work_dir),
            by_epoch=by_epoch,
            max_iters=limit.get("max_iters"),
            workflow=[tuple(flow) for flow in config.workflow],
            meta=meta,
        )
        seen.runner = target.runner
    target.register_training_hooks(
        config.lr_config,
        config.optimizer_config,
        config.checkpoint_config,
        config.log_config,
        config.get("momentum_config"),
        custom_hooks_config=config.get("custom_hooks"),
    )
    val_loader = _loader(config, mmcls.datasets.build_dataset(_theirs(config.data.val), {"test_mode": True}), "val")
    evaluation = {**config.get("evaluation", {}), "by_epoch": by_epoch}
    target.register_hook(mmcls.core.EvalHook(val_loader, **evaluation), priority="LOW")
    target.register_hook(seen.watch(Hook), priority="LOWEST")
    if driver == "native":
        target.run(loaders, config.workflow)
    else:
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        trainer = L.Trainer(accelerator="cpu", max_epochs=limit.get("max_epochs", -1), callbacks=[target], **quiet)
        trainer.fit(HookedModule(model, optimizer), *loaders)
    return seen


def _loader(config: Any, dataset: Any, kind: str) -> Any:
    """Build a loader with the arguments that mmcls's train_model gives."""
    subsets = ("train", "val", "test", "train_dataloader", "val_dataloader", "test_dataloader")
    common = {"num_gpus": 1, "dist": False, "round_up": True, "seed": 0, "sampler_cfg": config.get("sampler")}
    common.update({key: value for key, value in config.data.items() if key not in subsets})
    if kind == "val":
        common.update(shuffle=False, sampler_cfg=None, drop_last=False)
    return mmcls.datasets.build_dataloader(dataset, **{**common, **config.data.get(f"{kind}_dataloader", {})})


def _theirs(config: Any) -> Any:
    """Make MMCV's kind of dict, which mmcls's builders write into."""
    return mmcv.ConfigDict(copy.deepcopy(config))

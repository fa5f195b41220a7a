"""Brings the real mmcv 1.x into a process of this environment, and trains one thing with it and with both drivers."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torchmetrics  # noqa: F401  (now: with the stand-in on the path, it would take torchvision to be there)
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmhooks import EpochBasedRunner, IterBasedRunner
from mmhooks_lightning import HookCallback, HookedModule

STAND_IN = Path(__file__).parents[1] / "oracle" / "stand_in"


def join() -> bool:
    """Import mmcv, and tell whether that worked.

    MMHOOKS_MMCV names the site-packages of an environment that has it. They come last on the path, so torch and
    NumPy stay those of this process.
    """
    added = [*filter(None, [os.environ.get("MMHOOKS_MMCV")]), str(STAND_IN)]
    sys.path += added
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("mmcv.runner")
    except ImportError:
        sys.path[:] = [place for place in sys.path if place not in added]
        return False
    sys.path.remove(str(STAND_IN))
    return True


class Points(Dataset[dict[str, torch.Tensor]]):
    """Points of 6 coordinates in 3 classes, and MMCV's way to evaluate."""

    def __init__(self, size: int = 20, seed: int = 7) -> None:
        source = torch.Generator().manual_seed(seed)
        self.x = torch.randn(size, 6, generator=source)
        self.y = (self.x @ torch.randn(6, 3, generator=source)).argmax(1)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": self.x[index], "y": self.y[index]}

    def evaluate(self, results: list[torch.Tensor], logger: Any = None, scale: float = 1.0) -> dict[str, float]:
        scores = torch.stack(results)
        accuracy = (scores.argmax(1) == self.y).double().mean().item()
        return {"acc": accuracy * scale, "loss": nn.functional.cross_entropy(scores, self.y).item()}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3)
        self.last = nn.Linear(8, 3)

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor, y: torch.Tensor, return_loss: bool = False) -> list[torch.Tensor]:
        return list(self.scores(x))

    def train_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        loss = nn.functional.cross_entropy(self.scores(data["x"]), data["y"])
        return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": len(data["y"])}

    val_step = train_step


def points(size: int = 10) -> DataLoader[Any]:
    """A loader for evaluations."""
    return DataLoader(Points(size, 9), batch_size=4)


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@dataclass
class Seen:
    """What a run has led to."""

    runner: Any
    model: nn.Module
    lrs: list[Any]
    console: list[str]

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the .log.json, without times."""
        (path,) = Path(self.runner.work_dir).glob("*.log.json")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [{key: value for key, value in line.items() if "time" not in key} for line in lines]

    @property
    def files(self) -> dict[str, Any]:
        """The checkpoints by name."""
        paths = Path(self.runner.work_dir).rglob("*.pth")
        return {path.name: torch.load(path, weights_only=False) for path in paths}


#: In the order of their priorities: what every run has besides the hook that is looked at.
TRAINING: dict[str, Any] = {
    "lr_config": {"policy": "step", "step": [1, 2]},
    "optimizer_config": {},
    "log_config": {"interval": 2, "hooks": [{"type": "TextLoggerHook"}]},
}


def train(
    driver: str,
    folder: Path,
    hooks: Callable[[], list[Any]] = lambda: [],
    *,
    by_epoch: bool = True,
    length: int = 3,
    workflow: list[tuple[str, int]] | None = None,
    training: dict[str, Any] | None = None,
    optimizer: Callable[[nn.Module], Any] | None = None,
    loader: Callable[[], Any] = lambda: DataLoader(Points(), batch_size=6, shuffle=True),
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    settings: dict[str, Any] | None = None,
) -> Seen:
    """Train with mmcv's own runner (``"mmcv"``), a native one or a Trainer.

    Args:
        hooks: makes the hooks, or (hook, priority).
        training: changes of `TRAINING`.
        settings: further ones of the Trainer.
    """
    mmcv = sys.modules["mmcv.runner"]
    workflow = workflow or [("train", 1)]
    logger = logging.Logger("quiet")
    logger.addHandler(console := Lines())
    torch.manual_seed(0)
    model = wrap(Net())
    steps = (optimizer or sgd)(model)
    loaders = {"train": loader(), "val": points()}
    common: dict[str, Any] = {"work_dir": str(folder), "logger": logger, "meta": {"seed": 0}}
    target: Any
    if driver == "lightning":
        target = HookCallback(**common, by_epoch=by_epoch, max_iters=None if by_epoch else length, workflow=workflow)
        runner: Any = target.runner
    else:
        kinds = (EpochBasedRunner, IterBasedRunner)
        if driver == "mmcv":
            kinds = (mmcv.EpochBasedRunner, mmcv.IterBasedRunner)
        limit = {"max_epochs": length} if by_epoch else {"max_iters": length}
        target = runner = kinds[not by_epoch](model, optimizer=steps, **common, **limit)
    configs = {**TRAINING, **(training or {})}
    if not by_epoch and isinstance(configs["lr_config"], dict):
        configs["lr_config"] = {**configs["lr_config"], "by_epoch": False}
    target.register_training_hooks(**{key: _copied(config) for key, config in configs.items()})
    for hook in hooks():
        target.register_hook(*hook if isinstance(hook, tuple) else (hook,))
    lrs: list[Any] = []
    target.register_hook(_watch(mmcv, lrs), "LOWEST")
    if driver == "lightning":
        options = {"accelerator": "cpu", "max_epochs": length if by_epoch else -1, **(settings or {})}
        quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        module = HookedModule(model, steps)
        L.Trainer(callbacks=[target], **quiet, **options).fit(
            module, loaders["train"], loaders["val"] if len(workflow) > 1 else None
        )
    else:
        runner.run([loaders[mode] for mode, _ in workflow], workflow)
    return Seen(runner, model, lrs, console.lines)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)


def _copied(config: Any) -> Any:
    """mmcv changes the configs that it is given."""
    if isinstance(config, dict):
        return {key: _copied(value) for key, value in config.items()}
    return [_copied(item) for item in config] if isinstance(config, list) else config


def _watch(mmcv: Any, seen: list[Any]) -> Any:
    """A hook written for mmcv that notes what is trained with."""

    def note(self: Any, runner: Any) -> None:
        seen.append((runner.epoch, runner.iter, runner.inner_iter, runner.current_lr(), runner.current_momentum()))

    return type("Watch", (mmcv.Hook,), {"after_train_iter": note})()

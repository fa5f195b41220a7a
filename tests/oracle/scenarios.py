"""The runs that MMCV and mmhooks both do. `lib` is ``mmcv.runner`` or ``mmhooks``: both have the same names."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

POINTS = (
    "before_run",
    "before_epoch",
    "before_train_epoch",
    "before_train_iter",
    "after_train_iter",
    "after_train_epoch",
    "before_val_epoch",
    "before_val_iter",
    "after_val_iter",
    "after_val_epoch",
    "after_epoch",
    "after_run",
)


class Points(Dataset):
    """20 points of 6 coordinates in 3 classes, and MMCV's way to evaluate."""

    def __init__(self, size: int = 20, seed: int = 7) -> None:
        source = torch.Generator().manual_seed(seed)
        self.x = torch.randn(size, 6, generator=source)
        self.y = (self.x @ torch.randn(6, 3, generator=source)).argmax(1)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": self.x[index], "y": self.y[index]}

    def evaluate(
        self, results: list[torch.Tensor], logger: Any = None, names: tuple[str, ...] = ("acc", "loss")
    ) -> Any:
        scores = torch.stack(results)
        values = {
            "acc": (scores.argmax(1) == self.y).double().mean().item(),
            "loss": nn.functional.cross_entropy(scores, self.y).item(),
        }
        return {name: values[name] for name in names}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop, self.last = (
            nn.Linear(6, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.3),
            nn.Linear(8, 3),
        )

    def forward(self, x: torch.Tensor, y: torch.Tensor, return_loss: bool = False) -> list[torch.Tensor]:
        return list(self.scores(x))

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(torch.relu(self.norm(self.first(x)))))

    def train_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        loss = nn.functional.cross_entropy(self.scores(data["x"]), data["y"])
        return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": len(data["y"])}

    val_step = train_step


@contextlib.contextmanager
def repeatable() -> Iterator[None]:
    """One thread, deterministic kernels, a fixed seed; and everything as before afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def quiet() -> logging.Logger:
    logger = logging.getLogger("scenarios")
    logger.propagate = False
    logger.handlers = [logging.NullHandler()]
    return logger


# traces -----------------------------------------------------------------------------------------------------

TRACES = {
    "epochs: train 1": ("EpochBasedRunner", [("train", 1)]),
    "epochs: train 1, val 1": ("EpochBasedRunner", [("train", 1), ("val", 1)]),
    "epochs: train 2, val 1": ("EpochBasedRunner", [("train", 2), ("val", 1)]),
    "iterations: train 5": ("IterBasedRunner", [("train", 5)]),
    "iterations: train 5, val 2": ("IterBasedRunner", [("train", 5), ("val", 2)]),
}


def noting(lib: Any, note: Callable[[str, Any], None]) -> Any:
    """A hook that overrides everything that there is."""
    methods = {point: (lambda self, runner, point=point: note(point, runner)) for point in POINTS}
    return type("Noting", (lib.Hook,), methods)()


def _runner(lib: Any, kind: str, lr: float = 0.1, **arguments: Any) -> Any:
    model = Net()
    length = {"max_epochs": 3} if kind == "EpochBasedRunner" else {"max_iters": 12}
    optimizer = torch.optim.SGD(
        [
            {"params": [*model.first.parameters(), *model.norm.parameters()]},
            {"params": model.last.parameters(), "lr": lr / 4},
        ],
        lr=lr,
        momentum=0.9,
        weight_decay=1e-3,
    )
    return getattr(lib, kind)(model, optimizer=optimizer, logger=quiet(), **{**length, **arguments})


def _loaders(workflow: list[tuple[str, int]]) -> list[DataLoader]:
    train = DataLoader(Points(), batch_size=6, shuffle=True)  # 4 batches, the last one of 2
    return [train if mode == "train" else DataLoader(Points(10, 8), batch_size=6) for mode, _ in workflow]


def trace(lib: Any, name: str) -> list[str]:
    """Give one line a call: point, epoch, iter, inner_iter, the runner's mode, the model's, gradients."""
    kind, workflow = TRACES[name]
    lines = []

    def note(point: str, runner: Any) -> None:
        model = "training" if runner.model.training else "evaluating"
        grad = "grad" if torch.is_grad_enabled() else "no grad"
        lines.append(f"{point}: {runner.epoch} {runner.iter} {runner.inner_iter} {runner.mode} {model} {grad}")

    with repeatable():
        runner = _runner(lib, kind)
        runner.register_optimizer_hook({})
        runner.register_hook(noting(lib, note))
        runner.run(_loaders(workflow), workflow)
    return lines


def order(lib: Any) -> list[str]:
    """Give the order of hooks within each point, as point: names."""
    calls: dict[str, list[str]] = {}
    with repeatable():
        runner = _runner(lib, "EpochBasedRunner", max_epochs=1)
        for name, priority in (("c", "NORMAL"), ("e", "LOW"), ("a", "HIGH"), ("d", "NORMAL"), ("b", 31)):
            runner.register_hook(
                noting(lib, lambda point, _, name=name: calls.setdefault(point, []).append(name)), priority
            )
        runner.run([[batch] for batch in _one_batch()], [("train", 1), ("val", 1)])
    return [f"{point}: {' '.join(names)}" for point, names in calls.items()]


def _one_batch() -> list[Any]:
    return [next(iter(loader)) for loader in _loaders([("train", 1), ("val", 1)])]


# training ---------------------------------------------------------------------------------------------------

_STEP = {"policy": "step", "step": [2], "warmup": "linear", "warmup_iters": 3, "warmup_ratio": 0.1}
_LOG = {"interval": 3, "hooks": [{"type": "TextLoggerHook"}]}
_EMA = {"type": "EMAHook", "momentum": 0.1, "warm_up": 20, "priority": "ABOVE_NORMAL"}
_CUMULATIVE = {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 3}
_TRAIN = [("train", 1)]
_BOTH = [("train", 1), ("val", 1)]

#: kind of runner, workflow, then: the configs of register_training_hooks, ``eval``, ``eval_priority``, ``length``.
RUNS: dict[str, tuple[str, list[tuple[str, int]], dict[str, Any]]] = {
    "plain": ("EpochBasedRunner", _TRAIN, {}),
    "grad clip": ("EpochBasedRunner", _TRAIN, {"optimizer_config": {"grad_clip": {"max_norm": 0.5, "norm_type": 2}}}),
    "text log": (
        "EpochBasedRunner",
        _TRAIN,
        {"log_config": _LOG, "optimizer_config": {"grad_clip": {"max_norm": 0.5}}},
    ),
    "text log with val": ("EpochBasedRunner", _BOTH, {"log_config": _LOG}),
    "text log of the rest": (
        "EpochBasedRunner",
        _TRAIN,
        {"log_config": {"interval": 3, "hooks": [{"type": "TextLoggerHook", "ignore_last": False}]}},
    ),
    "cumulative": ("EpochBasedRunner", _TRAIN, {"optimizer_config": _CUMULATIVE, "length": 4}),
    "cumulative, clipped, by iteration": (
        "IterBasedRunner",
        _TRAIN,
        {"optimizer_config": {**_CUMULATIVE, "grad_clip": {"max_norm": 0.5}}, "length": 11},
    ),
    "ema": ("EpochBasedRunner", _TRAIN, {"custom_hooks_config": [_EMA], "checkpoint_config": {"interval": 1}}),
    "ema every 2": (
        "EpochBasedRunner",
        _TRAIN,
        {"custom_hooks_config": [{**_EMA, "interval": 2}], "checkpoint_config": {"interval": 1}},
    ),
    "keep 2": ("EpochBasedRunner", _TRAIN, {"checkpoint_config": {"interval": 1, "max_keep_ckpts": 2}, "length": 4}),
    "every 2, and the last": ("EpochBasedRunner", _TRAIN, {"checkpoint_config": {"interval": 2, "save_last": True}}),
    "every 2, not the last": (
        "EpochBasedRunner",
        _TRAIN,
        {"checkpoint_config": {"interval": 2, "save_last": False, "save_optimizer": False}},
    ),
    "best accuracy": (
        "EpochBasedRunner",
        _TRAIN,
        {"eval": {"save_best": "acc", "rule": "greater"}, "log_config": _LOG, "length": 4},
    ),
    "best of the first key, from 2 on": (
        "EpochBasedRunner",
        _TRAIN,
        {
            "eval": {"save_best": "auto", "start": 2, "interval": 2, "names": ("loss", "acc")},
            "log_config": _LOG,
            "length": 4,
        },
    ),
    "evaluated before training": (
        "EpochBasedRunner",
        _TRAIN,
        {"eval": {"save_best": "loss", "start": 0}, "log_config": _LOG},
    ),
    "evaluated by iteration": (
        "IterBasedRunner",
        _TRAIN,
        {"eval": {"save_best": "loss", "interval": 5, "by_epoch": False}, "log_config": _LOG},
    ),
    "all of it": (
        "EpochBasedRunner",
        _BOTH,
        {
            "optimizer_config": {"grad_clip": {"max_norm": 1.0}},
            "custom_hooks_config": [_EMA],
            "checkpoint_config": {"interval": 1, "max_keep_ckpts": 2},
            "log_config": _LOG,
            "eval": {"save_best": "loss"},
            "length": 4,
        },
    ),
    "all of it by iteration": (
        "IterBasedRunner",
        [("train", 5), ("val", 2)],
        {
            "optimizer_config": {"grad_clip": {"max_norm": 1.0}},
            "custom_hooks_config": [{**_EMA, "interval": 2}],
            "checkpoint_config": {"interval": 4, "max_keep_ckpts": 2},
            "log_config": _LOG,
            "eval": {"save_best": "loss", "interval": 4, "by_epoch": False},
        },
    ),
}


def train(lib: Any, name: str, folder: Path) -> dict[str, Any]:
    """Give the weights after each epoch (or 4 iterations), the log lines, and what lies in the folder."""
    kind, workflow, config = RUNS[name]
    config = copy.deepcopy(config)
    evaluation, length = config.pop("eval", None), config.pop("length", None)
    config.setdefault("optimizer_config", {})
    weights: list[Any] = []

    class Watch(lib.Hook):
        def after_train_epoch(self, runner: Any) -> None:
            weights.append(_sums(runner.model.state_dict()))

        def after_train_iter(self, runner: Any) -> None:
            if kind == "IterBasedRunner" and self.every_n_iters(runner, 4):
                self.after_train_epoch(runner)

    with repeatable():
        unit = "max_epochs" if kind == "EpochBasedRunner" else "max_iters"
        arguments = {unit: length} if length else {}
        runner = _runner(lib, kind, work_dir=str(folder), meta={"exp_name": "x", "seed": 0}, **arguments)
        runner.register_training_hooks(copy.deepcopy(_STEP), **config)
        if evaluation is not None:
            loader = DataLoader(Points(12, 9), batch_size=5)
            runner.register_hook(lib.EvalHook(loader, **evaluation), priority="LOW")
        runner.register_hook(Watch(), "LOWEST")
        runner.run(_loaders(workflow), workflow)
    return {
        "weights": weights,
        "heads": {key: [item.hex() for item in value] for key, value in _heads(runner.model).items()},
        "log": _log(folder),
        "files": sorted(path.name for path in folder.glob("*.pth")),
        "last": _last(folder),
        "hook_msgs": _messages(runner.meta),
    }


def _sums(state: dict[str, torch.Tensor]) -> dict[str, str]:
    digest = hashlib.sha256(b"".join(value.numpy().tobytes() for _, value in sorted(state.items()))).hexdigest()
    return {"sha": digest[:16], **{key: float(value.double().sum()).hex() for key, value in state.items()}}


def _heads(model: nn.Module) -> dict[str, list[float]]:
    return {key: value.double().flatten()[:2].tolist() for key, value in model.state_dict().items()}


def _log(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for file in folder.glob("*.log.json") for line in file.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("time", "data_time", "memory")} for line in lines]


def _last(folder: Path) -> Any:
    """Describe the file that latest.pth stands for, or the best one."""
    latest = folder / "latest.pth"
    file = latest.resolve() if latest.exists() else next(folder.glob("best_*.pth"), None)
    if file is None:
        return None
    content = torch.load(file, map_location="cpu", weights_only=False)
    optimizer = content.get("optimizer")
    return {
        "name": file.name,
        "keys": sorted(key for key in content if key != "mmhooks"),
        "epoch": content["meta"]["epoch"],
        "iter": content["meta"]["iter"],
        "seed": content["meta"]["seed"],
        "hook_msgs": _messages(content["meta"]),
        "state_dict": _sums(content["state_dict"]),
        "order": list(content["state_dict"]),
        "momentum": None
        if optimizer is None
        else [float(state["momentum_buffer"].double().sum()).hex() for state in optimizer["state"].values()],
    }


def _messages(meta: dict[str, Any]) -> dict[str, Any]:
    shown = {}
    for key, value in meta.get("hook_msgs", {}).items():
        shown[key] = Path(value).name if isinstance(value, str) else float(value).hex()
    return shown

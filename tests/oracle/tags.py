"""What the loggers of services send: tags, steps and values. `lib` is ``mmcv.runner`` or ``mmhooks``."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from scenarios import Net, Points, quiet, repeatable
from torch.utils.data import DataLoader

TRAIN, BOTH = [("train", 1)], [("train", 1), ("val", 1)]

#: The runner, its length, its workflow, the arguments of the logger, and what else there is.
PLANS: dict[str, tuple[str, dict[str, int], Any, dict[str, Any], tuple[str, ...]]] = {
    "epochs": ("EpochBasedRunner", {"max_epochs": 2}, BOTH, {"interval": 2}, ()),
    "epochs, the rest too": ("EpochBasedRunner", {"max_epochs": 2}, TRAIN, {"interval": 3, "ignore_last": False}, ()),
    "epochs, evaluated": ("EpochBasedRunner", {"max_epochs": 2}, TRAIN, {"interval": 2}, ("evaluation",)),
    "epochs, after a text logger": (
        "EpochBasedRunner", {"max_epochs": 2}, TRAIN, {"interval": 2}, ("evaluation", "text"),
    ),
    "two optimizers": ("EpochBasedRunner", {"max_epochs": 1}, TRAIN, {"interval": 2}, ("optimizers",)),
    "iterations": (
        "IterBasedRunner", {"max_iters": 8}, [("train", 4), ("val", 2)], {"interval": 2, "by_epoch": False}, (),
    ),
    "iterations, evaluated": (
        "IterBasedRunner", {"max_iters": 8}, TRAIN, {"interval": 3, "by_epoch": False}, ("evaluation",),
    ),
}  # fmt: skip


def play(lib: Any, name: str, hook: Any, folder: Path) -> None:
    """Train with a logger of a service."""
    kind, length, workflow, _, more = PLANS[name]
    with repeatable():
        loader = DataLoader(Points(), batch_size=5)
        model = Net()
        groups = {"first": model.first, "last": model.last}
        optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        if "optimizers" in more:
            optimizer = {key: torch.optim.SGD(one.parameters(), lr=0.1, momentum=0.5) for key, one in groups.items()}
        runner = getattr(lib, kind)(model, optimizer=optimizer, work_dir=str(folder), logger=quiet(), meta={}, **length)
        by_epoch = kind == "EpochBasedRunner"
        lr = {"policy": "exp", "gamma": 0.5, "by_epoch": by_epoch}
        steps = None if "optimizers" in more else {}
        if "text" in more:
            runner.register_hook(lib.TextLoggerHook(interval=2), "VERY_LOW")
        runner.register_training_hooks(lr, steps, None, {"interval": 2, "hooks": []})
        if "evaluation" in more:
            runner.register_hook(lib.EvalHook(loader, interval=1 if by_epoch else 4, by_epoch=by_epoch), "LOW")
        runner.register_hook(hook, "VERY_LOW")
        runner.run([loader] * len(workflow), workflow)


class Calls(list[Any]):
    """Takes the place of a service, and notes what it is sent."""

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self.append([step, {tag: float(value)}])

    add_text = add_scalar

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.append([step, values])

    def log(self, values: dict[str, float], step: int | None = None, commit: bool = True) -> None:
        self.append([step, values])

    def nothing(self, *args: Any, **kwargs: Any) -> None:
        """Be there."""

    init = join = close = set_experiment = nothing


@contextlib.contextmanager
def instead_of(calls: Calls) -> Iterator[None]:
    """Let MMCV import something that notes calls in the place of each service."""
    tensorboard: Any = ModuleType("torch.utils.tensorboard")
    tensorboard.SummaryWriter = lambda folder: calls
    calls.pytorch = calls  # type: ignore[attr-defined]
    services: dict[str, Any] = dict.fromkeys(("mlflow", "mlflow.pytorch", "wandb"), calls)
    replaced = {"torch.utils.tensorboard": tensorboard, **services}
    before = {name: sys.modules.get(name) for name in replaced}
    sys.modules.update(replaced)
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def record(lib: Any) -> dict[str, Any]:
    """Note what MMCV's loggers send: TensorBoard's in every plan, the others in one."""
    told: dict[str, Any] = {name: sent(lib, name, "TensorboardLoggerHook") for name in PLANS}
    told["mlflow"] = sent(lib, "epochs, evaluated", "MlflowLoggerHook", log_model=False)
    told["wandb"] = sent(lib, "epochs, evaluated", "WandbLoggerHook", log_artifact=False)
    told["wandb, no steps"] = sent(lib, "epochs, evaluated", "WandbLoggerHook", log_artifact=False, with_step=False)
    return told


def sent(lib: Any, plan: str, kind: str, **arguments: Any) -> list[Any]:
    """Train, and give the step and the values of every call."""
    calls = Calls()
    with instead_of(calls), tempfile.TemporaryDirectory() as folder:
        play(lib, plan, getattr(lib, kind)(**PLANS[plan][3], **arguments), Path(folder))
    return list(calls)

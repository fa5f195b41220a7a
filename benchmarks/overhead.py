"""Time per iteration around a tiny model: a bare loop, the native runner, Lightning, and the bridge.

All contestants train the same model on the same batches in one process, in shuffled blocks; the table gives the
median of the blocks and the ratio to the contestant that each is compared with. ``make bench`` runs it.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn

from mmhooks import EpochBasedRunner, Hook
from mmhooks_lightning import HookCallback, HookedModule

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())


class Batches:
    """A loader without a cost: the same batch again and again."""

    def __init__(self, length: int) -> None:
        self.batch = (torch.randn(8, 16), torch.randint(0, 4, (8,)))
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Any:
        return iter([self.batch] * self.length)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        loss = nn.functional.cross_entropy(self.net(data[0]), data[1])
        return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": 8}


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def hooks(lr_config: dict[str, Any]) -> dict[str, Any]:
    log_config = {"interval": 50, "hooks": [{"type": "TextLoggerHook"}]}
    return {"lr_config": lr_config, "optimizer_config": {}, "log_config": log_config}


CONSTANT = {"policy": "fixed"}
MOVING = {"policy": "CosineAnnealing", "min_lr": 0.0, "by_epoch": False}


def bare(n: int) -> None:
    model, loader = Model(), Batches(n)
    optimizer = sgd(model)
    for batch in loader:
        loss = model.train_step(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def native(n: int, lr_config: dict[str, Any] = CONSTANT, extra: int = 0) -> None:
    model = Model()
    runner = EpochBasedRunner(model, optimizer=sgd(model), logger=QUIET, max_epochs=1)
    runner.register_training_hooks(**hooks(lr_config))
    for _ in range(extra):
        runner.register_hook(Hook())
    runner.run([Batches(n)], [("train", 1)])


def trainer(folder: str, *callbacks: Any) -> L.Trainer:
    return L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def bridge(n: int, folder: str, lr_config: dict[str, Any] = CONSTANT, extra: int = 0) -> None:
    callback = HookCallback(work_dir=folder, logger=QUIET)
    callback.register_training_hooks(**hooks(lr_config))
    for _ in range(extra):
        callback.register_hook(Hook())
    model = Model()
    trainer(folder, callback).fit(HookedModule(model, sgd(model)), Batches(n))


class Manual(L.LightningModule):
    """The floor of what a manual-optimization module costs under a Trainer."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        outputs = self.model.train_step(batch)
        optimizer.zero_grad()
        self.manual_backward(outputs["loss"])
        optimizer.step()

    def configure_optimizers(self) -> Any:
        return sgd(self.model)


class Idiomatic(L.LightningModule):
    """What its users write: automatic optimization, a scheduler, a logged loss."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss: torch.Tensor = self.model.train_step(batch)["loss"]
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = sgd(self.model)
        return [optimizer], [{"scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1000), "interval": "step"}]


def idiomatic(n: int, folder: str) -> None:
    fit = trainer(folder)
    fit.loggers = [L.pytorch.loggers.CSVLogger(folder)]
    fit.fit(Idiomatic(), Batches(n))


#: name: (what runs n iterations, the name of what it is compared with)
Contestant = tuple[Callable[[int], None], str]


def contestants(folder: str) -> dict[str, Contestant]:
    return {
        "bare loop": (bare, "bare loop"),
        "native, lr constant": (native, "bare loop"),
        "native, lr moving": (lambda n: native(n, MOVING), "bare loop"),
        "native, 100 idle hooks more": (lambda n: native(n, CONSTANT, 100), "native, lr constant"),
        "Lightning, manual floor": (lambda n: trainer(folder).fit(Manual(), Batches(n)), "Lightning, manual floor"),
        "Lightning, idiomatic": (lambda n: idiomatic(n, folder), "Lightning, manual floor"),
        "bridge, lr constant": (lambda n: bridge(n, folder), "Lightning, manual floor"),
        "bridge, lr moving": (lambda n: bridge(n, folder, MOVING), "Lightning, manual floor"),
        "bridge, 20 idle hooks more": (lambda n: bridge(n, folder, CONSTANT, 20), "bridge, lr constant"),
    }


def per_iteration(run: Callable[[int], None], short: int, long: int) -> float:
    """Seconds an iteration, free of the cost of starting: a long run less a short one."""
    start = time.perf_counter()
    run(short)
    middle = time.perf_counter()
    run(long)
    end = time.perf_counter()
    return ((end - middle) - (middle - start)) / (long - short)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/overhead.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        field = contestants(folder)
        times: dict[str, list[float]] = {name: [] for name in field}
        for run, _ in field.values():
            run(50)
        for _ in range(args.blocks):
            for name in random.sample(list(field), len(field)):
                times[name].append(per_iteration(field[name][0], 100, 100 + args.iterations))
    medians = {name: statistics.median(values) * 1e6 for name, values in times.items()}
    rows = []
    print(f"{'contestant':<30}{'us/iter':>9}{'over':>8}{'ratio':>8}  compared with")
    for name, (_, other) in field.items():
        over, ratio = medians[name] - medians[other], medians[name] / medians[other]
        print(f"{name:<30}{medians[name]:>9.1f}{over:>8.1f}{ratio:>8.3f}  {other}")
        rows.append({"name": name, "us": medians[name], "over_us": over, "ratio": ratio, "compared_with": other})
    print(f"bridge / idiomatic Lightning: {medians['bridge, lr constant'] / medians['Lightning, idiomatic']:.3f}")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps({"torch": torch.__version__, "lightning": L.__version__, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()

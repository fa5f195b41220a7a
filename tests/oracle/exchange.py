"""A run that begins under one library and goes on under the other: `lib` is ``mmcv.runner`` or ``mmhooks``."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

KINDS = ("epochs", "iters", "two optimizers")
TRAIN = [("train", 1)]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

    def train_step(self, data: Any, optimizer: Any, **kwargs: Any) -> dict[str, Any]:
        x, y = data
        loss = nn.functional.cross_entropy(self.last(torch.tanh(self.norm(self.first(x)))), y)
        if isinstance(optimizer, dict):
            for one in optimizer.values():
                one.zero_grad()
            loss.backward()
            for one in optimizer.values():
                one.step()
        return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": len(y)}


def loader() -> DataLoader[Any]:
    source = torch.Generator().manual_seed(5)
    rows = [(torch.randn(3, generator=source), torch.randint(2, (), generator=source)) for _ in range(20)]
    return DataLoader(rows, batch_size=5)  # type: ignore[arg-type]


def run(lib: Any, kind: str, folder: Path, *, end: bool, resume: Path | None = None) -> Any:
    """Train half of the way, or to the end; give the runner."""
    model = Net()
    optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9, weight_decay=0.01)
    if kind == "two optimizers":
        optimizer = {
            "body": torch.optim.SGD([*model.first.parameters(), *model.norm.parameters()], lr=0.2, momentum=0.9),
            "head": torch.optim.Adam(model.last.parameters(), lr=0.02),
        }
    make: Callable[..., Any] = lib.IterBasedRunner if kind == "iters" else lib.EpochBasedRunner
    length = {"max_iters": 14 if end else 8} if kind == "iters" else {"max_epochs": 4 if end else 2}
    runner = make(model, optimizer=optimizer, work_dir=str(folder), logger=_logger(), meta={}, **length)
    runner.register_training_hooks(
        {"policy": "step", "step": [6, 11] if kind == "iters" else [1, 3], "warmup": "linear", "warmup_iters": 10},
        None if kind == "two optimizers" else {"grad_clip": {"max_norm": 0.5}},
        {"interval": 8 if kind == "iters" else 2},
    )
    if resume is not None:
        runner.resume(str(resume), map_location="cpu")
    runner.run([loader()], TRAIN)
    return runner


def _logger() -> Any:
    import logging

    logger = logging.getLogger("exchange")
    logger.setLevel(logging.ERROR)
    return logger


def halfway(folder: Path) -> Path:
    """Give the file that a run to the half has written."""
    return (folder / "latest.pth").resolve()


def weights(runner: Any) -> dict[str, list[str]]:
    """Give every value of the model, in hexadecimal."""
    return {
        key: [v.hex() for v in value.double().flatten().tolist()] for key, value in runner.model.state_dict().items()
    }


def record(lib: Any, golden: Path) -> dict[str, Any]:
    """Let MMCV write a file of each kind into ``tests/golden``, and say where its own resumed runs end.

    A file of mmhooks that MMCV resumes must end there too.
    """
    import mmhooks

    ends: dict[str, Any] = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            run(lib, kind, folder / "theirs", end=False)
            run(mmhooks, kind, folder / "ours", end=False)
            theirs = halfway(folder / "theirs")
            ends[kind] = weights(run(lib, kind, folder / "end", end=True, resume=theirs))
            back = weights(run(lib, kind, folder / "back", end=True, resume=halfway(folder / "ours")))
            assert back == ends[kind], f"{kind}: MMCV resumed a file of mmhooks and ended elsewhere"
            if kind != "iters":  # there MMCV repeats an iteration
                assert ends[kind] == weights(run(lib, kind, folder / "whole", end=True)), kind
            (golden / f"{kind.replace(' ', '_')}.pth").write_bytes(theirs.read_bytes())
    return ends

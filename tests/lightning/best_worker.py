"""One of two processes of a Trainer that judge differently: ``python best_worker.py`` writes ``seen<rank>.pt``."""

import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader, Dataset

from mmhooks import EvalHook
from mmhooks_lightning import HookCallback, HookedModule

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())

#: What each rank finds after each epoch, and what the hook is asked for.
CASES: dict[str, tuple[list[list[dict[str, float]]], dict[str, Any]]] = {
    "other bests": ([[{"acc": s} for s in (1, 3, 2)], [{"acc": s} for s in (2, 1, 5)]], {"save_best": "acc"}),
    "a zero": ([[{"acc": s} for s in (1, 0, 2)], [{"acc": s} for s in (0, 7, 0)]], {"save_best": "acc"}),
    "other names": ([[{"acc": s} for s in (1, 2, 0)], [{"loss": 5}, {}, {"acc": 9}]], {"save_best": "auto"}),
}


class Scores(Dataset[torch.Tensor]):
    def __init__(self, values: list[dict[str, float]]) -> None:
        self.values = iter(values)

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.ones(3)

    def evaluate(self, results: Any, logger: Any = None) -> dict[str, float]:
        return next(self.values)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 2)

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        return {"loss": self.net(data).sum()}


def tested(model: nn.Module, loader: Any) -> list[Any]:
    return []


def train(rank: int, case: str) -> dict[str, Any]:
    values, arguments = CASES[case]
    hook = EvalHook(DataLoader(Scores(values[rank])), test_fn=tested, **arguments)
    callback = HookCallback([hook], work_dir=case, logger=QUIET)
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=[callback],
        max_epochs=3,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        strategy=DDPStrategy(timeout=timedelta(seconds=40)),
        devices=2,
    )
    trainer.fit(HookedModule(Net(), {"type": "SGD", "lr": 0.1}), DataLoader(Scores([]), batch_size=2))
    meta = callback.runner.meta
    assert meta is not None
    best = meta["hook_msgs"]
    return {"score": best["best_score"], "file": Path(best["best_ckpt"]).name, "rule": hook.rule}


def main(rank: int) -> None:
    torch.save({case: train(rank, case) for case in CASES}, f"seen{rank}.pt")


if __name__ == "__main__":
    main(int(os.environ["RANK"]))

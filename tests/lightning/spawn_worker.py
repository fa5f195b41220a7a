"""Trains by a strategy that starts its processes itself: ``python spawn_worker.py STRATEGY FILE``."""

import logging
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mmhooks import CheckpointHook, EMAHook, OptimizerHook
from mmhooks_lightning import HookCallback, HookedModule


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 2)

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        loss = nn.functional.cross_entropy(self.net(data[0]), data[1])
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data[0])}


def main(strategy: str, path: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(48, 4)
    model = Net()
    hooks = [OptimizerHook(), (EMAHook(momentum=0.1), "HIGH"), CheckpointHook(interval=1)]
    bridge = HookCallback(hooks, work_dir="work", logger=logging.getLogger("quiet"))
    trainer = L.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=strategy,
        max_epochs=2,
        callbacks=[bridge],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(HookedModule(model, {"type": "SGD", "lr": 0.1}), DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 4))
    files = sorted(file.name for file in Path("work").glob("*.pth"))
    torch.save({"weights": dict(model.state_dict()), "files": files}, path)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""One of two processes whose buffers are averaged: ``python buffers_worker.py`` writes them to ``buffers.pt``."""

import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from mmhooks import ClosureHook, EpochBasedRunner, SyncBuffersHook


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.last = nn.BatchNorm1d(3), nn.Linear(3, 2)

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        return {"loss": self.last(self.norm(data)).mean()}


def main(distributed: bool) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model = Net()
    runner = EpochBasedRunner(model, max_epochs=2)
    seen: list[Any] = []

    def note(runner: Any) -> None:
        seen.append({name: buffer.clone() for name, buffer in model.named_buffers()})

    runner.register_hook(ClosureHook("after_train_epoch", note), "HIGH")
    runner.register_hook(SyncBuffersHook(distributed))
    runner.register_hook(ClosureHook("after_train_epoch", note), "LOW")
    torch.manual_seed(rank)
    runner.run([[torch.randn(8, 3) + rank for _ in range(3)]], [("train", 1)])
    torch.save(seen, "buffers.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1] == "True")

"""One of two processes under a Trainer: ``python exchange_worker.py FILE`` writes how often gradients are exchanged."""

import logging
import os
import sys
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.utils.data import DataLoader

from mmhooks import GradientCumulativeOptimizerHook
from mmhooks_lightning import HookCallback, HookedModule

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(3, 2)

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        loss = nn.functional.cross_entropy(self.net(data["x"]), data["y"])
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data["y"])}


def batches(half: slice = slice(None)) -> list[dict[str, torch.Tensor]]:
    """Eight batches of six samples, or a part of each."""
    source = torch.Generator().manual_seed(1)
    whole = [(torch.randn(6, 3, generator=source), torch.randint(2, (6,), generator=source)) for _ in range(8)]
    return [{"x": x[half], "y": y[half]} for x, y in whole]


class Counter(L.Callback):
    """Counts the exchanges of a DistributedDataParallel."""

    def __init__(self) -> None:
        self.exchanges = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        trainer.strategy.model.register_comm_hook(None, self.count)

    def count(self, state: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        self.exchanges += 1
        return allreduce_hook(dist.group.WORLD, bucket)


def train(loader: Any, *, skip_exchange: bool = False, **settings: Any) -> dict[str, Any]:
    """Train with groups of four iterations."""
    hook = GradientCumulativeOptimizerHook(4, skip_exchange=skip_exchange)
    counter, net = Counter(), Net()
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=[HookCallback([hook], by_epoch=False, max_iters=8, work_dir="work", logger=QUIET)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **settings,
    )
    if "strategy" in settings:
        trainer.callbacks.append(counter)  # type: ignore[attr-defined]
    trainer.fit(HookedModule(net, {"type": "SGD", "lr": 0.1, "momentum": 0.9}), DataLoader(loader, batch_size=None))
    weights = torch.cat([p.detach().flatten() for p in net.parameters()])
    return {"exchanges": counter.exchanges, "weights": weights, "steps": trainer.global_step}


def main(path: str, rank: int) -> None:
    loader = batches(slice(3 * rank, 3 * rank + 3))
    seen = {skip: train(loader, skip_exchange=skip, strategy=DDPStrategy(), devices=2) for skip in (False, True)}
    torch.save(seen, f"{path}{rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], int(os.environ["RANK"]))

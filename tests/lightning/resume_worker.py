"""One of two processes whose run is cut and resumed: ``python resume_worker.py`` writes ``seen<rank>.pt``."""

import logging
import os
from datetime import timedelta
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader

from mmhooks import CheckpointHook, EMAHook, EpochBasedRunner, Hook
from mmhooks.distributed import MMDistributedDataParallel, init_dist
from mmhooks_lightning import HookCallback, HookedModule

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())

ACCUMULATE = {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 3, "grad_clip": {"max_norm": 0.5}}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        loss = nn.functional.cross_entropy(self.net(data["x"]), data["y"])
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data["y"])}


def loader(rank: int) -> Any:
    """Five batches, other ones on each rank."""
    source = torch.Generator().manual_seed(rank)
    batches = [{"x": torch.randn(3, 3, generator=source), "y": torch.randint(2, (3,), generator=source)}
               for _ in range(5)]  # fmt: skip
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


class Cut(Exception):
    pass


class SaveAndCut(Hook):
    def __init__(self, at: int) -> None:
        self.at = at

    def after_train_iter(self, runner: Any) -> None:
        if runner.iter == self.at:
            runner.save_checkpoint(runner.work_dir, "cut.pth", create_symlink=False)
            torch.distributed.barrier()  # natively rank 0 alone writes, and nobody waits for it
            raise Cut


def leg(
    driver: str, folder: str, rank: int, at: int | None = None, file: str | None = None, async_save: bool = False
) -> dict[str, Any]:
    """Train until the end, or until a cut."""
    model = Net()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    target: Any
    if driver == "native":
        wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
        target = EpochBasedRunner(wrapped, optimizer=sgd, work_dir=folder, logger=QUIET, max_epochs=3)
    else:
        target = HookCallback(work_dir=folder, logger=QUIET)
    target.register_training_hooks({"policy": "step", "step": [1, 2]}, ACCUMULATE)
    target.register_hook(EMAHook(momentum=0.1), "ABOVE_NORMAL")
    target.register_hook(CheckpointHook(interval=1, max_keep_ckpts=1, async_save=async_save))
    if at is not None:
        target.register_hook(SaveAndCut(at), "LOWEST")
    try:
        if driver == "native":
            if file is not None:
                target.resume(file)
            target.run([loader(rank)], [("train", 1)])
        else:
            trainer = L.Trainer(
                max_epochs=3,
                accelerator="cpu",
                devices=2,
                strategy=DDPStrategy(timeout=timedelta(seconds=60), broadcast_buffers=False),
                callbacks=[target],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
            )
            trainer.fit(HookedModule(model, sgd), loader(rank), ckpt_path=file)
    except Cut:
        pass
    return {"weights": model.state_dict(), "optimizer": sgd.state_dict()}


def main(rank: int) -> None:
    init_dist("pytorch", backend="gloo")
    seen = {"whole": leg("native", "whole", rank), "whole, Lightning": leg("lightning", "bridge", rank)}
    for order in (("native", "lightning", "native"), ("lightning", "native", "lightning")):
        folder, file = "-".join(order), None
        for driver, at in zip(order, (3, 9, None), strict=True):
            seen[folder] = leg(driver, folder, rank, at, file)
            file = f"{folder}/cut.pth"
    for driver in ("native", "lightning"):
        leg(driver, f"{driver}, async", rank, 12, async_save=True)
        torch.distributed.barrier()  # rank 0 has waited for its file when the run was over
        seen[f"{driver}, async"] = leg(driver, f"{driver}, async", rank, file=f"{driver}, async/latest.pth")
    torch.save(seen, f"seen{rank}.pt")


if __name__ == "__main__":
    main(int(os.environ["RANK"]))

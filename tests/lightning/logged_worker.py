"""One of two processes under a Trainer: ``python logged_worker.py FILE`` writes what can be monitored there."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader

from mmhooks import Hook
from mmhooks_lightning import HookCallback

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())


class Lit(L.LightningModule):
    """Logs its rank, of itself and of all."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(3, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("rank", float(self.global_rank), batch_size=1)
        self.log("ranks", float(self.global_rank), batch_size=1, sync_dist=True)
        return self.net(batch).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_ranks", float(self.global_rank), batch_size=1, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Judge(Hook):
    """Leaves a score on rank 0 alone, as DistEvalHook does, which falls from the second epoch on."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float]] = []
        self.val: list[float] = []

    def after_train_iter(self, runner: Any) -> None:
        history = runner.log_buffer.val_history
        self.seen.append((float(history["rank"][-1]), float(history["ranks"][-1])))

    def after_train_epoch(self, runner: Any) -> None:
        if runner.rank == 0:
            runner.log_buffer.output["acc"] = [0.5, 0.75, 0.5, 0.25, 0.125, 0.0][runner.epoch]
            runner.log_buffer.ready = True

    def after_val_epoch(self, runner: Any) -> None:
        self.val += [float(value) for value in runner.log_buffer.val_history["val_ranks"]]


def main(path: str, rank: int) -> None:
    judge = Judge()
    folder = Path(path).parent
    stop = EarlyStopping("acc", mode="max", patience=2)
    best = ModelCheckpoint(folder / "best", monitor="acc", mode="max", filename="{epoch}-{acc:.2f}")
    trainer = L.Trainer(
        accelerator="cpu",
        strategy=DDPStrategy(),
        devices=2,
        max_epochs=6,
        callbacks=[stop, HookCallback([judge], work_dir=folder / "work", logger=QUIET), best],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    loader = DataLoader([torch.ones(3)] * 2, batch_size=1)
    trainer.fit(Lit(), loader, loader)
    found = {
        "acc": float(trainer.callback_metrics["acc"]),
        "best": float(best.best_model_score),
        "epochs": trainer.current_epoch,
        "train": judge.seen,
        "val": judge.val,
    }
    torch.save(found, f"{path}{rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], int(os.environ["RANK"]))

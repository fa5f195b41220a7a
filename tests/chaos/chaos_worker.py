"""A training process to be killed: ``python chaos_worker.py driver unit folder [options]``; it prints ``at N``.

It goes on from the newest whole checkpoint in the folder, and writes ``end<rank>.pt`` when it is through.
"""

import argparse
import logging
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from mmhooks import EpochBasedRunner, Hook, IterBasedRunner, Preempted, PreemptHook
from mmhooks.build import newest_whole
from mmhooks.distributed import MMDistributedDataParallel, get_dist_info, init_dist, set_random_seed
from mmhooks_lightning import HookCallback, HookedModule

LENGTH = {"epochs": 4, "iters": 24}
INTERVAL = {"epochs": 1, "iters": 4}
BATCHES = 6


class Net(nn.Module):
    def __init__(self, size: int = 0) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
        if size:
            self.register_buffer("ballast", torch.zeros(size * 2**18))  # so many MB

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        x, y = data
        loss = nn.functional.cross_entropy(self.body(x), y)
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(x)}

    val_step = train_step


class Augmented(Dataset[Any]):
    def __init__(self, length: int) -> None:
        self.x = torch.randn(length, 4, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        x = self.x[index] * random.uniform(0.9, 1.1) + np.random.randn() * 0.01 + torch.randn(4) * 0.01
        return x, int(self.x[index].sum() > 0)


class SignalMyself(Hook):
    """What a job scheduler does to one of several processes, at a known moment."""

    def __init__(self, rank: str, name: str, iteration: str) -> None:
        self.rank, self.number, self.iteration = int(rank), signal.Signals[name], int(iteration)

    def before_train_iter(self, runner: Any) -> None:
        if (runner.rank, runner.iter) == (self.rank, self.iteration):
            signal.raise_signal(self.number)


class Tell(Hook):
    """Says where the run is, and takes its time."""

    def __init__(self, pause: float) -> None:
        self.pause = pause

    def before_train_iter(self, runner: Any) -> None:
        if runner.rank == 0:
            print("at", runner.iter, flush=True)
        time.sleep(self.pause)

    def before_val_iter(self, runner: Any) -> None:
        if runner.rank == 0:
            print("val", runner.iter, flush=True)
        time.sleep(self.pause)


def slow_writes(pause: float) -> None:
    """Let a checkpoint be half written for a while, as a big one is."""
    save = torch.save

    def slow(content: Any, file: Any, *args: Any, **kwargs: Any) -> None:
        save(content, file, *args, **kwargs)
        if hasattr(file, "flush"):
            file.flush()
        time.sleep(pause)

    torch.save = slow


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("unit")
    parser.add_argument("folder")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--slow-writes", type=float, default=0.0)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--preempt", action="store_true")
    parser.add_argument("--val", action="store_true")
    parser.add_argument("--interval", type=int)
    parser.add_argument("--uncoupled", action="store_true")
    parser.add_argument("--async-save", action="store_true")
    parser.add_argument("--signal", nargs=3, metavar=("RANK", "SIGNAL", "ITERATION"))
    options = parser.parse_args(words)
    if "RANK" in os.environ:
        init_dist("pytorch", backend="gloo")
    try:
        train(options)
    except Preempted as error:
        if not torch.distributed.is_initialized():
            raise
        Path(options.folder, f"code{os.environ['RANK']}").write_text(str(error.code))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def train(options: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.WARNING)
    rank, world_size = get_dist_info()
    if options.slow_writes:
        slow_writes(options.slow_writes)
    by_epoch = options.unit == "epochs"
    dataset = Augmented(BATCHES * 8 * world_size)
    order = {"sampler": DistributedSampler(dataset)} if world_size > 1 else {"shuffle": True}
    loaders = [DataLoader(dataset, 8, **order), DataLoader(Augmented(40), 8)][: 1 + options.val]
    workflow = [("train", 1 if by_epoch else 4), *([("val", 1 if by_epoch else 2)] if options.val else [])]
    torch.manual_seed(4)
    model = Net(options.size)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    found = newest_whole(Path(options.folder), logging.getLogger("mmhooks"))
    if options.driver == "native":
        cls = EpochBasedRunner if by_epoch else IterBasedRunner
        wrapped = MMDistributedDataParallel(model) if world_size > 1 and not options.uncoupled else model
        runner: Any = cls(
            wrapped, optimizer=sgd, work_dir=options.folder, **{f"max_{options.unit}": LENGTH[options.unit]}
        )
        equip(runner, options, by_epoch)
        if found is not None:
            runner.resume(found)
        set_random_seed(5, use_rank_shift=True)
        runner.run(loaders, workflow)
    else:
        fit(options, by_epoch, model, sgd, loaders, workflow, found, world_size)
    torch.save({"weights": model.state_dict(), "optimizer": sgd.state_dict()}, Path(options.folder, f"end{rank}.pt"))


def fit(
    options: Any, by_epoch: bool, model: Any, sgd: Any, loaders: Any, workflow: Any, found: Any, world_size: int
) -> None:
    iters = None if by_epoch else LENGTH["iters"]
    bridge = HookCallback(work_dir=options.folder, by_epoch=by_epoch, max_iters=iters, workflow=workflow)
    equip(bridge, options, by_epoch)
    trainer = L.Trainer(
        max_epochs=LENGTH["epochs"] if by_epoch else -1,
        callbacks=[bridge],
        accelerator="cpu",
        devices=world_size,
        strategy="ddp" if world_size > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    set_random_seed(5, use_rank_shift=True)
    trainer.fit(HookedModule(model, sgd), *loaders, ckpt_path=found)


def equip(target: Any, options: Any, by_epoch: bool) -> None:
    target.register_training_hooks(
        {"policy": "CosineAnnealing", "min_lr": 0.001},
        {"type": "OptimizerHook"},
        {"interval": options.interval or INTERVAL[options.unit], "max_keep_ckpts": 2, "async_save": options.async_save},
        custom_hooks_config=[{"type": "EMAHook", "momentum": 0.1, "priority": "ABOVE_NORMAL"}, Tell(options.pause),
                             {"type": "DistSamplerSeedHook"}],
    )  # fmt: skip
    if options.signal:
        target.register_hook(SignalMyself(*options.signal))
    if options.preempt:
        target.register_hook(PreemptHook(), "LOWEST")


if __name__ == "__main__":
    main()

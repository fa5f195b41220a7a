"""One of two processes: ``python ddp_worker.py FILE`` writes what runs under a Trainer's strategies have come to."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, DistributedSampler, Sampler, TensorDataset

from mmhooks import (
    CheckpointHook,
    DistEvalHook,
    DistSamplerSeedHook,
    EMAHook,
    EpochBasedRunner,
    Hook,
    IterBasedRunner,
    IterTimerHook,
    MMHooksError,
    OptimizerHook,
    TextLoggerHook,
)
from mmhooks.distributed import MMDistributedDataParallel, init_dist
from mmhooks_lightning import HookCallback, HookedModule

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())
RANK = int(os.environ["RANK"])
TRAINING = {
    "lr_config": {"policy": "step", "step": [1], "warmup": "linear", "warmup_iters": 3},
    "optimizer_config": {"grad_clip": {"max_norm": 1.0}},
    "checkpoint_config": {"interval": 1, "max_keep_ckpts": 1},
    "log_config": {"interval": 2, "hooks": [{"type": "TextLoggerHook"}]},
}
SGD = {"type": "SGD", "lr": 0.1, "momentum": 0.9}


class Net(nn.Module):
    """An MMCV-style model; ``spare`` is a part that no loss depends on."""

    def __init__(self, spare: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        self.spare = nn.Linear(1, 1) if spare else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.body(x)
        return scores

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        loss = nn.functional.cross_entropy(self(data[0]), data[1])
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data[0])}

    val_step = train_step


class Lit(L.LightningModule):
    """An ordinary module."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def configure_model(self) -> None:
        if isinstance(self.trainer.strategy, ModelParallelStrategy):
            fully_shard(self.net, mesh=self.device_mesh["data_parallel"])

    def forward(self, x: torch.Tensor, return_loss: bool = True) -> list[torch.Tensor]:
        return list(self.net(x))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("v", self.training_step(batch, batch_idx), sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


class Judged(TensorDataset):
    """A data set as MMCV's code has them: it judges what a model has found."""

    def __init__(self) -> None:
        super().__init__(*dataset().tensors)

    def __getitem__(self, index: Any) -> Any:
        return {"x": self.tensors[0][index]}

    def evaluate(self, results: list[Any], logger: Any = None) -> dict[str, float]:
        assert len(results) == len(self)
        return {"hits": float((torch.stack(results).argmax(1) == self.tensors[1]).float().mean())}


class Share(Sampler[int]):
    """A sampler as MMCV's code has them: it knows the ranks, and is no DistributedSampler."""

    num_replicas = 2

    def __iter__(self) -> Any:
        return iter(range(RANK, 48, 2))

    def __len__(self) -> int:
        return 24


def dataset() -> TensorDataset:
    x = torch.randn(48, 4, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x, (x.sum(1) > 0).long())


def loader(kind: str = "distributed") -> DataLoader[Any]:
    samplers = {
        "distributed": lambda: DistributedSampler(dataset(), 2, RANK, shuffle=True, seed=3),
        "share": Share,
        "none": lambda: None,
    }
    return DataLoader(dataset(), 4, sampler=samplers[kind]())


def make_trainer(*callbacks: Any, **settings: Any) -> L.Trainer:
    defaults = {
        "accelerator": "cpu",
        "devices": 2,
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "use_distributed_sampler": False,
    }
    return L.Trainer(callbacks=list(callbacks), **{**defaults, **settings})


def files(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).glob("*"))


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


# a HookedModule and a native run ----------------------------------------------------------------------------


def register(target: Any, by_epoch: bool) -> None:
    target.register_training_hooks(**TRAINING)
    target.register_hook(EMAHook(momentum=0.1, swap_interval=None if by_epoch else 4), "ABOVE_NORMAL")
    target.register_hook(DistSamplerSeedHook())


def length(by_epoch: bool) -> dict[str, int]:
    return {"max_epochs": 2} if by_epoch else {"max_iters": 9}


def workflow(by_epoch: bool) -> list[tuple[str, int]]:
    return [("train", 1), ("val", 1)] if by_epoch else [("train", 4), ("val", 2)]


def native(by_epoch: bool, spare: bool = False, **options: Any) -> dict[str, Any]:
    net, folder = Net(spare), f"native{by_epoch}{spare}"
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    cls = EpochBasedRunner if by_epoch else IterBasedRunner
    model = MMDistributedDataParallel(net, **options)
    runner = cls(
        model, optimizer=optimizer, work_dir=folder, logger=QUIET, **length(by_epoch)  # type: ignore[arg-type]
    )  # fmt: skip
    register(runner, by_epoch)
    runner.run([loader(), loader()], workflow(by_epoch))
    return {"weights": weights(net), "files": [name for name in files(folder) if name.endswith(".pth")]}


def hooked(by_epoch: bool, strategy: Any, spare: bool = False) -> dict[str, Any]:
    net, folder = Net(spare), f"hooked{by_epoch}{spare}"
    bridge = HookCallback(
        work_dir=folder,
        by_epoch=by_epoch,
        max_iters=None if by_epoch else 9,
        workflow=workflow(by_epoch),
        logger=QUIET,
    )
    register(bridge, by_epoch)
    trainer = make_trainer(bridge, strategy=strategy, max_epochs=2 if by_epoch else -1)
    trainer.fit(HookedModule(net, SGD), loader(), loader())
    runner = bridge.runner
    return {
        "weights": weights(net),
        "files": [name for name in files(folder) if name.endswith(".pth")],
        "place": (runner.rank, runner.world_size, runner.iter),
    }


def same_as_native() -> dict[str, Any]:
    unused = "ddp_find_unused_parameters_true"
    return {
        "epochs": (native(True, broadcast_buffers=False), hooked(True, DDPStrategy(broadcast_buffers=False))),
        "iterations": (native(False), hooked(False, "ddp")),
        "unused": (native(True, True, find_unused_parameters=True), hooked(True, unused, True)),
    }


# an ordinary module -----------------------------------------------------------------------------------------


class Seen(Hook):
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.points: list[str] = []

    def after_train_iter(self, runner: Any) -> None:
        self.losses.append(runner.outputs["loss"].item())

    def after_run(self, runner: Any) -> None:
        self.points.append("after_run")


def ordinary() -> dict[str, Any]:
    module, seen = Lit(), Seen()
    hooks = [
        (EMAHook(momentum=0.1), "HIGH"),
        CheckpointHook(interval=1),
        seen,
        DistEvalHook(DataLoader(Judged(), 4, sampler=DistributedSampler(Judged(), 2, RANK, shuffle=False)), interval=1),
        (IterTimerHook(), "LOW"),
        (TextLoggerHook(interval=2), "VERY_LOW"),
    ]
    bridge = HookCallback(hooks, work_dir="ordinary", logger=QUIET, meta={"a": 1})
    trainer = make_trainer(bridge, strategy="ddp", use_distributed_sampler=True)
    trainer.fit(module, loader("none"), loader("none"))
    return {
        "weights": weights(module),
        "losses": seen.losses,
        "files": files("ordinary"),
        "place": (bridge.runner.rank, bridge.runner.world_size, bridge.runner.iter),
        "v": float(trainer.callback_metrics["v"]),
        "lines": [json.loads(line) for log in Path("ordinary").glob("*.json") for line in log.read_text().splitlines()],
    }


# stopping ---------------------------------------------------------------------------------------------------


class Stop(Hook):
    """Stops on some ranks: at the end of the first epoch, or in the third iteration."""

    def __init__(self, ranks: tuple[int, ...], at_end: bool) -> None:
        self.ranks, self.at_end = ranks, at_end

    def after_train_iter(self, runner: Any) -> None:
        if RANK in self.ranks and not self.at_end and runner.iter == 2:
            runner.stop("enough")

    def after_train_epoch(self, runner: Any) -> None:
        if RANK in self.ranks and self.at_end:
            runner.stop("enough")


def stopped(ranks: tuple[int, ...], at_end: bool) -> tuple[int, int]:
    bridge = HookCallback([OptimizerHook(), Stop(ranks, at_end)], work_dir="stopped", logger=QUIET)
    make_trainer(bridge, strategy="ddp").fit(HookedModule(Net(), SGD), loader())
    return bridge.runner.epoch, bridge.runner.iter


# what is refused --------------------------------------------------------------------------------------------


def refused(module: Any, hooks: list[Any], data: Any, **settings: Any) -> str:
    try:
        make_trainer(HookCallback(hooks, work_dir="refused", logger=QUIET), **settings).fit(module, data)
    except MMHooksError as error:
        return str(error)
    return "nothing was refused"


class CpuFSDP(FSDPStrategy):
    """Not refused by the Trainer itself on a CPU."""


def model_parallel() -> Any:
    return ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1, save_distributed_checkpoint=False)


def refusals() -> dict[str, str]:
    def make() -> HookedModule:
        return HookedModule(Net(), SGD)

    return {
        "sampler": refused(make(), [OptimizerHook()], loader("share"), strategy="ddp", use_distributed_sampler=True),
        "sync_batchnorm": refused(make(), [OptimizerHook()], loader(), strategy="ddp", sync_batchnorm=True),
        "hooked fsdp": refused(make(), [OptimizerHook()], loader(), strategy=CpuFSDP()),
        "ema fsdp": refused(Lit(), [EMAHook()], loader(), strategy=CpuFSDP()),
        "ema": refused(Lit(), [EMAHook()], loader(), strategy=model_parallel()),
        "checkpoint": refused(Lit(), [CheckpointHook()], loader(), strategy=model_parallel()),
    }  # fmt: skip


def sharded() -> dict[str, Any]:
    """An ordinary module in parts: hooks that need no whole parameters work."""
    seen = Seen()
    bridge = HookCallback([seen, TextLoggerHook(interval=2)], work_dir="sharded", logger=QUIET)
    saver = ModelCheckpoint("sharded", filename="own")
    trainer = make_trainer(bridge, saver, strategy=model_parallel(), enable_checkpointing=True)
    trainer.fit(Lit(), loader())
    keys = [sorted(torch.load(path, weights_only=False)) for path in Path("sharded").glob("own.ckpt")]
    return {"losses": seen.losses, "points": seen.points, "keys": keys}


def main(path: str) -> None:
    init_dist("pytorch")
    found = {
        "same": same_as_native(),
        "ordinary": ordinary(),
        "all at an end": stopped((0, 1), True),
        "one at an end": stopped((1,), True),
        "all in between": stopped((0, 1), False),
        "refused": refusals(),
        "sharded": sharded(),
    }
    torch.save(found, f"{path}{RANK}.pt")


if __name__ == "__main__":
    main(sys.argv[1])

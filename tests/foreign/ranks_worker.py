"""One of two processes with hooks of mmcv: ``python ranks_worker.py`` writes what it has seen to ``seen<rank>.pt``."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joined  # noqa: F401  (before mmcv)
import lightning as L
import mmcv.runner as mmcv
import torch
from lightning.pytorch.strategies import DDPStrategy
from real_mmcv import Net, Points, points, sgd
from torch.utils.data import DataLoader, DistributedSampler

import mmhooks
from mmhooks import EpochBasedRunner, HookError, init_dist
from mmhooks.distributed import MMDistributedDataParallel
from mmhooks_lightning import HookCallback, HookedModule, LightningRunner

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())


class Theirs(mmcv.OptimizerHook):
    """Steps in a way of its own, past the runner."""

    def after_train_iter(self, runner: Any) -> None:
        runner.optimizer.zero_grad()
        (2 * runner.outputs["loss"]).backward()
        runner.optimizer.step()


class Ours(mmhooks.OptimizerHook):
    """The same, as the refusal tells to write it."""

    def after_train_iter(self, runner: Any) -> None:
        runner.zero_grad(runner.optimizer)
        runner.backward(2 * runner.outputs["loss"])
        runner.optimizer_step(runner.optimizer)


class Kept(mmcv.CheckpointHook):
    """Saves when its interval says so, on rank 0 alone as mmcv does."""

    def after_run(self, runner: Any) -> None:
        pass


class Judge(mmcv.EvalHook):
    def _do_evaluate(self, runner: Any) -> None:
        super()._do_evaluate(runner)


def share(size: int = 24, shuffle: bool = True) -> DataLoader[Any]:
    return DataLoader(Points(size), batch_size=3, sampler=DistributedSampler(Points(size), shuffle=shuffle, seed=3))


def native(folder: str, hooks: list[Any]) -> dict[str, Any]:
    torch.manual_seed(0)
    net = Net()
    optimizer = sgd(net)
    model = MMDistributedDataParallel(net, broadcast_buffers=False)
    runner = EpochBasedRunner(model, optimizer=optimizer, work_dir=folder, logger=QUIET, meta={}, max_epochs=2)
    for hook in hooks:
        runner.register_hook(hook)
    runner.run([share()], [("train", 1)])
    return seen(runner, net, folder)


def trainer(folder: str, hooks: list[Any]) -> dict[str, Any]:
    torch.manual_seed(0)
    net = Net()
    bridge = HookCallback(hooks, work_dir=folder, logger=QUIET, meta={})
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    fit = L.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=DDPStrategy(broadcast_buffers=False),
        max_epochs=2,
        callbacks=[bridge],
        use_distributed_sampler=False,
        **quiet,
    )
    fit.fit(HookedModule(net, sgd(net)), share())
    return seen(bridge.runner, net, folder)


def seen(runner: Any, net: Net, folder: str) -> dict[str, Any]:
    return {
        "weights": torch.cat([parameter.detach().flatten() for parameter in net.parameters()]),
        "mean": net.norm.running_mean.clone(),
        "files": sorted(path.name for path in Path(folder).glob("*.pth")),
        "best": (runner.meta or {}).get("hook_msgs", {}).get("best_score"),
        "iter": runner.iter,
    }


def told(run: Callable[..., Any], *args: Any) -> str:
    try:
        run(*args)
    except HookError as error:
        return str(error)
    return ""


def evaluation(kind: Any, **arguments: Any) -> Any:
    return kind(share(10, shuffle=False), **arguments)


def main(rank: int) -> None:
    time.sleep = lambda seconds: None
    init_dist("pytorch", backend="gloo")
    found: dict[str, Any] = {
        "native, theirs": native("a", [Theirs(), mmcv.DistSamplerSeedHook(), Kept(1), Judge(points())]),
        "native, ours": native("b", [*ours(), mmhooks.CheckpointHook(1)]),
        "native, replaced": native("c", [*replaced(), mmcv.SyncBuffersHook()]),
        "trainer, replaced": trainer("d", replaced()),
        "trainer, ours": trainer("e", ours()),
        "refused": [
            told(trainer, "f", [Theirs()]),
            told(trainer, "g", [mmhooks.OptimizerHook(), Kept(1)]),
            told(trainer, "h", [mmhooks.OptimizerHook(), Judge(points(), save_best="acc")]),
        ],
    }
    LightningRunner.check_bypass = lambda *args: None  # type: ignore[method-assign]
    found["not refused"] = trainer("i", [Theirs(), mmhooks.DistSamplerSeedHook()])
    torch.save(found, f"seen{rank}.pt")


def ours() -> list[Any]:
    return [Ours(), mmhooks.DistSamplerSeedHook(), Judge(points())]


def replaced() -> list[Any]:
    """Hooks of mmcv's own."""
    best = evaluation(mmcv.DistEvalHook, save_best="loss")
    return [mmcv.OptimizerHook(), mmcv.DistSamplerSeedHook(), mmcv.CheckpointHook(1), best]


if __name__ == "__main__":
    main(int(os.environ["RANK"]))

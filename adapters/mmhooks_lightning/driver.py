"""The driver ``lightning``: a RunSpec trained by a Trainer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch.distributed as dist
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from mmhooks.checkpoint import load_checkpoint
from mmhooks.distributed import get_dist_info, unwrap
from mmhooks.distributed.wrappers import BUFFERS_OPTION
from mmhooks.errors import ConfigError
from mmhooks.runner import BaseRunner
from mmhooks_lightning.callback import HookCallback
from mmhooks_lightning.module import HookedModule

if TYPE_CHECKING:
    from mmhooks.build import RunSpec


def lightning(spec: RunSpec) -> BaseRunner:
    """Train what a config says with a Trainer, in as many processes as a launcher started.

    Args:
        spec: the run. In several processes the Trainer's own DistributedDataParallel takes the place of the model's.

    Returns:
        The runner that the hooks saw, at the end of the run.

    Raises:
        ConfigError: nodes with different numbers of processes.
    """
    processes = _processes(spec)
    spec.model = unwrap(spec.model)  # the other wrapper is let go before the Trainer makes its own
    bridge = HookCallback(
        work_dir=spec.work_dir,
        by_epoch=spec.by_epoch,
        max_iters=spec.max_iters,
        workflow=spec.workflow,
        meta=spec.meta,
        logger=spec.logger,
    )
    bridge.runner.timestamp = spec.timestamp
    spec.register_on(bridge)
    if spec.resume_from is not None:
        bridge.resume(spec.resume_from)
    elif spec.load_from is not None:
        load_checkpoint(spec.model, spec.load_from, map_location="cpu", logger=bridge.runner.logger)
    trainer = pl.Trainer(
        max_epochs=spec.max_epochs if spec.by_epoch else -1,
        accelerator="cpu" if spec.device.type == "cpu" else "auto",
        callbacks=[bridge],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **processes,
    )
    loaders = dict(zip((mode for mode, _ in spec.workflow), spec.loaders, strict=True))
    trainer.fit(HookedModule(spec.model, spec.optimizer), loaders["train"], loaders.get("val"))
    return bridge.runner


def _processes(spec: RunSpec) -> dict[str, Any]:
    """Say to a Trainer which processes there are, and how they exchange gradients."""
    world_size = get_dist_info()[1]
    if world_size == 1:
        return {"devices": 1}
    local_ranks: list[Any] = [None] * world_size
    dist.all_gather_object(local_ranks, int(os.environ["LOCAL_RANK"]))
    a_node = max(local_ranks) + 1
    if sorted(local_ranks) != sorted([*range(a_node)] * (world_size // a_node)):
        raise ConfigError(
            f"the driver 'lightning' needs as many processes on every node, and the local ranks are {local_ranks}: "
            "start as many on each, or use --driver native"
        )
    options: dict[str, Any] = {BUFFERS_OPTION: False}
    if isinstance(spec.model, DistributedDataParallel):
        options = {name: getattr(spec.model, name) for name in (BUFFERS_OPTION, "find_unused_parameters")}
    strategy = DDPStrategy(cluster_environment=_Launched(a_node), **options)
    return {"devices": a_node, "num_nodes": world_size // a_node, "strategy": strategy}


class _Launched(TorchElasticEnvironment):
    """The processes of any launcher: `mmhooks.distributed.init_dist` has set the variables that torchrun sets."""

    def __init__(self, a_node: int) -> None:
        super().__init__()
        self._a_node = a_node

    def node_rank(self) -> int:
        """Tell which node this is; not all launchers say it."""
        return self.global_rank() // self._a_node

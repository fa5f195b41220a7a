"""The driver ``lightning``: a RunSpec trained by a Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightning.pytorch as pl

from mmhooks.checkpoint import load_checkpoint
from mmhooks.distributed import get_dist_info
from mmhooks.errors import ConfigError
from mmhooks.runner import BaseRunner
from mmhooks_lightning.callback import HookCallback
from mmhooks_lightning.module import HookedModule

if TYPE_CHECKING:
    from mmhooks.build import RunSpec


def lightning(spec: RunSpec) -> BaseRunner:
    """Train what a config says with a Trainer.

    Args:
        spec: the run.

    Returns:
        The runner that the hooks saw, at the end of the run.

    Raises:
        ConfigError: one process of several that a launcher started.
    """
    if get_dist_info()[1] > 1:
        raise ConfigError("the driver 'lightning' trains in one process: leave --launcher out, or use --driver native")
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
        devices=1,
        callbacks=[bridge],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    loaders = dict(zip((mode for mode, _ in spec.workflow), spec.loaders, strict=True))
    trainer.fit(HookedModule(spec.model, spec.optimizer), loaders["train"], loaders.get("val"))
    return bridge.runner

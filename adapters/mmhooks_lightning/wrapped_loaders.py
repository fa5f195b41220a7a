"""The loaders of a fit: wrapped while it lasts, and given back."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities.distributed import DistributedSamplerWrapper
from lightning.pytorch.utilities.combined_loader import CombinedLoader

from mmhooks.errors import ConfigError
from mmhooks.runner import IterLoader
from mmhooks.runner.base import Workflow
from mmhooks_lightning.loaders import LazyLoader, lazy
from mmhooks_lightning.runner import LightningRunner


def wrap_loaders(
    trainer: pl.Trainer, runner: LightningRunner, flow: Workflow, hooked: bool, train: list[LazyLoader], val: list[Any]
) -> None:
    """Let every loader of a fit become a `LazyLoader`, once the Trainer has put its sampler in.

    Args:
        trainer: whose strategy hands the loaders out.
        runner: what the hooks see.
        flow: the workflow; one that ends with val says how long an iteration-based validation is.
        hooked: the module is a `HookedModule`.
        train: takes the train loaders.
        val: takes the val loaders.
    """
    strategy: Any = trainer.strategy
    unwrap_loaders(trainer)
    process = strategy.process_dataloader
    sampler_is_ours = not trainer._accelerator_connector.use_distributed_sampler or trainer.world_size == 1

    def process_dataloader(loader: object) -> object:
        wrapped = lazy(process(loader), hide_sampler=hooked and sampler_is_ours)
        _check_sampler(wrapped)
        if trainer.training:
            _set_train_length(trainer, runner, wrapped)
            train.append(wrapped)
        else:
            if not runner.by_epoch and len(flow) > 1:
                wrapped.length = flow[1][1]  # a flow may be longer than a pass
            else:
                wrapped.limit_to(trainer.limit_val_batches)
            if trainer.sanity_checking:
                wrapped.remember_generators()
            val.append(wrapped)
        return wrapped

    # after the Trainer has put its sampler in, whatever the loader comes from
    strategy.process_dataloader = process_dataloader


def _set_train_length(trainer: pl.Trainer, runner: LightningRunner, loader: LazyLoader) -> None:
    limit, max_epochs = trainer.limit_train_batches, trainer.fit_loop.max_epochs
    if not runner.by_epoch and not loader.is_sized:
        if isinstance(limit, float) and limit != 1.0:
            raise ConfigError(
                f"this train loader has no length, so Trainer(limit_train_batches={limit}) is a part of no whole: "
                "write an integer"
            )
        if limit == 1.0 and max_epochs is not None and max_epochs > 0:
            raise ConfigError(
                f"this train loader has no length, so Trainer(max_epochs={max_epochs}) has no end of its own: "
                "leave it out, since max_iters ends the run"
            )
        loader.length = runner.max_iters  # one pass that lasts for the whole run
    loader.limit_to(limit)


def _check_sampler(loader: LazyLoader) -> None:
    sampler = getattr(loader.source, "sampler", None)
    if not isinstance(sampler, DistributedSamplerWrapper):
        return
    inner: Any = sampler.dataset._sampler  # type: ignore[attr-defined]
    if any(hasattr(inner, name) for name in ("num_replicas", "world_size")):
        raise ConfigError(
            f"{type(inner).__name__} shares the data among the processes, and the Trainer would share each part once "
            "more: write Trainer(use_distributed_sampler=False)"
        )


def unwrap_loaders(trainer: pl.Trainer) -> None:
    """Let the Trainer, and a CombinedLoader of the user's, have the loaders themselves again."""
    vars(trainer.strategy).pop("process_dataloader", None)
    for loop in (trainer.fit_loop, trainer.fit_loop.epoch_loop.val_loop):
        combined: CombinedLoader | None = loop._combined_loader
        if combined is not None and any(isinstance(loader, LazyLoader) for loader in combined.flattened):
            combined.flattened = [
                loader.source if isinstance(loader, LazyLoader) else loader for loader in combined.flattened
            ]


def adopt_reloaded(loop: Any, loaders: list[LazyLoader], endless: bool) -> bool:
    """See the loaders that a loop of the Trainer has now; ``reload_dataloaders_every_n_epochs`` brings new ones.

    Args:
        loop: the fit loop, or its validation loop.
        loaders: those known so far; changed in place.
        endless: the run is iteration-based: an iterator goes on where the loader is the same.

    Returns:
        Whether there are new ones.
    """
    combined = loop._combined_loader
    if combined is None or len(combined.flattened) == len(loaders):
        return False
    for new in combined.flattened:
        old = next((one for one in loaders if one.source is new.source and one.endless is not None), None)
        if endless and new.endless is None:
            new.endless = IterLoader(new.shown) if old is None else old.endless
    loaders[:] = combined.flattened
    return True

"""Checkpoints of native runners, and of MMCV, for ``trainer.fit(ckpt_path=...)``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import lightning.pytorch as pl
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.strategies import Strategy
from torch import nn

from mmhooks.checkpoint import is_remote, read_file, revised, verify_file, write_checkpoint
from mmhooks.checkpoint.content import check_content, weights_of
from mmhooks.checkpoint.storage import StorageOptions
from mmhooks.errors import CheckpointError
from mmhooks.runner import BaseRunner

Load = Callable[..., Mapping[str, Any]]


def takes_all(load: Load, model: nn.Module) -> Load:
    """Let a strategy's ``load_checkpoint`` take the files of native runners and of MMCV too.

    Args:
        load: the strategy's own.
        model: whose weights they hold.
    """

    def load_checkpoint(path: str | os.PathLike[str], weights_only: bool | None = None) -> Mapping[str, Any]:
        safe = weights_only is not False  # left out means safe with every version of torch, and on the web
        if _reads_files_of_torch(load) and not os.fspath(path).startswith("http"):
            content = read_file(path, "cpu", weights_only=safe)
        else:
            if not is_remote(path) and Path(path).is_file():
                verify_file(path)
            content = load(path, weights_only=safe)
        if isinstance(content, dict) and "pytorch-lightning_version" in content:
            return content
        weights_of(content, path)
        check_content(content, path)
        return _as_lightnings(content, path, model)

    return load_checkpoint


def writes_files_of_torch(trainer: pl.Trainer) -> bool:
    """Tell whether a Trainer's rank 0 writes what it dumps with ``torch.save``, as our writer does."""
    strategy = trainer.strategy
    return (
        type(strategy).save_checkpoint is Strategy.save_checkpoint and type(strategy.checkpoint_io) is TorchCheckpointIO
    )


def write_agreed(
    runner: BaseRunner, content: Mapping[str, Any], path: str, storage_options: StorageOptions = None
) -> None:
    """Let rank 0 write, and all ranks know how it went.

    Args:
        runner: every rank's.
        content: what to write; rank 0's is.
        path: the final name.
        storage_options: arguments of the store.

    Raises:
        CheckpointError: it could not be written; on every rank, so that none waits for another.
    """
    error = None
    if runner.rank == 0:
        try:
            write_checkpoint(content, path, storage_options)
        except CheckpointError as caught:
            error = caught
    said = runner.agree(None if error is None else str(error))
    if said is not None:
        raise error or CheckpointError(said)


def _reads_files_of_torch(load: Load) -> bool:
    """Tell whether a strategy reads as our reader does, which looks closer; some have folders of their own."""
    strategy = getattr(load, "__self__", None)
    return (
        getattr(load, "__func__", None) is Strategy.load_checkpoint
        and type(getattr(strategy, "checkpoint_io", None)) is TorchCheckpointIO
    )


def _as_lightnings(content: Mapping[str, Any], path: str | os.PathLike[str], model: nn.Module) -> dict[str, Any]:
    """Put what a native file holds where a Trainer looks for it."""
    meta = content.get("meta")
    if not isinstance(meta, Mapping) or "epoch" not in meta or "iter" not in meta or "state_dict" not in content:
        raise CheckpointError(
            f"{os.fspath(path)} does not say where the run was: it holds weights to start from, so load them into the "
            "model with mmhooks.load_checkpoint(model, path), and leave ckpt_path out"
        )
    optimizer = content.get("optimizer")
    several = isinstance(optimizer, Mapping) and "param_groups" not in optimizer
    states = [] if optimizer is None else list(optimizer.values()) if several else [optimizer]
    return {
        **content,
        "state_dict": revised(content["state_dict"], model),
        "pytorch-lightning_version": lightning.__version__,
        "epoch": meta["epoch"],
        "callbacks": {},
        "optimizer_states": states,
        "lr_schedulers": [],
    }

"""Checkpoints of native runners, and of MMCV, for ``trainer.fit(ckpt_path=...)``."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import lightning
from torch import nn

from mmhooks.checkpoint import read_checkpoint, revised
from mmhooks.errors import CheckpointError

Load = Callable[..., Mapping[str, Any]]


def takes_all(load: Load, model: nn.Module) -> Load:
    """Let a strategy's ``load_checkpoint`` take the files of native runners and of MMCV too.

    Args:
        load: the strategy's own.
        model: whose weights they hold.
    """

    def load_checkpoint(path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Mapping[str, Any]:
        try:
            content = load(path, *args, **kwargs)
        except pickle.UnpicklingError:  # MMCV's files may hold a NumPy score, which is on our reader's short list
            content = read_checkpoint(path)
        return content if "pytorch-lightning_version" in content else _as_lightnings(content, path, model)

    return load_checkpoint


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

"""The outputs of ordinary modules, as hooks know them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch


def ordinary_outputs(outputs: Any, batch: Any, automatic: bool = True) -> dict[str, Any]:
    """Spell what an ordinary module's step returned as an MMCV-style model would.

    Args:
        outputs: a loss, a dict, or nothing.
        batch: what the step was given.
        automatic: a step without a loss was one to leave out: its ``loss`` is None.
    """
    if isinstance(outputs, torch.Tensor):
        outputs = {"loss": outputs}
    found = dict(outputs) if isinstance(outputs, Mapping) else {}
    if automatic:
        found.setdefault("loss", None)
    found.setdefault("num_samples", batch_size_of(batch))
    loss = found.get("loss")
    if isinstance(loss, torch.Tensor) and loss.numel() == 1:
        found.setdefault("log_vars", {"loss": loss.detach()})
    return found


def batch_size_of(batch: Any) -> int:
    """Guess the number of samples in a batch, of whatever kind: the first size above 1 that is found."""
    if isinstance(batch, torch.Tensor):
        return batch.size(0) if batch.ndim else 1
    return next((size for part in _parts(batch) if (size := batch_size_of(part)) > 1), 1)


def _parts(batch: Any) -> Iterable[Any]:
    if isinstance(batch, Mapping):
        return batch.values()
    if isinstance(batch, (list, tuple)):
        return batch
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    return ()

"""Batches on their way to a device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn


def device_of(module: nn.Module) -> torch.device:
    """Give the device of a model's first parameter (or buffer), and the CPU for a model without any."""
    tensor: torch.Tensor | None = next(module.parameters(), None)
    if tensor is None:
        tensor = next(module.buffers(), None)
    return torch.device("cpu") if tensor is None else tensor.device


def mover(device: torch.device) -> Callable[[Any], Any]:
    """Give the function that moves a batch to a device, as `to_device` does.

    On the CPU, where loaders make their batches, one of nothing but tensors is passed on as it is.
    """
    if device.type != "cpu":
        return functools.partial(to_device, device=device)

    def move(batch: Any) -> Any:
        kind = type(batch)
        if kind is dict or kind is tuple or kind is list:
            for part in batch.values() if kind is dict else batch:
                if type(part) is not torch.Tensor:
                    break
            else:
                return batch
        return to_device(batch, device)

    return move


def to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors of a batch, at any depth, to a device.

    Dicts, lists, tuples and named tuples are walked; an object with a ``to`` method is asked; an mmcv
    ``DataContainer`` becomes its content (the first and only part, moved unless ``cpu_only``).

    Args:
        batch: what a loader yields.
        device: where the model is.

    Returns:
        The batch; what is on the device already is not copied.
    """
    if isinstance(batch, torch.Tensor):
        return batch if batch.device == device else batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        moved = {key: to_device(value, device) for key, value in batch.items()}
        return moved if type(batch) is dict else _same_mapping(batch, moved)
    if isinstance(batch, tuple):
        parts = [to_device(part, device) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    if isinstance(batch, list):
        return [to_device(part, device) for part in batch]
    if type(batch).__name__ == "DataContainer":
        content = batch.data[0] if isinstance(batch.data, list) else batch.data
        return content if batch.cpu_only else to_device(content, device)
    if hasattr(batch, "to") and callable(batch.to):
        return batch.to(device)
    return batch


def _same_mapping(batch: Mapping[Any, Any], moved: dict[Any, Any]) -> Any:
    try:
        return type(batch)(moved)  # type: ignore[call-arg]
    except TypeError:  # a defaultdict or the like
        return moved

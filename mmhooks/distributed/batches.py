"""Batches on their way to a device."""

from __future__ import annotations

import copy
import functools
import operator
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


def mover(device: torch.device) -> Callable[[Any], Any] | None:
    """Give the function that moves a batch to a device, as `to_device` does; DataContainers stay what they are.

    None on the CPU: loaders make their batches there.
    """
    if device.type == "cpu":
        return None
    return functools.partial(_map, change=functools.partial(_moved, device=device, unpack=False))


def to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors of a batch, at any depth, to a device, as what a model takes.

    Dicts, lists, tuples and named tuples are walked; an object with a ``to`` method is asked; an mmcv
    ``DataContainer`` becomes its content (the first and only part, moved unless ``cpu_only``).

    Args:
        batch: what a loader yields.
        device: where the model is.

    Returns:
        The batch; what is on the device already is not copied.
    """
    return _map(batch, functools.partial(_moved, device=device, unpack=True))


def unpacked(batch: Any) -> Any:
    """Take the content out of the mmcv ``DataContainer``s of a batch, at any depth, as MMCV's wrappers do.

    Args:
        batch: on its device already.

    Returns:
        The batch itself where it has none.
    """
    return _map(batch, _content)


def _map(batch: Any, change: Callable[[Any], Any]) -> Any:
    """Change the parts of a batch; containers whose parts stay the same stay the same."""
    if isinstance(batch, Mapping):
        changed = {key: _map(value, change) for key, value in batch.items()}
        if all(changed[key] is value for key, value in batch.items()):
            return batch
        return changed if type(batch) is dict else _like(batch, changed)
    if isinstance(batch, (list, tuple)):
        parts = [_map(part, change) for part in batch]
        if all(map(operator.is_, parts, batch)):
            return batch
        if hasattr(batch, "_fields"):
            return type(batch)(*parts)
        return parts if type(batch) is list else _like(batch, parts if isinstance(batch, list) else tuple(parts))
    return change(batch)


def _like(batch: Any, changed: Any) -> Any:
    try:
        return type(batch)(changed)
    except TypeError:  # a class with arguments of its own, a defaultdict for one
        return changed


def _moved(part: Any, device: torch.device, unpack: bool) -> Any:
    if isinstance(part, torch.Tensor):
        return part if part.device == device else part.to(device, non_blocking=True)
    if _is_container(part):
        if part.cpu_only:
            return _content(part) if unpack else part
        if unpack:
            return to_device(_content(part), device)
        content = _map(part.data, functools.partial(_moved, device=device, unpack=False))
        return part if content is part.data else _refilled(part, content)
    if hasattr(part, "to") and callable(part.to):
        return part.to(device)
    return part


def _is_container(part: Any) -> bool:
    """Tell mmcv's DataContainer by its name, without importing it."""
    return type(part).__name__ == "DataContainer"


def _content(part: Any) -> Any:
    if not _is_container(part):
        return part
    return part.data[0] if isinstance(part.data, list) else part.data


def _refilled(container: Any, content: Any) -> Any:
    other = copy.copy(container)
    setattr(other, "_data" if hasattr(container, "_data") else "data", content)  # mmcv's data is read-only
    return other

"""Ranks, module wrappers, and batches on their way to a device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import nn

P = ParamSpec("P")
R = TypeVar("R")


def get_dist_info() -> tuple[int, int]:
    """Give the rank of this process and the number of processes: (0, 1) outside a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def master_only(function: Callable[P, R]) -> Callable[P, R | None]:
    """Decorate a function so that it runs on rank 0 alone and gives None elsewhere."""

    @functools.wraps(function)
    def on_master(*args: P.args, **kwargs: P.kwargs) -> R | None:
        return function(*args, **kwargs) if get_dist_info()[0] == 0 else None

    return on_master


#: Wrappers that hold the user's model as ``module``; the real mmcv's are known by name, without importing it.
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_WRAPPER_NAMES = frozenset({"MMDataParallel", "MMDistributedDataParallel", "DistributedDataParallelWrapper"})


def is_module_wrapper(module: nn.Module) -> bool:
    """Tell whether a module only wraps another one for parallel training."""
    return isinstance(module, _WRAPPERS) or any(cls.__name__ in _WRAPPER_NAMES for cls in type(module).__mro__)


def unwrap(module: nn.Module) -> nn.Module:
    """Give the user's own model inside any number of parallel wrappers."""
    while is_module_wrapper(module):
        module = module.module  # type: ignore[assignment]
    return module


def device_of(module: nn.Module) -> torch.device:
    """Give the device of a model's first parameter (or buffer), and the CPU for a model without any."""
    tensor: torch.Tensor | None = next(module.parameters(), None)
    if tensor is None:
        tensor = next(module.buffers(), None)
    return torch.device("cpu") if tensor is None else tensor.device


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

"""Averages of parameters and gradients over all processes, and the greatest of their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist

from mmhooks.checks import check_flag
from mmhooks.distributed.ranks import get_dist_info
from mmhooks.errors import ConfigError

_MB = 1024 * 1024


def allreduce_params(params: Iterable[torch.Tensor], coalesce: bool = True, bucket_size_mb: float = -1) -> None:
    """Replace parameters or buffers by their mean over all processes; a single process does nothing.

    A mean of whole numbers (batch norm's ``num_batches_tracked``), for which MMCV fails, is rounded down; booleans
    stay as they are.

    Args:
        params: the same ones, in the same order, on every rank.
        coalesce: exchange many tensors at once: their sum is divided by the world size. Otherwise each
            tensor is divided first and then summed.
        bucket_size_mb: how much one exchange may hold, in MB of 1024 * 1024 bytes. -1 (or any number that is
            not positive): all that has one dtype.

    Raises:
        ConfigError: ``coalesce`` is not True or False, or ``bucket_size_mb`` is no number.
    """
    check_flag("allreduce_params", "coalesce", coalesce)
    _average([param.data for param in params], coalesce, bucket_size_mb)


def allreduce_grads(params: Iterable[torch.Tensor], coalesce: bool = True, bucket_size_mb: float = -1) -> None:
    """Replace the gradients of parameters by their mean over all processes, as `allreduce_params` does.

    Args:
        params: those without a gradient are passed over, so they must be the same on every rank.
        coalesce: see `allreduce_params`.
        bucket_size_mb: see `allreduce_params`.

    Raises:
        ConfigError: ``coalesce`` is not True or False, or ``bucket_size_mb`` is no number.
    """
    check_flag("allreduce_grads", "coalesce", coalesce)
    grads = [param.grad.data for param in params if param.requires_grad and param.grad is not None]
    _average(grads, coalesce, bucket_size_mb)


def _average(tensors: list[torch.Tensor], coalesce: bool, bucket_size_mb: float) -> None:
    if isinstance(bucket_size_mb, bool) or not isinstance(bucket_size_mb, int | float):
        raise ConfigError(f"bucket_size_mb must be a number of MB, or -1 for no limit, not {bucket_size_mb!r}")
    world_size = get_dist_info()[1]
    if world_size == 1:
        return
    means = [tensor for tensor in tensors if tensor.dtype is not torch.bool]
    if not coalesce:
        for tensor in means:
            if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
                dist.all_reduce(tensor.div_(world_size))
            else:
                dist.all_reduce(tensor)
                tensor.div_(world_size, rounding_mode="floor")
        return
    for bucket in _buckets(means, bucket_size_mb * _MB):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        dist.all_reduce(flat)
        counts = not (flat.dtype.is_floating_point or flat.dtype.is_complex)
        flat.div_(world_size, rounding_mode="floor" if counts else None)
        parts = torch.split(flat, [tensor.numel() for tensor in bucket])
        for tensor, part in zip(bucket, parts, strict=True):
            tensor.copy_(part.view_as(tensor))


def _buckets(tensors: list[torch.Tensor], limit: float) -> Iterator[list[torch.Tensor]]:
    """Group tensors of one dtype and device, closing a group that would grow beyond ``limit`` bytes."""
    open_buckets: dict[tuple[torch.dtype, torch.device], list[torch.Tensor]] = {}
    sizes: dict[tuple[torch.dtype, torch.device], int] = {}
    for tensor in tensors:
        kind = (tensor.dtype, tensor.device)
        size = tensor.numel() * tensor.element_size()
        if limit > 0 and kind in open_buckets and sizes[kind] + size > limit:
            yield open_buckets.pop(kind)
            sizes[kind] = 0
        open_buckets.setdefault(kind, []).append(tensor)
        sizes[kind] = sizes.get(kind, 0) + size
    yield from open_buckets.values()


def greatest(number: int) -> int:
    """Give the greatest of the numbers that the processes have, on rank 0; the others get their own. All must call it.

    Args:
        number: this process's.
    """
    rank, world_size = get_dist_info()
    if world_size == 1:
        return number
    device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    found = torch.tensor(number, device=device)
    dist.reduce(found, 0, op=dist.ReduceOp.MAX)
    return int(found) if rank == 0 else number

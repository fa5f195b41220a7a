"""Averages: tensors beside their moving averages, changed and exchanged in few passes over the memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

#: How much of the parameters is worked on at once. On a CPU what one call leaves in the cache is still there for the
#: next; smaller blocks cost more in calls than they save. Elsewhere it only bounds the memory that a swap takes.
CPU_BLOCK_BYTES = 2 << 20
BLOCK_BYTES = 32 << 20


class _Batch(NamedTuple):
    """Views of at most one block of parameters, of their averages, and of the memory that a swap goes through."""

    parameters: list[Tensor]
    averages: list[Tensor]
    scratch: list[Tensor]


class Averages:
    """Parameters and their averages, as flat views that are made once.

    The views stay those of the memory that the tensors had here: make a new object when a tensor has moved.

    Args:
        parameters: of any dtypes and devices.
        averages: one a parameter, of its shape and device.
    """

    def __init__(self, parameters: Sequence[Tensor], averages: Sequence[Tensor]) -> None:
        groups: dict[tuple[torch.device, torch.dtype], list[tuple[Tensor, Tensor]]] = {}
        self._batches: list[_Batch] = []
        self._copied: list[tuple[Tensor, Tensor]] = []  # what has no mean: integers, booleans
        self._single: list[tuple[Tensor, Tensor]] = []  # what cannot share a call with others
        self._exchanged: list[_Batch] = []
        self._whole: list[tuple[list[Tensor], list[Tensor]]] = []
        self._pairs = list(zip(parameters, averages, strict=True))
        holders = [(_holders(parameter), _holders(average)) for parameter, average in self._pairs]
        for parameter, average in self._pairs:
            if parameter.numel() == 0:
                continue
            pair = _flat(parameter.data, average.data)
            if pair is None:
                self._single.append((parameter.data, average.data))
            else:
                groups.setdefault((parameter.device, parameter.dtype), []).append(pair)
        for (device, dtype), pairs in groups.items():
            batches = list(_in_blocks(pairs, device, dtype))
            self._exchanged += batches
            if dtype.is_floating_point or dtype.is_complex:
                # a block only pays where a cache can hold it: a GPU takes all in one call
                whole = ([p for p, _ in pairs], [a for _, a in pairs])
                self._whole.append(whole)
                self._batches += batches if device.type == "cpu" else [_Batch(*whole, [])]
            else:
                self._copied += pairs
        # the views made here count as holders too
        self._own = [
            (_holders(parameter) - before, _holders(average) - others)
            for (parameter, average), (before, others) in zip(self._pairs, holders, strict=True)
        ]

    def update(self, momentum: float) -> None:
        """Set every average to ``average * (1 - momentum) + momentum * parameter``, rounded twice as MMCV does.

        Args:
            momentum: the weight of the parameters.
        """
        rest = torch.tensor(1 - momentum, dtype=torch.float64)  # a number would become a tensor at each call
        for parameters, averages, _ in self._batches:
            torch._foreach_mul_(averages, rest if averages[0].device.type == "cpu" else 1 - momentum)
            torch._foreach_add_(averages, parameters, alpha=momentum)
        self._update_others(momentum)

    def lerp(self, momentum: float) -> None:
        """Set every average to ``average + momentum * (parameter - average)`` in one pass; rounds otherwise."""
        for parameters, averages in self._whole:
            torch._foreach_lerp_(averages, parameters, momentum)
        self._update_others(momentum)

    def _update_others(self, momentum: float) -> None:
        for parameter, average in self._single:
            if average.is_floating_point() or average.is_complex():
                average.mul_(1 - momentum).add_(parameter, alpha=momentum)
            else:
                average.copy_(parameter)
        for parameter, average in self._copied:
            average.copy_(parameter)

    def swap(self) -> bool:
        """Exchange the values of the parameters and of their averages.

        Two tensors on the CPU whose memory nobody else refers to trade it, which takes no time. Where somebody
        holds a view of one, such as a tensor of a state dict, values are copied: the view goes on showing the
        model's.

        Returns:
            Whether this object can still be used: not after a trade.
        """
        held: list[tuple[Tensor, Tensor]] = []
        alone: list[tuple[Tensor, Tensor]] = []
        for (parameter, average), (own, other) in zip(self._pairs, self._own, strict=True):
            trades = _can_trade(parameter, average, own, other)
            (alone if trades else held).append((parameter, average))
        if not alone:
            self._exchange_values()
            return True
        for parameter, average in alone:
            parameter.data, average.data = average.data, parameter.data
        if held:
            Averages([parameter for parameter, _ in held], [average for _, average in held])._exchange_values()
        return False

    def _exchange_values(self) -> None:
        for parameters, averages, scratch in self._exchanged:
            torch._foreach_copy_(scratch, parameters)
            torch._foreach_copy_(parameters, averages)
            torch._foreach_copy_(averages, scratch)
        for parameter, average in self._single:
            kept = parameter.clone()
            parameter.copy_(average)
            average.copy_(kept)


# without it, in a PyTorch to come, values are copied
_use_count = getattr(torch._C, "_storage_Use_Count", None)


def _holders(tensor: Tensor) -> int:
    """Count who refers to a tensor's memory: tensors, and those who hold the Python object of the storage."""
    if _use_count is None or tensor.layout != torch.strided:
        return 0
    storage = tensor.untyped_storage()
    return int(_use_count(storage._cdata)) + sys.getrefcount(storage)


_ALONE = _holders(torch.empty(1))


def _can_trade(parameter: Tensor, average: Tensor, own: int, other: int) -> bool:
    """Tell whether two tensors lie alike in memory that belongs to them alone.

    Args:
        parameter: the one.
        average: the other.
        own: how many holders of the first one's memory are ours.
        other: and of the second one's.
    """
    alike = parameter.dtype == average.dtype and parameter.stride() == average.stride()
    return alike and _is_alone(parameter, own) and _is_alone(average, other)


def _is_alone(tensor: Tensor, own: int) -> bool:
    if _use_count is None or tensor.device.type != "cpu" or _holders(tensor) != _ALONE + own:
        return False  # elsewhere than on a CPU, captured graphs hold addresses
    storage = tensor.untyped_storage()
    # not resizable: the memory is an array's of NumPy or the like, or shared with another process
    return storage.resizable() and not storage.is_shared() and storage.nbytes() == tensor.numel() * tensor.itemsize


def _flat(parameter: Tensor, average: Tensor) -> tuple[Tensor, Tensor] | None:
    """View two tensors in one dimension, in the order of their memory; None where they do not lie alike in it."""
    if parameter.layout != torch.strided or parameter.dtype != average.dtype or parameter.device != average.device:
        return None
    order = sorted(range(parameter.dim()), key=parameter.stride, reverse=True)
    one, other = parameter.permute(order), average.permute(order)
    return (one.view(-1), other.view(-1)) if one.is_contiguous() and other.is_contiguous() else None


def _in_blocks(pairs: Sequence[tuple[Tensor, Tensor]], device: torch.device, dtype: torch.dtype) -> Iterator[_Batch]:
    """Cut large tensors and put small ones together, so that each batch is one block at most."""
    size = (CPU_BLOCK_BYTES if device.type == "cpu" else BLOCK_BYTES) // dtype.itemsize
    scratch = torch.empty(min(size, sum(len(p) for p, _ in pairs)), dtype=dtype, device=device)
    batch, used = _Batch([], [], []), 0
    for parameter, average in pairs:
        for part, other in zip(torch.split(parameter, size), torch.split(average, size), strict=True):
            if used + len(part) > size:
                yield batch
                batch, used = _Batch([], [], []), 0
            batch.parameters.append(part)
            batch.averages.append(other)
            batch.scratch.append(scratch[used : used + len(part)])
            used += len(part)
    yield batch

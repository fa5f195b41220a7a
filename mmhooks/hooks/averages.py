"""Averages: tensors beside their moving averages, changed and exchanged in few passes over the memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

#: How much of the parameters is worked on at once. On a CPU what one call leaves in the cache is still there for the
#: next; smaller blocks cost more in calls than they save. Elsewhere it only bounds the memory that a swap takes.
CPU_BLOCK_BYTES = 2 << 20
BLOCK_BYTES = 32 << 20


class _Batch(NamedTuple):
    """Flat views of some parameters and of their averages."""

    parameters: list[Tensor]
    averages: list[Tensor]


class Averages:
    """Parameters and their averages, as flat views that are made once.

    The views stay those of the memory that the tensors had here: make a new object when a tensor has moved.

    Args:
        parameters: of any dtypes and devices.
        averages: one a parameter, of its shape and device.
    """

    def __init__(self, parameters: Sequence[Tensor], averages: Sequence[Tensor]) -> None:
        groups: dict[tuple[torch.device, torch.dtype], list[tuple[Tensor, Tensor]]] = {}
        self._single: list[tuple[Tensor, Tensor]] = []  # what cannot share a call with others
        self._copied: list[tuple[Tensor, Tensor]] = []  # what has no mean: integers, booleans
        self._whole: list[_Batch] = []  # what has one, by device and dtype
        self._blocks: list[_Batch] = []  # all of them, in blocks
        self._updated: list[_Batch] = []
        for parameter, average in zip(parameters, averages, strict=True):
            if parameter.numel() == 0:
                continue
            pair = _flat(parameter.data, average.data)
            if pair is None:
                self._single.append((parameter.data, average.data))
            else:
                groups.setdefault((parameter.device, parameter.dtype), []).append(pair)
        for (device, dtype), pairs in groups.items():
            blocks = list(_in_blocks(pairs, device, dtype))
            self._blocks += blocks
            if dtype.is_floating_point or dtype.is_complex:
                whole = _Batch([parameter for parameter, _ in pairs], [average for _, average in pairs])
                self._whole.append(whole)
                # a block only pays where a cache can hold it: a GPU takes all in one call
                self._updated += blocks if device.type == "cpu" else [whole]
            else:
                self._copied += pairs

    def update(self, momentum: float) -> None:
        """Set every average to ``average * (1 - momentum) + momentum * parameter``, rounded twice as MMCV does.

        Args:
            momentum: the weight of the parameters.
        """
        rest = torch.tensor(1 - momentum, dtype=torch.float64)  # a number would become a tensor at each call
        for parameters, averages in self._updated:
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

    def exchange(self) -> None:
        """Exchange the values of the parameters and of their averages; views of their memory see it."""
        scratch: dict[tuple[torch.device, torch.dtype], Tensor] = {}  # of one block, whatever the model's size
        for parameters, averages in self._blocks:
            kind = parameters[0].device, parameters[0].dtype
            lengths = [len(parameter) for parameter in parameters]
            needed = sum(lengths)
            if kind not in scratch or len(scratch[kind]) < needed:
                scratch[kind] = torch.empty(needed, dtype=kind[1], device=kind[0])
            kept = torch.split(scratch[kind][:needed], lengths)
            torch._foreach_copy_(kept, parameters)
            torch._foreach_copy_(parameters, averages)
            torch._foreach_copy_(averages, kept)
        for parameter, average in self._single:
            alone = parameter.clone()
            parameter.copy_(average)
            average.copy_(alone)


def swap(parameters: Sequence[Tensor], averages: Sequence[Tensor]) -> Averages | None:
    """Exchange the values of parameters and of their averages.

    Two tensors on the CPU whose memory nobody else refers to trade it, which takes no time. Where somebody holds a
    view of one, such as a tensor of a state dict or an `Averages`, values are copied: the view goes on showing the
    model's.

    Args:
        parameters: no two of which share memory.
        averages: one a parameter, of its shape and device.

    Returns:
        The views through which all values were copied; None where some tensors have traded memory.
    """
    held: list[tuple[Tensor, Tensor]] = []
    for parameter, average in zip(parameters, averages, strict=True):
        if _can_trade(parameter, average):
            parameter.data, average.data = average.data, parameter.data
        else:
            held.append((parameter, average))
    views = Averages([parameter for parameter, _ in held], [average for _, average in held])
    views.exchange()
    return views if len(held) == len(parameters) else None


# without it, in a PyTorch to come, values are copied
_use_count = getattr(torch._C, "_storage_Use_Count", None)


def _holders(tensor: Tensor) -> int:
    """Count who refers to a tensor's memory: tensors, and those who hold the Python object of the storage."""
    if _use_count is None or tensor.layout != torch.strided:
        return 0
    storage = tensor.untyped_storage()
    return int(_use_count(storage._cdata)) + sys.getrefcount(storage)


_ALONE = _holders(torch.empty(1))


def _can_trade(parameter: Tensor, average: Tensor) -> bool:
    """Tell whether two tensors lie alike in memory that belongs to them alone."""
    alike = parameter.dtype == average.dtype and parameter.stride() == average.stride()
    return alike and _is_alone(parameter) and _is_alone(average)


def _is_alone(tensor: Tensor) -> bool:
    if _use_count is None or tensor.device.type != "cpu" or _holders(tensor) != _ALONE:
        return False  # elsewhere than on a CPU, captured graphs hold addresses
    storage = tensor.untyped_storage()
    # not resizable: the memory is an array's of NumPy or the like, or shared with another process
    return storage.resizable() and not storage.is_shared() and storage.nbytes() == tensor.numel() * tensor.itemsize


def _flat(parameter: Tensor, average: Tensor) -> tuple[Tensor, Tensor] | None:
    """View two tensors in one dimension, in the order of their memory; None where they do not lie alike in it."""
    if parameter.layout != torch.strided or parameter.dtype != average.dtype or parameter.device != average.device:
        return None
    if parameter.is_contiguous() and average.is_contiguous():
        return parameter.view(-1), average.view(-1)
    order = sorted(range(parameter.dim()), key=parameter.stride, reverse=True)
    one, other = parameter.permute(order), average.permute(order)
    return (one.view(-1), other.view(-1)) if one.is_contiguous() and other.is_contiguous() else None


def _in_blocks(pairs: Sequence[tuple[Tensor, Tensor]], device: torch.device, dtype: torch.dtype) -> Iterator[_Batch]:
    """Cut large tensors and put small ones together, so that each batch is one block at most."""
    length = (CPU_BLOCK_BYTES if device.type == "cpu" else BLOCK_BYTES) // dtype.itemsize
    batch, used = _Batch([], []), 0
    for pair in pairs:
        parts = [pair]
        if len(pair[0]) > length:
            parts = list(zip(*(torch.split(one, length) for one in pair), strict=True))
        for parameter, average in parts:
            if used + len(parameter) > length:
                yield batch
                batch, used = _Batch([], []), 0
            batch.parameters.append(parameter)
            batch.averages.append(average)
            used += len(parameter)
    yield batch


class _Span(NamedTuple):
    """The memory from a tensor's first element to its last, in bytes."""

    device: str
    start: int
    end: int
    name: str


def find_overlap(tensors: Mapping[str, Tensor]) -> tuple[str, str] | None:
    """Find two tensors that have an element's memory in common.

    Args:
        tensors: by name.

    Returns:
        The names of the first such two, or None.
    """
    spans = []
    for name, tensor in tensors.items():
        if tensor.layout == torch.strided and tensor.numel() and tensor.data_ptr():
            last = sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
            start = tensor.data_ptr()
            spans.append(_Span(str(tensor.device), start, start + (last + 1) * tensor.itemsize, name))
    reaching: list[_Span] = []
    for span in sorted(spans):
        reaching = [one for one in reaching if one.device == span.device and one.end > span.start]
        for one in reaching:
            if _share(tensors[one.name], tensors[span.name]):
                return one.name, span.name
        reaching.append(span)
    return None


def _share(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors whose spans overlap share an element, and do not merely lie in each other's gaps."""
    distance = other.data_ptr() - one.data_ptr()
    if one.dtype != other.dtype or distance % one.itemsize:
        return True
    places, others = _element_places(one), _element_places(other) + distance // one.itemsize
    return bool(torch.isin(others, places).any())


def _element_places(tensor: Tensor) -> Tensor:
    places = torch.zeros((), dtype=torch.long)
    for n, step in zip(tensor.shape, tensor.stride(), strict=True):
        places = places.unsqueeze(-1) + torch.arange(n) * step
    return places.flatten()

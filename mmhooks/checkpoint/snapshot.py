"""A copy of what a checkpoint is to hold, in memory that is used again, so that a thread may write it meanwhile."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

_ALIGNMENT = 64
_SPARE = 1 << 20


class Snapshot:
    """Copies the tensors of a checkpoint into buffers on the host.

    The buffers grow with what they hold and are never given back, so there is never more than one copy.

    Args:
        pinned: lock the buffers in memory, so that a GPU writes to them without waiting for the CPU.

    Example:
        >>> snapshot = Snapshot()
        >>> snapshot.reserve(200_000_000)
        >>> torch.save(snapshot.take({"state_dict": model.state_dict()}), "a.pth")
    """

    def __init__(self, pinned: bool = False) -> None:
        self._pinned = pinned
        self._buffers: list[torch.Tensor] = []
        self._place = (0, 0)  # in which buffer, and where in it, the next copy begins
        self._parts: list[torch.UntypedStorage] = []  # of the buffers, in the order in which they are filled
        self._ends: list[tuple[int, int]] = []
        self._count = 0
        self._copies: dict[tuple[Any, int], torch.UntypedStorage] = {}

    @property
    def nbytes(self) -> int:
        """The size of the buffers."""
        return sum(buffer.numel() for buffer in self._buffers)

    def reserve(self, size: int) -> None:
        """Make the buffers large enough, and touch them: memory that is used for the first time is slow.

        Args:
            size: what a checkpoint takes, in bytes.
        """
        missing = size - self.nbytes
        if missing > 0:
            self._buffers.append(torch.empty(missing + _SPARE, dtype=torch.uint8, pin_memory=self._pinned).zero_())

    def take(self, content: Any) -> Any:
        """Copy a checkpoint; the copy is good until the next one is taken.

        Args:
            content: dicts, lists, tuples, tensors and plain values. Tensors that share memory still do in the copy.

        Returns:
            The same with tensors on the CPU.
        """
        self._place, self._count, self._copies = (0, 0), 0, {}
        copied = self._copy(content)
        for device in {device for device, _ in self._copies if device.type == "cuda"}:
            torch.cuda.synchronize(device)
        self._copies = {}
        return copied

    def _copy(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
            return value
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if type(value) in (dict, OrderedDict):
            made = type(value)((self._copy(key), self._copy(item)) for key, item in value.items())
            if isinstance(value, OrderedDict):
                vars(made).update(vars(value))  # the versions of modules
            return made
        if type(value) in (list, tuple, set):
            return type(value)(self._copy(item) for item in value)
        return copy.deepcopy(value)

    def _tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        data = tensor.detach()
        if type(data) is not torch.Tensor or data.layout != torch.strided or data.is_quantized or data.is_meta:
            return copy.deepcopy(tensor).cpu()
        data = data.resolve_conj().resolve_neg()
        storage = data.untyped_storage()
        key = (data.device, storage.data_ptr())
        if key not in self._copies:
            self._copies[key] = self._storage(storage)
        made = torch.empty(0, dtype=data.dtype).set_(
            self._copies[key], data.storage_offset(), data.size(), data.stride()
        )
        return nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made

    def _storage(self, storage: torch.UntypedStorage) -> torch.UntypedStorage:
        size = storage.nbytes()
        if not size:
            return torch.empty(0, dtype=torch.uint8).untyped_storage()
        if self._count < len(self._parts) and self._parts[self._count].nbytes() == size:
            target = self._parts[self._count]  # as the last time
            self._place = self._ends[self._count]
        else:
            del self._parts[self._count :], self._ends[self._count :]
            target = self._next(size)
            self._parts.append(target)
            self._ends.append(self._place)
        self._count += 1
        target.copy_(storage, non_blocking=self._pinned)
        return target

    def _next(self, size: int) -> torch.UntypedStorage:
        """Give so many bytes of the buffers, as a storage of their own."""
        index, start = self._place
        while index < len(self._buffers) and start + size > self._buffers[index].numel():
            index, start = index + 1, 0
        if index == len(self._buffers):
            self.reserve(self.nbytes + size)
        self._place = (index, -(-(start + size) // _ALIGNMENT) * _ALIGNMENT)
        part = self._buffers[index].numpy().data[start : start + size]
        return torch.frombuffer(part, dtype=torch.uint8).untyped_storage()


def expected_size(model: nn.Module, optimizers: list[Any]) -> int:
    """Say how many bytes a checkpoint will take, before the optimizers have made their state.

    Args:
        model: the model.
        optimizers: those whose state is saved too.
    """
    tensors = {tensor.data_ptr(): tensor.nbytes for tensor in (*model.parameters(), *model.buffers())}
    size = sum(tensors.values()) + _ALIGNMENT * len(tensors)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            states = _states(group)
            size += states * sum(parameter.nbytes + _ALIGNMENT for parameter in group["params"])
    return size


def _states(group: dict[str, Any]) -> int:
    """Count the tensors that an optimizer keeps for each parameter, by its settings; a wrong guess costs time alone."""
    adaptive = 2 if "betas" in group else int("alpha" in group or "lr_decay" in group)
    return adaptive + sum(bool(group.get(key)) for key in ("momentum", "amsgrad", "centered"))

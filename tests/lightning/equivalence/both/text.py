"""Values as text that is equal only where every bit is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import torch

#: What differs from one run to the next.
TIMES = ("time", "data_time", "memory", "eta")


def text(value: Any) -> str:
    """Write a value down exactly: numbers in hex, tensors by a digest of their bytes."""
    if isinstance(value, torch.Tensor):
        return f"{value.dtype}{tuple(value.shape)}:{digest([value])}"
    if value is None or isinstance(value, (bool, str, Path)):
        return str(value)
    if type(value).__name__ == "DataContainer":
        return f"DataContainer {text(value.data)}"
    if isinstance(value, Real):
        return float(value).hex()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {text(item)}" for key, item in value.items() if key not in TIMES) + "}"
    if isinstance(value, Iterable):
        return "[" + ", ".join(map(text, value)) + "]"
    return type(value).__name__


def digest(tensors: Iterable[torch.Tensor | None]) -> str:
    """Sum up the bytes of tensors."""
    found = hashlib.blake2b(digest_size=6)
    for tensor in tensors:
        found.update(b"-" if tensor is None else _bytes(tensor.detach()))
    return found.hexdigest()


def _bytes(tensor: torch.Tensor) -> bytes:
    return (tensor.view(torch.int16) if tensor.dtype is torch.bfloat16 else tensor).numpy().tobytes()


def without_times(line: str, folder: Path) -> str:
    """Take out of a line of the log what differs from one run to the next."""
    line = re.sub(r"(eta|time|data_time|memory): [^,]*, ", "", line)
    return line.replace(str(folder), "")

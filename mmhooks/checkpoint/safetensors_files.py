"""Weights in the safetensors format: numbers and names, and nothing that could be run."""

from __future__ import annotations

import json
import os
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import IO, Any

import torch

from mmhooks.errors import CheckpointError, ConfigError

SUFFIX = ".safetensors"
#: In the file's metadata: a checksum for each tensor, which the format itself does not have.
_SUMS = "mmhooks.crc32"
_LARGEST_HEADER = 100_000_000  # the format's own limit


def is_safetensors(file: IO[bytes], path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is one of safetensors, by its name or by how it begins."""
    file.seek(0)
    start = file.read(9)
    file.seek(0)
    if len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= _LARGEST_HEADER:
        return True
    return os.fspath(path).endswith(SUFFIX) and not start.startswith((b"PK", b"\x80"))


def read_header(file: IO[bytes], path: str | os.PathLike[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Read what a file of safetensors says of its tensors, and its metadata, without the tensors.

    Raises:
        CheckpointError: it is broken.
    """
    file.seek(0)
    try:
        length = int.from_bytes(file.read(8), "little")
        if length > _LARGEST_HEADER:
            raise ValueError("its header is too long")
        header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", {})
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        if os.fstat(file.fileno()).st_size != 8 + length + end:
            raise ValueError("it is longer or shorter than its header says")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is no file of safetensors, or a broken one: {error}") from error
    return header, metadata


def read_safetensors(file: IO[bytes], path: str | os.PathLike[str], map_location: Any = None) -> dict[str, Any]:
    """Read the weights of a file of safetensors; those that we wrote are compared with their checksums.

    Args:
        file: a file on the disk, open for reading.
        path: what it is called, for the message.
        map_location: where the tensors go: a device, or None for the CPU.

    Returns:
        ``{"state_dict": ...}``.

    Raises:
        CheckpointError: it is broken.
        ConfigError: the package is not installed, or a map_location that is neither.
    """
    package = _package("read", path)
    if map_location is not None and not isinstance(map_location, (str, torch.device)):
        raise ConfigError(f"{path}: map_location must be a device for a file of safetensors, not {map_location!r}")
    header, metadata = read_header(file, path)
    file.seek(0)
    try:
        tensors = package.load(file.read())
    except Exception as error:  # the package has one error of its own, and raises others too
        raise CheckpointError(f"{path} is no file of safetensors, or a broken one: {error}") from error
    _compare(tensors, metadata, path)
    order = sorted(tensors, key=lambda name: header[name]["data_offsets"][0])
    state = OrderedDict((name, tensors[name]) for name in order)
    if map_location is not None:
        state = OrderedDict((name, tensor.to(map_location)) for name, tensor in state.items())
    return {"state_dict": state}


def write_safetensors(state_dict: Mapping[str, Any], file: str | os.PathLike[str]) -> None:
    """Write weights to a local file, with a checksum for each.

    Args:
        state_dict: tensors by name. What shares memory is written once for each name.
        file: where to; it is not flushed to the disk.

    Raises:
        CheckpointError: something else than a dense tensor is among them.
        ConfigError: the package is not installed.
    """
    package = _package("write", file)
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, value in state_dict.items():
        if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
            raise CheckpointError(
                f"a file of safetensors holds dense tensors alone, and {name!r} is {_kind(value)}: "
                "save it as a .pth file"
            )
        tensor = value.detach().cpu().contiguous()
        if tensor.untyped_storage().data_ptr() in seen or tensor.untyped_storage().nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
        tensors[name] = tensor
    sums = json.dumps({name: _sum(name, tensor) for name, tensor in tensors.items()})
    package.save_file(tensors, os.fspath(file), metadata={"format": "pt", _SUMS: sums})


def _compare(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], path: str | os.PathLike[str]) -> None:
    if _SUMS not in metadata:
        return
    try:
        sums = json.loads(metadata[_SUMS])
        damaged = [name for name, tensor in tensors.items() if sums[name] != _sum(name, tensor)]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged: its checksums cannot be read ({error!r})") from error
    if damaged or len(sums) != len(tensors):
        raise CheckpointError(
            f"{path} is damaged: {damaged[0] if damaged else 'a tensor'!r} is not what was written. "
            "Copy it again, or use an older one"
        )


def _sum(name: str, tensor: torch.Tensor) -> int:
    start = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    if not tensor.numel():
        return start
    return zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, start)


def _kind(value: Any) -> str:
    return f"a {value.layout} tensor" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"


def _package(what: str, path: str | os.PathLike[str]) -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ConfigError(
            f"{os.fspath(path)}: files of safetensors take a package to {what}: pip install 'mmhooks[safetensors]'"
        ) from error
    return safetensors.torch

"""Results of all processes, brought together on rank 0 in the order of the data set."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from mmhooks.distributed.batches import to_device
from mmhooks.distributed.ranks import get_dist_info
from mmhooks.errors import ConfigError, HookError

T = TypeVar("T")


def collect_results_cpu(
    result_part: list[Any], size: int, tmpdir: str | os.PathLike[str] | None = None
) -> list[Any] | None:
    """Bring the results of all processes together on rank 0, through main memory or through files.

    Every process calls it. What is unpickled on rank 0 are the bytes that this run's own processes pickled: they
    come through the process group, or through a file whose SHA-256 comes through the process group.

    Args:
        result_part: this rank's results, as a ``DistributedSampler`` that does not shuffle deals the samples out:
            rank, rank + world size, ... Tensors arrive on the CPU.
        size: the number of samples; what a sampler added to make the parts equally long is cut off.
        tmpdir: a folder that all processes see. The results travel in files of a fresh folder in it, removed
            afterwards. None: they travel through main memory, by gloo (the network between nodes).

    Returns:
        The results in the order of the data set on rank 0, None on the others.

    Raises:
        ConfigError: a process cannot write to ``tmpdir``.
        HookError: a file is not what its process wrote, or every process has all results.
    """
    if get_dist_info()[1] == 1:
        return result_part[:size]
    if tmpdir is not None:
        return _in_order(_by_files(result_part, tmpdir), size)
    with _cpu_group() as group:
        return _in_order(_by_group(result_part, group), size)


def collect_results_gpu(result_part: list[Any], size: int) -> list[Any] | None:
    """Bring the results of all processes together on rank 0 by the run's own process group: with NCCL, by the GPUs.

    Every process calls it.

    Args:
        result_part: see `collect_results_cpu`. A GPU must have room for the pickled results of all processes.
        size: see `collect_results_cpu`.

    Returns:
        The results in the order of the data set on rank 0, None on the others.

    Raises:
        HookError: every process has all results.
    """
    if get_dist_info()[1] == 1:
        return result_part[:size]
    return _in_order(_by_group(result_part, None), size)


def broadcast_object(value: T) -> T:
    """Give every process the value of rank 0; every process calls it."""
    if get_dist_info()[1] == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gather_object(value: T) -> list[T] | None:
    """Bring a value of each process to rank 0, in the order of the ranks; every process calls it.

    Args:
        value: can be pickled; tensors arrive on the CPU.

    Returns:
        The values on rank 0, None on the others.
    """
    return [value] if get_dist_info()[1] == 1 else _by_group(value, None)


def _in_order(parts: Sequence[list[Any]] | None, size: int) -> list[Any] | None:
    if parts is None:
        return None
    if size > 1 and all(len(part) >= size for part in parts):
        raise HookError(
            f"each of the {len(parts)} processes has results of all {size} samples, so the loader deals none out: "
            "give it a sampler=DistributedSampler(dataset, shuffle=False)"
        )
    # parts may differ in length by one (a sampler that pads nothing) and be empty
    longest = max(map(len, parts))
    return [part[i] for i in range(longest) for part in parts if i < len(part)][:size]


def _by_group(part: T, group: dist.ProcessGroup | None) -> list[T] | None:
    rank, world_size = get_dist_info()
    parts: list[Any] | None = [None] * world_size if rank == 0 else None
    dist.gather_object(to_device(part, torch.device("cpu")), parts, dst=0, group=group)
    return parts


@contextlib.contextmanager
def _cpu_group() -> Iterator[dist.ProcessGroup | None]:
    """Give a process group that does not go through GPU memory, as NCCL's does."""
    if dist.get_backend() != "nccl":
        yield None
        return
    group = dist.new_group(backend="gloo")
    yield group
    dist.barrier(group)  # all that was sent has arrived
    dist.destroy_process_group(group)


def _by_files(part: list[Any], tmpdir: str | os.PathLike[str]) -> list[list[Any]] | None:
    rank, world_size = get_dist_info()
    made, folder, trouble = broadcast_object(_fresh_folder(Path(tmpdir)) if rank == 0 else (False, "", ""))
    if trouble:
        raise ConfigError(trouble)
    try:
        told: list[Any] = [None] * world_size
        dist.all_gather_object(told, _write(part, Path(folder, f"part_{rank}.pkl")))
        failed = [text for _, text in told if text]
        if failed:
            raise ConfigError(f"tmpdir={os.fspath(tmpdir)!r} must be a folder that all processes see: {failed[0]}")
        if rank != 0:
            return None
        return [_read(Path(folder, f"part_{i}.pkl"), digest) for i, (digest, _) in enumerate(told)]
    finally:
        if rank == 0:
            shutil.rmtree(folder, ignore_errors=True)
            if made:
                with contextlib.suppress(OSError):  # somebody else has put something there meanwhile
                    Path(tmpdir).rmdir()


def _fresh_folder(tmpdir: Path) -> tuple[bool, str, str]:
    """Give whether ``tmpdir`` was made for this, a new folder in it, and what went wrong."""
    made = not tmpdir.exists()
    try:
        tmpdir.mkdir(parents=True, exist_ok=True)
        return made, str(Path(tempfile.mkdtemp(prefix="results-", dir=tmpdir)).absolute()), ""
    except OSError as error:
        return made, "", f"tmpdir={str(tmpdir)!r} cannot hold the results: {error}"


def _write(part: list[Any], file: Path) -> tuple[str, str]:
    """Write a part; give its digest, and what went wrong."""
    content = pickle.dumps(to_device(part, torch.device("cpu")), pickle.HIGHEST_PROTOCOL)
    try:
        file.write_bytes(content)
    except OSError as error:
        return "", f"rank {get_dist_info()[0]} could not write there: {error}"
    return hashlib.sha256(content).hexdigest(), ""


def _read(file: Path, digest: str) -> list[Any]:
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise HookError(f"{file} is not what its process wrote, so it is not read: is the disk shared and in order?")
    return pickle.loads(content)  # type: ignore[no-any-return]  # our own process's bytes, by their digest

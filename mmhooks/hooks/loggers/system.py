"""What a run takes of its machine: memory and time."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from mmhooks.runner.base import BaseRunner

_OF_THE_CLOCK = ("time", "data_time")


def system_values(runner: BaseRunner, interval: int) -> dict[str, float]:
    """Measure the memory now, and the throughput of the last interval.

    Args:
        runner: whose log buffer has the times and the counts of samples.
        interval: how many iterations.

    Returns:
        ``system/memory_mib``, ``system/cuda_memory_mib`` and ``system/samples_per_second``, as far as they are known.
    """
    values: dict[str, float] = {}
    if (resident := _resident_mib()) is not None:
        values["system/memory_mib"] = resident
    if torch.cuda.is_available():
        values["system/cuda_memory_mib"] = torch.cuda.max_memory_allocated() / 2**20
    if (rate := _samples_per_second(runner, interval)) is not None:
        values["system/samples_per_second"] = rate
    return values


def _samples_per_second(runner: BaseRunner, interval: int) -> float | None:
    seconds = runner.log_buffer.output.get("time")
    counts = runner.log_buffer.n_history
    name = "loss" if "loss" in counts else next((name for name in counts if name not in _OF_THE_CLOCK), None)
    if not seconds or name is None:
        return None
    latest = [float(count) for count in counts[name][-interval:]]
    return runner.world_size * sum(latest) / len(latest) / seconds if latest else None


def _resident_mib() -> float | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

"""Ranks."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch.distributed as dist

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

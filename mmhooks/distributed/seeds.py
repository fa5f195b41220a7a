"""Seeds of a run, on one process or on many."""

from __future__ import annotations

import os
import random

import numpy as np
import torch
import torch.distributed as dist

from mmhooks.checks import check_flag
from mmhooks.distributed.ranks import get_dist_info
from mmhooks.errors import ConfigError

_LIMIT = 2**32  # NumPy takes no more


def set_random_seed(seed: int, deterministic: bool = False, use_rank_shift: bool = False) -> None:
    """Seed the generators of Python, NumPy and PyTorch (those of all GPUs too), and the hash of child processes.

    Args:
        seed: 0 to 2**32 - 1.
        deterministic: let cuDNN choose only kernels that repeat their result, without a benchmark.
        use_rank_shift: add the rank, so that each process draws other numbers.

    Raises:
        ConfigError: a seed out of range, or another argument that is not True or False.
    """
    check_seed(seed)
    check_flag("set_random_seed", "deterministic", deterministic)
    check_flag("set_random_seed", "use_rank_shift", use_rank_shift)
    if use_rank_shift:
        seed += get_dist_info()[0]
    random.seed(seed)
    np.random.seed(seed % _LIMIT)
    torch.manual_seed(seed)
    os.environ["PYTHONHASHSEED"] = str(seed)
    if deterministic:
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def sync_random_seed(seed: int | None = None) -> int:
    """Agree on one seed: that of rank 0. Every rank has to call it.

    Args:
        seed: what this process wants; a random one by default.

    Returns:
        The seed of rank 0, on every rank.

    Raises:
        ConfigError: a seed out of range.
    """
    if seed is None:
        seed = random.SystemRandom().randrange(2**31)
    check_seed(seed)
    if get_dist_info()[1] == 1:
        return seed
    device = torch.device("cuda") if dist.get_backend() == "nccl" else torch.device("cpu")
    agreed = torch.tensor(seed, device=device)
    dist.broadcast(agreed, src=0)
    return int(agreed)


def check_seed(seed: object) -> None:
    """Refuse what is no seed.

    Raises:
        ConfigError: it is no whole number from 0 to 2**32 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < _LIMIT:
        raise ConfigError(f"seed must be a whole number from 0 to 2**32 - 1, not {seed!r}")

"""Ranks, launchers, seeds, parallel wrappers, averages over processes, and batches on their way to a device."""

from mmhooks.distributed.batches import device_of, mover, to_device, unpacked
from mmhooks.distributed.launch import init_dist, launched
from mmhooks.distributed.ranks import get_dist_info, master_only
from mmhooks.distributed.reduce import allreduce_grads, allreduce_params
from mmhooks.distributed.seeds import set_random_seed, sync_random_seed
from mmhooks.distributed.wrappers import MMDataParallel, MMDistributedDataParallel, is_module_wrapper, unwrap

__all__ = [
    "MMDataParallel",
    "MMDistributedDataParallel",
    "allreduce_grads",
    "allreduce_params",
    "device_of",
    "get_dist_info",
    "init_dist",
    "is_module_wrapper",
    "launched",
    "master_only",
    "mover",
    "set_random_seed",
    "sync_random_seed",
    "to_device",
    "unpacked",
    "unwrap",
]

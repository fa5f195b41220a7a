"""The loaders of a config: ``data.samples_per_gpu``, ``data.workers_per_gpu``, and a data set for each split."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from mmhooks.checks import check_count
from mmhooks.config.source import Source
from mmhooks.distributed import get_dist_info
from mmhooks.errors import ConfigError, nearest
from mmhooks.registry import DATASETS, build_from_cfg


def build_loader(source: Source, split: str, seed: int | None, share: bool = True) -> DataLoader[Any]:
    """Build the data set of a split, and the loader over it: shuffled for training, in order otherwise.

    In several processes each loads its share. For training the shares are equally long; otherwise they may differ by
    one, so that no sample is counted twice. An iterable data set deals itself out.

    Args:
        source: the config.
        split: ``"train"``, ``"val"`` or ``"test"``.
        seed: of the workers, and of the order in which several processes train. None: the workers are not seeded.
        share: several processes each load their share; otherwise each loads all.

    Raises:
        ConfigError: a key of ``data`` that is missing or cannot be used.
        RegistryError: a data set that nobody registered.
    """
    data = source.section("data")
    if "samples_per_gpu" not in data:
        raise ConfigError(f"{source.name} has no 'data.samples_per_gpu'{nearest('samples_per_gpu', map(str, data))}")
    batch_size = check_count(source.name, "data.samples_per_gpu", data["samples_per_gpu"])
    workers = check_count(source.name, "data.workers_per_gpu", data.get("workers_per_gpu", 0), minimum=0)
    config = source.section(f"data.{split}")
    with source.building(f"data.{split}"):
        dataset = build_from_cfg(config, DATASETS)
    ranks = get_dist_info() if share else (0, 1)
    order = {} if isinstance(dataset, IterableDataset) else _order(dataset, split == "train", seed, *ranks)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        num_workers=workers,
        worker_init_fn=None if seed is None else functools.partial(_seed_worker, workers, seed),
        **order,
    )


def _order(dataset: Any, shuffle: bool, seed: int | None, rank: int, world_size: int) -> dict[str, Any]:
    if world_size == 1:
        return {"shuffle": shuffle}
    share: Iterable[int] = range(rank, len(dataset), world_size)
    if shuffle:
        share = DistributedSampler(dataset, world_size, rank, seed=seed or 0)
    return {"sampler": share}


def _seed_worker(workers: int, seed: int, worker: int) -> None:
    # as MMCV's projects do; PyTorch's own generator is seeded by the loader, anew for every epoch
    worker_seed = (workers * get_dist_info()[0] + worker + seed) % 2**32  # NumPy takes no more
    random.seed(worker_seed)
    np.random.seed(worker_seed)

"""The loaders of a config: ``data.samples_per_gpu``, ``data.workers_per_gpu``, and a data set for each split."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from mmhooks.checks import check_count
from mmhooks.config.source import Source
from mmhooks.distributed import get_dist_info
from mmhooks.distributed.batches import device_of, to_device
from mmhooks.errors import ConfigError, nearest
from mmhooks.registry import DATASETS, build_from_cfg


def build_loader(source: Source, split: str, seed: int | None, share: bool = True) -> DataLoader[Any]:
    """Build the data set of a split, and the loader over it: shuffled for training, in order otherwise.

    See `data_loader` for what several processes load.

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
    return data_loader(dataset, batch_size, workers, shuffle=split == "train", seed=seed, share=share)


def data_loader(
    dataset: Any,
    samples_per_gpu: int,
    workers_per_gpu: int = 0,
    *,
    shuffle: bool,
    seed: int | None = None,
    share: bool = True,
) -> DataLoader[Any]:
    """Make the loader over a data set that a config with these arguments means.

    In several processes each loads its share. Shuffled, the shares are equally long; otherwise they may differ by
    one, so that no sample is counted twice. An iterable data set deals itself out.

    Args:
        dataset: the data set.
        samples_per_gpu: samples of a batch, in each process.
        workers_per_gpu: worker processes of each process.
        shuffle: in an order that is drawn anew for every epoch.
        seed: of the workers, and of the order in which several processes train. None: the workers are not seeded.
        share: several processes each load their share; otherwise each loads all.
    """
    ranks = get_dist_info() if share else (0, 1)
    order = {} if isinstance(dataset, IterableDataset) else _order(dataset, shuffle, seed, *ranks)
    return DataLoader(
        dataset,
        batch_size=samples_per_gpu,
        num_workers=workers_per_gpu,
        worker_init_fn=None if seed is None else functools.partial(_seed_worker, workers_per_gpu, seed),
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


class MovedLoader:
    """A loader whose batches come as a model takes them: on its device, and without containers of mmcv around them.

    In everything else it is the loader.

    Args:
        loader: the loader.
        model: whose device counts, at the time of the iteration.
    """

    def __init__(self, loader: Any, model: nn.Module) -> None:
        self._loader = loader
        self._model = model

    def __iter__(self) -> Iterator[Any]:
        device = device_of(self._model)
        return (to_device(batch, device) for batch in self._loader)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # while it is copied or unpickled
            raise AttributeError(name)
        return getattr(self._loader, name)

"""Loaders as the native runners use them: iterators made late, and emptied to the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from mmhooks.runner import IterLoader


class LazyLoader:
    """A loader whose iterator is made at the first batch, not when the Trainer asks for one.

    The Trainer makes the first train iterator before any callback is called, and does not take the final step
    that empties an iterator. Both draw random numbers, so both are moved to where a native runner has them.

    Args:
        source: the user's loader.
        hide_sampler: keep the Trainer from calling ``set_epoch`` on a sampler that it did not make.

    Attributes:
        override: a loader to use in place of the source, set by a hook for one epoch.
        endless: the never-ending iterator of an iteration-based run.
        epoch: passes that were finished before the last batch was asked for: MMCV's epoch, late at a rollover.
        length: what the Trainer is told in place of the loader's own length.
    """

    def __init__(self, source: Any, hide_sampler: bool) -> None:
        self.source = source
        self.override: Any = None
        self.endless: IterLoader | None = None
        self.length: int | None = None
        self.epoch = 0
        self._hidden = ("sampler", "batch_sampler") if hide_sampler else ()
        self._active: _LazyIterator | None = None

    def __iter__(self) -> Iterator[Any]:
        self._active = _LazyIterator(self)
        return self._active

    def __len__(self) -> int:
        if self.length is not None:
            return self.length
        return len(self.current)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in self._hidden:  # private names are the DataLoader's own business
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.source, name)

    @property
    def worker_init_fn(self) -> Any:
        """The source's; the Trainer sets one to seed workers."""
        return self.source.worker_init_fn

    @worker_init_fn.setter
    def worker_init_fn(self, function: Any) -> None:
        self.source.worker_init_fn = function

    @property
    def current(self) -> Any:
        """The loader of this epoch."""
        return self.source if self.override is None else self.override

    @property
    def is_sized(self) -> bool:
        """Whether the source knows its length: a DataLoader over an iterable data set has the method, and it fails."""
        try:
            len(self.source)
        except TypeError:
            return False
        return True

    def exhaust(self) -> None:
        """Take the step after the last batch, at which samplers and workers finish."""
        if self._active is not None and self.endless is None:
            self._active.exhaust()

    def end_workers(self) -> None:
        """End workers that stay between passes: the next pass starts them, with the seed of a native run."""
        iterator = getattr(self.source, "_iterator", None)
        if iterator is not None and hasattr(iterator, "_shutdown_workers"):
            iterator._shutdown_workers()
            self.source._iterator = None

    def generators(self) -> list[torch.Generator]:
        """List the random generators that belong to the loader and its samplers."""
        holders = [self.source, getattr(self.source, "sampler", None), getattr(self.source, "batch_sampler", None)]
        found = [getattr(holder, "generator", None) for holder in holders]
        return [generator for generator in found if isinstance(generator, torch.Generator)]


def pass_length(loader: LazyLoader, limit: int | float) -> int | None:
    """Count the batches of a pass over a loader as it is now.

    Args:
        loader: the loader.
        limit: of the Trainer: a number of batches, or a part of them.

    Returns:
        The number, or None where it is not known.
    """
    try:
        length = len(loader)
    except TypeError:  # of a DataLoader over an iterable data set, which has the method all the same
        return None
    return min(length, limit) if isinstance(limit, int) else int(length * limit)


class StatefulLazyLoader(LazyLoader):
    """A `LazyLoader` over a loader that can save and restore its position."""

    def state_dict(self) -> Any:
        """Give the source's position."""
        return self.source.state_dict()

    def load_state_dict(self, state: Any) -> None:
        """Restore the source's position."""
        self.source.load_state_dict(state)


def lazy(source: Any, hide_sampler: bool) -> LazyLoader:
    """Wrap a loader."""
    stateful = hasattr(source, "state_dict") and hasattr(source, "load_state_dict")
    return (StatefulLazyLoader if stateful else LazyLoader)(source, hide_sampler)


class _LazyIterator:
    def __init__(self, loader: LazyLoader) -> None:
        self._loader = loader
        self._iterator: Any = None
        self._taken = 0

    def __iter__(self) -> _LazyIterator:
        return self

    def __next__(self) -> Any:
        if self._loader.endless is not None:
            self._loader.epoch = self._loader.endless.epoch
            return next(self._loader.endless)
        if self._iterator is None:
            self._iterator = iter(self._loader.current)
        batch = next(self._iterator)
        self._taken += 1
        return batch

    def exhaust(self) -> None:
        if self._iterator is not None and self._taken == len(self._loader):
            next(self._iterator, None)
            self._iterator = None

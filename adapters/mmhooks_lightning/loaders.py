"""Loaders as the native runners use them: iterators made late, and emptied to the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.combined_loader import CombinedLoader
from lightning_utilities.core.apply_func import apply_to_collection

from mmhooks.runner import IterLoader
from mmhooks.runner.randomness import generators_of


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
        first: batches of the next pass that lie behind: a resumed run has trained on them.
        open_pass: makes the next iterator of a train epoch, for the runner that keeps it for files.
        settle: called before the first batch of a resumed run.
        restored: the position that the Trainer has for the source, if it can restore one itself.
        begun: an iterator has been made.
        shown: the loader that hooks see: the source, or a `LimitedLoader` over it.
    """

    def __init__(self, source: Any, hide_sampler: bool) -> None:
        self.source = source
        self.shown = source
        self.override: Any = None
        self.endless: IterLoader | None = None
        self.length: int | None = None
        self.epoch = 0
        self.first = 0
        self.open_pass: Callable[[], Iterator[Any]] | None = None
        self.settle: Callable[[], None] | None = None
        self.restored: Any = None
        self.begun = False
        self._hidden = ("sampler", "batch_sampler") if hide_sampler else ()
        self._active: _LazyIterator | None = None
        self._generators: list[tuple[torch.Generator, torch.Tensor]] = []

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

    def limit_to(self, limit: float) -> None:
        """Let hooks see a loader that ends where the Trainer stops to take batches.

        Args:
            limit: a number of batches, or 1.0 or less: a part of all.
        """
        if self.is_sized:
            length = limited_length(len(self.source), limit)
            if length < len(self.source):
                self.shown = LimitedLoader(self.source, length)
        elif isinstance(limit, int):
            self.shown = LimitedLoader(self.source, limit)

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

    def remember_generators(self) -> None:
        """Note where the loader's own random generators are."""
        self._generators = [(generator, generator.get_state()) for generator in self.generators()]

    def restore_generators(self) -> None:
        """Set them back to there."""
        for generator, state in self._generators:
            generator.set_state(state)

    def begin(self) -> Iterator[Any]:
        """Make an iterator, of a train epoch as the runner wants it."""
        opened, self.open_pass = self.open_pass, None
        restored, self.restored, self.begun = self.restored, None, True
        if opened is not None:
            return opened()
        if restored is not None:
            self.source.load_state_dict(restored)
        return iter(self.current)

    def go_on(self) -> None:
        """Let a resumed run go on, now that the next batch is wanted."""
        settle, self.settle = self.settle, None
        if settle is not None:
            settle()

    def make_endless(
        self, epoch: int, taken: int, place: Mapping[str, Any] | None, logger: logging.Logger
    ) -> IterLoader:
        """Let an iteration-based run take its batches, from a place in a pass on; see `IterLoader`."""
        self.endless = IterLoader(self.shown, epoch, taken, place, logger)
        self.restored, self.begun = None, True
        return self.endless

    def generators(self) -> list[torch.Generator]:
        """List the random generators that belong to the loader and its samplers."""
        return generators_of(self.source)


def pass_length(loader: LazyLoader, limit: float) -> int | None:
    """Count the batches that a Trainer takes from a loader as it is now.

    Args:
        loader: the loader.
        limit: a number of batches, or 1.0 or less: a part of all.

    Returns:
        The number, or None where it is not known.
    """
    try:
        return limited_length(len(loader), limit)
    except TypeError:  # of a DataLoader over an iterable data set, which has the method all the same
        return None


def limited_length(length: int, limit: float) -> int:
    """Give the number of batches that a Trainer takes from a loader.

    Args:
        length: of the loader.
        limit: a number of batches, or 1.0 or less: a part of all.
    """
    return min(length, limit) if isinstance(limit, int) else int(length * limit)


class LimitedLoader:
    """The first batches of a loader.

    Args:
        source: the loader.
        limit: how many batches.
    """

    def __init__(self, source: Any, limit: int) -> None:
        self.source = source
        self.limit = limit

    def __iter__(self) -> Iterator[Any]:
        return islice(self.source, self.limit)

    def __len__(self) -> int:
        return self.limit

    def __getattr__(self, name: str) -> Any:
        # while it is being copied, it has no source yet; a position of the source knows nothing of the limit
        if name.startswith("_") or name in ("source", "state_dict", "load_state_dict"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.source, name)


class StatefulLazyLoader(LazyLoader):
    """A `LazyLoader` over a loader that can save and restore its position."""

    def state_dict(self) -> Any:
        """Give the source's position; one that has not begun would begin, and draw random numbers for it."""
        return self.source.state_dict() if self.begun else self.restored or {}

    def load_state_dict(self, state: Any) -> None:
        """Keep the position that the source is to go on from, should the run not know a better one."""
        self.restored = state or None


def lazy(source: Any, hide_sampler: bool) -> LazyLoader:
    """Wrap a loader."""
    stateful = hasattr(source, "state_dict") and hasattr(source, "load_state_dict")
    return (StatefulLazyLoader if stateful else LazyLoader)(source, hide_sampler)


class TrainLoaders:
    """What hooks see of several train loaders: as many batches as an epoch has.

    Other attributes are those of the first loader.

    Args:
        combined: what the Trainer combines.
        batches: the length of an epoch.
        first: the first loader.
    """

    def __init__(self, combined: CombinedLoader, batches: int, first: Any) -> None:
        self.combined = combined
        self._batches = batches
        self._first = first

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[Any]:
        return (batch for batch, _, _ in islice(self.combined, self._batches))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._first, name)


def shown(loaders: list[LazyLoader], trainer: pl.Trainer, batches: float) -> Any:
    """Give what hooks see as the train loader.

    Args:
        loaders: the Trainer's, wrapped.
        trainer: how it combines them.
        batches: how many batches it takes in an epoch.

    Returns:
        The user's loader, unless there are several or the Trainer takes fewer batches than it has.
    """
    if not loaders:
        return None
    combined = trainer.fit_loop._combined_loader
    if len(loaders) == 1 or combined is None:
        return loaders[0].shown
    sources = apply_to_collection(combined.iterables, LazyLoader, lambda loader: loader.source)
    return TrainLoaders(CombinedLoader(sources, combined._mode), int(batches), loaders[0].source)


class _LazyIterator:
    def __init__(self, loader: LazyLoader) -> None:
        self._loader = loader
        self._iterator: Any = None
        self._taken = 0

    def __iter__(self) -> _LazyIterator:
        return self

    def __next__(self) -> Any:
        endless = self._loader.endless
        if endless is not None:
            if self._loader.settle is not None:
                self._loader.go_on()
            self._loader.epoch = endless.epoch
            return next(endless)
        if self._iterator is None:
            self._taken = self._loader.first
            self._iterator = self._loader.begin()
            self._loader.go_on()
        batch = next(self._iterator)
        self._taken += 1
        return batch

    def exhaust(self) -> None:
        if self._iterator is not None and self._taken == len(self._loader):
            next(self._iterator, None)
            self._iterator = None

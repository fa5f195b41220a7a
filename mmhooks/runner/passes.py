"""Passes over loaders, which another process can repeat up to where a file was saved."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch.utils.data import IterableDataset

from mmhooks.runner.randomness import random_state, set_random_state, set_states_of, states_of


class Pass:
    """One pass over a loader, from a place in it on.

    With the place of a file, the iterator is made with the random numbers with which that pass began, and what lies
    behind is passed over: what samplers and workers draw, and data sets in this process, is drawn again. A loader with
    ``state_dict`` and ``load_state_dict`` (torchdata's StatefulDataLoader) is given its own state instead.

    Args:
        loader: what is iterated over.
        taken: batches that lie behind.
        place: what `state` gave for the file that is resumed.
        passes: passes over the loader that are finished.
        logger: hears of what cannot be repeated.

    Attributes:
        batches: what is left of the pass, an iterator.
    """

    def __init__(
        self,
        loader: Any,
        taken: int = 0,
        place: Mapping[str, Any] | None = None,
        passes: int = 0,
        logger: logging.Logger | None = None,
    ) -> None:
        self._loader = loader
        self._first: Mapping[str, Any] | None = None
        if place is None:
            self._random, self._generators = random_state(), states_of(loader)
            self.batches: Iterator[Any] = iter(loader)
            for _ in range(taken):
                next(self.batches, None)
            return
        self._random, self._generators, self._first = place["random"], place["generators"], place.get("first")
        self.batches = self._again(taken, place)
        set_states_of(loader, place["now"])
        why = _not_repeated(loader, taken, passes, place.get("state"))
        if why is not None and logger is not None:
            logger.warning("this resume is not exact: %s", why)

    def _again(self, taken: int, place: Mapping[str, Any]) -> Iterator[Any]:
        loader, held = self._loader, bool(place["held"])
        if not held and taken and taken >= _length(loader):
            return iter(())  # all of it lies behind: nothing need be loaded
        set_random_state(self._random)
        set_states_of(loader, self._generators)
        state = place.get("state")
        if state is not None and hasattr(loader, "load_state_dict"):
            loader.load_state_dict(state)
            return iter(loader)
        batches = iter(loader)
        if self._first is not None:
            set_random_state(self._first)
        for _ in range(taken):
            next(batches, None)
        # one that a file found in the runner's hands is loaded before the random numbers go on from there
        return chain([batch], batches) if held and (batch := next(batches, _NONE)) is not _NONE else batches

    def begin(self) -> None:
        """Note where the random numbers are before the first batch: a sampler that shuffles draws its order only then.

        Others may have drawn since the iterator was made.
        """
        if self._first is None:
            self._first = random_state()

    def state(self, held: bool) -> dict[str, Any]:
        """Say what it takes to repeat the pass up to here.

        Args:
            held: the last batch that was taken is still to be trained on.
        """
        found: dict[str, Any] = {
            "random": self._random,
            "generators": self._generators,
            "now": states_of(self._loader),
            "held": held,
        }
        if self._first is not None:
            found["first"] = self._first
        if not held and hasattr(self._loader, "state_dict") and hasattr(self._loader, "load_state_dict"):
            state = self._loader.state_dict()  # a batch that is held would lie behind
            if _is_plain(state):
                found["state"] = state
        return found


_NONE = object()
_ATOMS = (type(None), bool, int, float, complex, str, bytes, torch.Tensor)


def _is_plain(value: Any) -> bool:
    """Tell whether a file with this can be read with ``weights_only=True``."""
    if isinstance(value, dict):
        return type(value) is dict and all(_is_plain(one) for pair in value.items() for one in pair)
    if isinstance(value, (list, tuple)):
        return type(value) in (list, tuple) and all(map(_is_plain, value))
    return type(value) in _ATOMS


def _length(loader: Any) -> float:
    try:
        return len(loader)
    except TypeError:
        return float("inf")


def _not_repeated(loader: Any, taken: int, passes: int, state: Any) -> str | None:
    """Tell why the batches that follow, or their random numbers, may not be those of an uninterrupted run."""
    name = type(loader).__name__
    if getattr(loader, "persistent_workers", False) and passes:
        return (
            f"the workers of this {name} stay from pass to pass, and so would their random numbers. Should the data "
            "set draw some, use persistent_workers=False"
        )
    if not taken or state is not None:
        return None
    if hasattr(loader, "__next__"):
        return f"this {name} is an iterator, which gives its batches once: make it a loader that begins anew"
    dataset = getattr(loader, "dataset", None)
    if isinstance(dataset, IterableDataset) and not hasattr(dataset, "state_dict"):
        return (
            f"{type(dataset).__name__} is an iterable data set that does not say where it is, so the first {taken} "
            "batches are passed over as they come now. Use torchdata's StatefulDataLoader and give the data set "
            "state_dict and load_state_dict"
        )
    return None

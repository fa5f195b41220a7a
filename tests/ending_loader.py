"""A loader for tests that make many of them."""

from __future__ import annotations

import weakref
from typing import Any

from torch.utils.data import DataLoader


class Loader(DataLoader[Any]):
    """Ends its workers when a run is over.

    A runner, its hooks and its loaders refer to each other, and of an iterator that the garbage collector finds in
    such a circle PyTorch waits 5 s for each worker.
    """

    def __iter__(self) -> Any:
        iterator = super().__iter__()
        if self.num_workers:
            self.iterators = [*getattr(self, "iterators", ()), weakref.ref(iterator)]
        return iterator

    def end(self) -> None:
        for reference in getattr(self, "iterators", ()):
            iterator = reference()
            if iterator is not None:
                iterator._shutdown_workers()

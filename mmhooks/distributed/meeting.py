"""Meeting: ranks agree on an iteration at which all of them stop."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from torch.distributed import distributed_c10d

from mmhooks.distributed.ranks import get_dist_info

_numbers = itertools.count()  # the ranks hold their meetings in the same order
_POLL = 0.2
_PATIENCE = 1.0


class Meeting:
    """Lets any rank call the others to stop, and finds the iteration at which all are there.

    As long as nobody calls, an iteration costs nothing: a thread looks every now and then into the store through which
    the process group was made. Once called, each rank notes there the iteration that it has finished; all stop after
    the one that follows the latest of these. Gradients are exchanged in every iteration, so no rank can have passed it
    before it knows; where they are not, a rank waits a second for the others at each of its iterations.

    Args:
        called: told, in a thread, the value of a call.
    """

    def __init__(self, called: Callable[[int], object]) -> None:
        self._called = called
        self._store: Any = distributed_c10d._get_default_store()
        self._rank, world_size = get_dist_info()
        name = f"mmhooks/meeting/{next(_numbers)}"
        self._call = f"{name}/call"
        self._notes = [f"{name}/{rank}" for rank in range(world_size)]
        self._noted = False
        self._place: int | None = None
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._wait_for_call, name="mmhooks-meeting", daemon=True)
        self._watch.start()

    def _wait_for_call(self) -> None:
        while not self._over.wait(_POLL):
            try:
                if self._store.check([self._call]):
                    self._called(int(self._store.get(self._call)))
                    return
            except RuntimeError:  # the store is gone, and so is the run
                return

    def is_here(self, value: int, iteration: int) -> bool:
        """Tell whether this is where all ranks stop; those who ask call the others.

        Args:
            value: what the others are told.
            iteration: the one that is finished.
        """
        if self._place is None:
            if not self._noted:
                self._store.set(self._call, str(value))
                self._store.set(self._notes[self._rank], str(iteration))
                self._store.get(self._notes[self._rank])  # once it is answered, whoever looks finds the note
                self._noted = True
            if not self._all_noted():
                return False
            self._place = max(int(self._store.get(note)) for note in self._notes) + 1
        return iteration >= self._place

    def _all_noted(self) -> bool:
        end = time.monotonic() + _PATIENCE
        while not self._store.check(self._notes):
            if time.monotonic() > end:
                return False  # they may wait for the gradients of this rank
            time.sleep(0.005)
        return True

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self._watch.join()

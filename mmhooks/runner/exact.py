"""What a run needs, beside its position, to go on as if it had not been cut."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from mmhooks.distributed import get_dist_info, unwrap
from mmhooks.distributed.collect import gather_object
from mmhooks.errors import CheckpointError
from mmhooks.hook import Hook
from mmhooks.log_buffer import LogBuffer
from mmhooks.runner.passes import Pass
from mmhooks.runner.randomness import Snapshot, check_random_state, restore, snapshot
from mmhooks.runner.registration import HookRegistration

#: Points at which an iteration, or an epoch, is finished: a file that is saved there holds it, and hooks whose turn is
#: still to come have not seen it.
_CLOSING = ("after_train_iter", "after_train_epoch")


class ExactResume(HookRegistration):
    """The part of a runner that keeps random numbers, passes over loaders and log values for files, and takes them up.

    A file holds under ``mmhooks``, for each rank: ``now``, where its random generators were when it was saved;
    ``began``, where they were before the first hook of the epoch in progress; and ``passes``, from which the iterators
    can be made again. The loop takes them up in two steps: `_take_up` before its first point, which is called as it was
    when the epoch began, and `_settle` when the iterators are where they were.
    """

    model: nn.Module
    logger: logging.Logger
    log_buffer: LogBuffer
    epoch: int
    inner_iter: int
    mode: str | None
    data_loader: Any
    data_batch: Any
    _stepped: bool
    _phase: str
    _flow: tuple[int, int]
    _loaders: Sequence[Any]
    #: What the point that is being called has still to call.
    _turn: Iterator[Any] = iter([])
    #: The loaders of the run, one a flow.
    _sources: Sequence[Any] = ()
    _began: Snapshot | None = None
    _pass: Pass | None = None
    _gathered: tuple[Any, list[Any]] | None = None
    # of a file that is resumed, until the loop takes it
    _due: Mapping[str, Any] | None = None
    _due_shared: Mapping[str, Any] = {}
    iter: int

    # saving -----------------------------------------------------------------------------------------------

    def gather_ranks(self) -> None:
        """Bring to rank 0 what each rank has to restore, for a file that is saved next; every rank calls it.

        Saving is up to rank 0 alone, which may call `save_checkpoint` by itself. Its file then holds its own random
        numbers, and not those of the others.
        """
        if get_dist_info()[1] > 1:
            parts = gather_object(self._own_part())
            self._gathered = self._moment(), parts or []

    def _moment(self) -> Any:
        return self.epoch, self.iter, self._stepped, self._phase, self.mode

    def _parts(self) -> list[Any]:
        """Give what each rank has to restore, as far as it is known here."""
        gathered, self._gathered = self._gathered, None
        if gathered is not None and gathered[0] == self._moment():
            return gathered[1]
        return [self._own_part()]

    def _own_part(self) -> dict[str, Any]:
        if self._due is not None:  # the loop has not come to it yet, so nothing has changed
            return dict(self._due)
        part: dict[str, Any] = {"now": snapshot(self._sources)}
        if self._began is not None:
            part["began"] = self._began
        if self._phase == "open":
            held = self.data_batch is not None and not self._stepped
            current = [self._pass] if self.by_epoch else [loader.current for loader in self._loaders]
            loaders = [self.data_loader] if self.by_epoch else self._loaders
            part["passes"] = [
                one.state(held and loader is self.data_loader)
                for one, loader in zip(current, loaders, strict=True)
                if one is not None
            ]
        return part

    def _shared_part(self) -> dict[str, Any]:
        """Give what rank 0 knows for all: log values, modules in eval mode, hooks that are still to be called."""
        if self._due is not None:
            return dict(self._due_shared)
        shared: dict[str, Any] = {"log": self.log_buffer.state_dict(), "left": self._left()}
        if self.by_epoch and self._phase == "open":
            shared["eval"] = [name for name, one in unwrap(self.model).named_modules() if not one.training]
        return shared

    def _left(self) -> dict[str, Any]:
        """Name the hooks that have not seen the iteration, or epoch, that a file holds as finished."""
        point = _CLOSING[0] if self._stepped else _CLOSING[1] if self._phase == "closing" else None
        names: list[tuple[str, int]] = []
        if point is not None and (entry := self.call_table.entries.get(point)) is not None:
            turn: Any = self._turn.__reduce__()  # of the list that it goes through, the place that comes next
            if len(turn) == 3 and turn[1][0] is entry.calls:
                names = [name for hook, _ in entry.turns[turn[2] :] for name in self._names([hook])]
        return {"point": point, "hooks": names, "inner_iter": self.inner_iter}

    def _names(self, wanted: Sequence[Any]) -> list[tuple[str, int]]:
        """Name hooks that catch up, for a file: the name of their state, and their place among those of that name."""
        seen: dict[str, int] = {}
        found = []
        for hook in self.hooks:
            if isinstance(hook, Hook):
                seen[hook.state_name] = number = seen.get(hook.state_name, -1) + 1
                if hook.catches_up and any(hook is one for one in wanted):
                    found.append((hook.state_name, number))
        return found

    # resuming ---------------------------------------------------------------------------------------------

    def _expect(self, exact: Mapping[str, Any]) -> None:
        """Note what a file holds for this rank, for the loop to take up."""
        parts = exact.get("ranks")
        rank, world_size = get_dist_info()
        if parts is None:
            return
        if len(parts) != world_size:
            self.logger.warning(
                "one rank alone saved this file, so it holds no random numbers of the others, and this resume is not "
                "exact: let every rank call runner.gather_ranks() before runner.save_checkpoint()"
            )
            return
        self._due = parts[rank]
        self._due_shared = {key: exact[key] for key in ("log", "left", "eval") if key in exact}

    def _place(self, index: int) -> Mapping[str, Any] | None:
        """Give the place of a file in the pass over a loader."""
        passes = [] if self._due is None else self._due.get("passes", [])
        return passes[index] if index < len(passes) else None

    def _open_pass(self, first: int) -> Iterator[Any]:
        """Begin a train epoch's pass over the loader, or go on in the one of a file."""
        if first:
            self.logger.info("%d batches that the resumed run has trained on are passed over", first)
        self._pass = Pass(self.data_loader, first, self._place(0), self.epoch, self.logger)
        return self._pass.batches

    def _take_up(self) -> None:
        """Let the first point of the loop find the random numbers that it found in the run that is resumed."""
        due = self._due
        if due is None:
            return
        restore(due.get("began", due["now"]), self._sources)
        if "began" not in due:
            self._settle()
        elif not due.get("passes"):  # the epoch had not begun, or is one of validation, which is done anew
            self._due = None

    def _settle(self) -> None:
        """Go on at the moment at which the file was saved."""
        due, self._due = self._due, None
        if due is None:
            return
        shared = self._due_shared
        restore(due["now"], self._sources)
        if get_dist_info()[0] == 0 and "log" in shared:
            self.log_buffer.load_state_dict(shared["log"])
        if self.by_epoch and "eval" in shared:
            for name, module in unwrap(self.model).named_modules():
                module.training = name not in shared["eval"]
        left = shared.get("left", {})
        if left.get("hooks"):
            self._catch_up(left["point"], {tuple(name) for name in left["hooks"]}, int(left["inner_iter"]))

    def _catch_up(self, point: str, names: set[Any], inner_iter: int) -> None:
        """Call the hooks whose turn was still to come at the point at which the file was saved."""
        entry = self.call_table.entry(point)
        calls = [call for hook, call in entry.turns if names.intersection(self._names([hook]))]
        if not calls:
            return
        with self._back_at(point, inner_iter):
            for call in calls:
                call(self)

    @contextlib.contextmanager
    def _back_at(self, point: str, inner_iter: int) -> Iterator[None]:
        """Show hooks the runner as it is at the end of an iteration or an epoch that is counted already."""
        before = self.mode, self._phase, self._flow, self.inner_iter
        self.mode, self.inner_iter = "train", inner_iter
        if point == _CLOSING[0]:
            self.iter -= 1
            self._stepped = True
        else:
            self.epoch -= 1
            self._phase, self._flow = "closing", (self._flow[0], self._flow[1] - 1)
        try:
            yield
        finally:
            self.mode, self._phase, self._flow, self.inner_iter = before
            if point == _CLOSING[0]:
                self.iter += 1
                self._stepped = False
            else:
                self.epoch += 1

    def _forget_course(self) -> None:
        """Let go of what belongs to a run that is over."""
        self._turn, self._sources, self._began, self._pass = iter([]), (), None, None
        self._gathered = self._due = None
        self._due_shared = {}


def check_exact(exact: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """See that what a file holds for an exact resume can be set, before anything changes.

    Raises:
        CheckpointError: a part is of another kind.
    """
    try:
        for part in exact.get("ranks", ()):
            for one in (part["now"], part.get("began", part["now"])):
                check_random_state(one["random"])
                _ = [[state.cpu() for state in states] for states in one["generators"]]
            for place in part.get("passes", ()):
                for state in (place["random"], place.get("first", place["random"])):
                    check_random_state(state)
                _ = [state.cpu() for state in (*place["generators"], *place["now"])], place["held"]
        LogBuffer().load_state_dict(exact.get("log", {}))
        left = exact.get("left", {})
        if left.get("hooks") and (left["point"] not in _CLOSING or int(left["inner_iter"]) < 0):
            raise ValueError(f"no hook is called at {left['point']!r}")
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise CheckpointError(
            f"{os.fspath(path)} is malformed: what 'mmhooks' holds cannot be used ({cause})"
        ) from error

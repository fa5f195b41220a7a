"""Trace: what a run does, without its model."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmhooks.runner.base import Workflow
from mmhooks.runner.checks import check_workflow


@dataclass(frozen=True)
class Run:
    """How long a run is, and in which order it trains and validates.

    Attributes:
        by_epoch: it counts epochs; otherwise iterations.
        length: how many of them.
        workflow: ``[("train", 1)]`` or the like.
    """

    by_epoch: bool
    length: int
    workflow: Workflow

    @classmethod
    def of(cls, run: Mapping[str, Any]) -> Run:
        """Read ``dict(by_epoch=True, max_epochs=12, workflow=[("train", 1)])``."""
        by_epoch = bool(run["by_epoch"])
        workflow = [(str(mode), int(count)) for mode, count in run.get("workflow") or [("train", 1)]]
        check_workflow(workflow)
        return cls(by_epoch, run["max_epochs" if by_epoch else "max_iters"], workflow)

    def iterations(self, epoch_len: int) -> int:
        """Count the train iterations."""
        return self.length * epoch_len if self.by_epoch else self.length

    def __str__(self) -> str:
        return f"{self.length} {'epochs' if self.by_epoch else 'iterations'} of {self.workflow}"


@dataclass(frozen=True)
class Unwalked:
    """What could not be walked.

    Attributes:
        what: the class of a hook, or what else.
        key: the key of the config that asks for it.
        reason: why.
    """

    what: str
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.key or 'the run'}: {self.what}: {self.reason}"


@dataclass(frozen=True)
class Call:
    """A point that was reached, with the counters that the hooks see there."""

    point: str
    epoch: int
    iter: int
    inner_iter: int


@dataclass(frozen=True)
class Event:
    """A file that is written or deleted, or an evaluation.

    Attributes:
        kind: ``"save"``, ``"remove"`` or ``"evaluate"``.
        name: of the file, in the work_dir; of an evaluation, the class of its hook.
        epoch: epochs that were finished before.
        iter: iterations that were finished before this one.
    """

    kind: str
    name: str
    epoch: int
    iter: int


@dataclass
class Rates:
    """The lr and the momentum of every param group at every iteration, as the optimizer steps with them.

    Attributes:
        groups: the names of the param groups: of the optimizers, where there are several.
        lr: for each of them, a value an iteration; none where the lr could not be walked.
        momentum: likewise.
    """

    groups: list[str] = field(default_factory=list)
    lr: list[array[float]] = field(default_factory=list)
    momentum: list[array[float]] = field(default_factory=list)


@dataclass
class Files:
    """What a run leaves behind.

    Attributes:
        events: saves, removals and evaluations, in order.
        steps: how often a hook steps the optimizer; None: none does, ``train_step`` has to.
    """

    events: list[Event] = field(default_factory=list)
    steps: int | None = None

    @property
    def saves(self) -> list[str]:
        """The names of the files that were written, in order."""
        return [event.name for event in self.events if event.kind == "save"]

    @property
    def kept(self) -> list[str]:
        """The names of the files that are there at the end."""
        there: dict[str, None] = {}
        for event in self.events:
            if event.kind == "save":
                there[event.name] = None
            elif event.kind == "remove":
                there.pop(event.name, None)
        return list(there)

    @property
    def evaluations(self) -> list[tuple[int, int]]:
        """When it was evaluated: finished epochs and iterations, those that are just ending left out."""
        return [(event.epoch, event.iter) for event in self.events if event.kind == "evaluate"]


@dataclass
class Points:
    """Which points are reached, and who is called there.

    Attributes:
        calls: one after another, in a run that is shortened where it repeats itself (see `shortened`).
        order: for each point that is reached, the classes of its hooks in calling order.
        priorities: likewise, their priorities.
    """

    calls: list[Call] = field(default_factory=list)
    order: dict[str, tuple[str, ...]] = field(default_factory=dict)
    priorities: dict[str, tuple[int, ...]] = field(default_factory=dict)


#: What a trace can tell: values of rates, points and who is called there, files that are kept, the file of the best
#: score among them, when it is evaluated, how often the optimizer steps.
PARTS = frozenset(("rates", "points", "files", "best", "evaluations", "steps"))


@dataclass
class Trace:
    """What a run does, without its model; see `walk`.

    Attributes:
        run: its length and workflow.
        epoch_len: train iterations an epoch.
        world_size: the number of processes that was assumed.
        rates: the lr and the momentum at every iteration.
        points: which points are reached.
        files: what is saved and deleted, and when it is evaluated.
        unwalked: what could not be walked.
        covers: which of `PARTS` were walked.
    """

    run: Run
    epoch_len: int
    world_size: int = 1
    rates: Rates = field(default_factory=Rates)
    points: Points = field(default_factory=Points)
    files: Files = field(default_factory=Files)
    unwalked: list[Unwalked] = field(default_factory=list)
    covers: frozenset[str] = PARTS

    @property
    def iterations(self) -> int:
        """How many train iterations the run has."""
        return self.run.iterations(self.epoch_len)


#: A run that is no longer than this, in iterations, is walked whole where others are shortened.
_SHORT = 64


def shortened(run: Run, epoch_len: int) -> tuple[Run, int]:
    """Shorten a run where it repeats itself.

    What is left has the first, an inner and the last of everything: epochs of at most three iterations, at most two
    epochs (or three iterations) a flow of the workflow, the workflow twice, and a beginning of the third time. Points
    and their order need no more; what depends on a number (rates, files, evaluations) is walked in full elsewhere.

    Args:
        run: the run. One of 64 iterations or less stays as it is.
        epoch_len: iterations an epoch.

    Returns:
        The shorter run, and its iterations an epoch.
    """
    if run.iterations(epoch_len) <= _SHORT:
        return run, epoch_len
    most = 2 if run.by_epoch else 3
    flows = [(mode, min(count, most)) for mode, count in run.workflow]
    once = sum(count for mode, count in flows if mode == "train")
    return Run(run.by_epoch, min(run.length, 2 * once + 1), flows), min(epoch_len, 3)


@dataclass(frozen=True)
class Span:
    """Train iterations in a row, in one epoch and in one flow.

    Attributes:
        first: the first iteration.
        stop: the one after the last.
        epoch: the epoch that hooks see.
        inner: what is added to an iteration for its ``inner_iter``,
        period: modulo this.
    """

    first: int
    stop: int
    epoch: int
    inner: int
    period: int


def spans(run: Run, epoch_len: int) -> Iterator[Span]:
    """Go through the train iterations of a run: of a run by epochs, an epoch at a time.

    In a run by iterations the epoch is the loader's, read before its next batch: one iteration late.
    """
    if run.by_epoch:
        for epoch in range(run.length):
            first = epoch * epoch_len
            yield Span(first, first + epoch_len, epoch, -first, max(epoch_len, 1))
        return
    flows = [count for mode, count in run.workflow if mode == "train"]
    if len(flows) == 1:  # epochs alone matter, as long as a flow may be
        yield from _passes(0, run.length, 0, epoch_len, 0, flows[0])
        return
    first, taken = 0, [0] * len(flows)  # each flow has a loader of its own
    while first < run.length:
        for index, count in enumerate(flows):
            stop = min(first + count, run.length)
            yield from _passes(first, stop, taken[index], epoch_len, -first, count)
            taken[index] += stop - first
            first = stop


def _passes(first: int, stop: int, taken: int, epoch_len: int, inner: int, period: int) -> Iterator[Span]:
    """Divide iterations where their loader begins anew; so many batches of it are taken."""
    while first < stop:
        epoch = max(taken - 1, 0) // epoch_len
        end = min(stop, first + (epoch + 1) * epoch_len + 1 - taken)
        yield Span(first, end, epoch, inner, period)
        first, taken = end, taken + end - first

"""Runners for a walk: they count, and compute and write nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.optim import Optimizer

from mmhooks.checkpoint import join
from mmhooks.errors import RegistryError
from mmhooks.hook import POINTS
from mmhooks.optim import build_optimizer
from mmhooks.runner import BaseRunner, EpochBasedRunner, IterBasedRunner
from mmhooks.walk.trace import Call, Event, Points, Run, Unwalked

#: The work_dir of a walk; nothing is written there.
FOLDER = "work_dir"

QUIET = logging.Logger("mmhooks.walk", logging.CRITICAL + 1)


T = TypeVar("T")


class Sized:
    """A loader of so many batches, which are numbers.

    Args:
        length: how many.
    """

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._length))


class OneParameter(nn.Module):
    """A model with one parameter, or one for each of several optimizers.

    Args:
        names: of the optimizers, where there are several.
    """

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        for name in names:
            self.add_module(name, OneParameter())

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Give a loss with a gradient of zero."""
        return {"loss": (self.weight * 0).sum(), "num_samples": 1}

    def val_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Give the same."""
        return self.train_step(data)


class OptimizerStandIn(Optimizer):
    """An optimizer whose class cannot be found: its param group holds what the config says.

    Args:
        params: the parameters.
        **defaults: the values of the param group.
    """

    def __init__(self, params: Any, **defaults: Any) -> None:
        super().__init__(params, {"lr": float("nan"), **defaults})

    def step(self, closure: Any = None) -> Any:
        """Leave the parameters as they are."""


def fake_optimizer(config: Mapping[str, Any] | None) -> tuple[OneParameter, Any, list[Unwalked]]:
    """Build a model with one parameter, and the optimizer of a config over it.

    What makes param groups (``paramwise_cfg``, ``constructor``) needs the real model, and is left out.

    Returns:
        The model, the optimizer (or several by name, or None), and what could not be found.

    Raises:
        ConfigError: a value that an optimizer refuses.
    """
    if config is None:
        return OneParameter(), None, []
    unwalked: list[Unwalked] = []
    if "type" in config:
        model = OneParameter()
        return model, _one(model, config, unwalked), unwalked
    named = {name: one for name, one in config.items() if isinstance(one, Mapping)}
    model = OneParameter(tuple(named))
    return model, {name: _one(getattr(model, name), one, unwalked) for name, one in named.items()}, unwalked


def _one(model: nn.Module, config: Mapping[str, Any], unwalked: list[Unwalked]) -> Optimizer:
    plain = {key: value for key, value in config.items() if key not in ("paramwise_cfg", "constructor")}
    try:
        built = build_optimizer(model, plain)
    except RegistryError:
        kind = str(plain.pop("type"))
        missing = "" if "lr" in plain else ", and the config has no lr"
        unwalked.append(Unwalked(kind, "optimizer", f"its class cannot be found{missing}: values it would add are not"))
        return OptimizerStandIn(model.parameters(), **plain)
    assert isinstance(built, Optimizer)
    return built


class Walking(BaseRunner):
    """The part of a walked runner that notes what a run would do.

    Attributes:
        events: what was noted.
        point: the point that is being called.
        processes: the number of processes that is assumed.
    """

    events: list[Event]
    point = ""
    processes = 1

    @property
    def world_size(self) -> int:
        """The number of processes that is assumed."""
        return self.processes

    @property
    def writes_files(self) -> bool:  # type: ignore[override]  # hooks look at folders in before_run alone
        """Whether `save_checkpoint` writes anything: not before the run has begun."""
        return self.point != "before_run"

    def note(self, kind: str, name: str) -> None:
        """Note a file, or an evaluation."""
        if kind != "evaluate" and name.startswith(FOLDER + "/"):
            name = name[len(FOLDER) + 1 :]
        self.events.append(Event(kind, name, self.epoch, self.iter))

    def save_checkpoint(self, out_dir: str, filename_tmpl: str | None = None, *args: Any, **kwargs: Any) -> str:
        """Note the name of the file, and of the link to it."""
        path = join(out_dir, self.checkpoint_name(filename_tmpl))
        self.note("save", path)
        return path

    def agree(self, value: T) -> T:
        """Give the value: there is one process."""
        return value

    def forget(self, runner: Any, path: str | None) -> None:
        """Note that a hook deletes a file."""
        if path:
            self.note("remove", path)

    def forget_all(self, runner: Any, paths: Sequence[str]) -> None:
        """Note that a hook deletes files."""
        for path in paths:
            self.forget(runner, path)

    def gather_ranks(self) -> None:
        """Gather nothing: no file is written."""

    def begin(self, run: Run, epoch_len: int, model: nn.Module, optimizer: Any, processes: int) -> None:
        """Set the counters to the beginning of a run."""
        self.events = []
        self.processes = processes
        self.work_dir = FOLDER
        self.model, self.optimizer = model, optimizer
        self.data_loader = Sized(epoch_len)
        self.mode = "train"
        self.epoch = self.iter = self.inner_iter = 0
        if run.by_epoch:
            self.max_epochs, self.max_iters = run.length, run.length * epoch_len
        else:
            self.max_iters = run.length


class WalkingEpochRunner(Walking, EpochBasedRunner):
    """Walks by epochs."""


class WalkingIterRunner(Walking, IterBasedRunner):
    """Walks by iterations."""


def walking_runner(by_epoch: bool) -> Walking:
    """Make a runner for a walk."""
    return (WalkingEpochRunner if by_epoch else WalkingIterRunner)(OneParameter(), logger=QUIET)


def noting_calls(runner: BaseRunner) -> Points:
    """Let a runner note which points it reaches, and call nobody there.

    Returns:
        What it notes.
    """
    points = Points()

    def call_hook(fn_name: str) -> None:
        note_call(points, runner, fn_name)

    runner.call_hook = call_hook  # type: ignore[method-assign]
    return points


def note_call(points: Points, runner: BaseRunner, point: str) -> None:
    """Note that a point was reached, and who is called there."""
    if point not in points.order:
        owners = runner.call_table.owners(point)
        points.order[point] = tuple(type(hook).__name__ for hook in owners)
        points.priorities[point] = tuple(hook.priority for hook in owners)
    points.calls.append(Call(point, runner.epoch, runner.iter, runner.inner_iter))


#: A call of a hook at a point.
Method = Callable[[Any], object]


def points_of(run: Run) -> tuple[str, ...]:
    """List the points that a run of a kind can reach."""
    if run.by_epoch:
        return POINTS
    epochs = {"before_train_epoch": "before_epoch", "after_train_epoch": "after_epoch"}
    return tuple(epochs.get(point, point) for point in POINTS if point not in ("before_val_epoch", "after_val_epoch"))

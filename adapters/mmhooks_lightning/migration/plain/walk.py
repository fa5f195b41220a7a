"""The walk of a migrated run of style ``lightning``: its schedules, and the files that its Trainer keeps."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mmhooks.errors import ConfigError
from mmhooks.plan import RunPlan
from mmhooks.walk import Event, Files, Rates, Run, Trace, Unwalked
from mmhooks.walk.rates import lr_of, momentum_of
from mmhooks.walk.runners import fake_optimizer

#: Gives the values of all param groups at every iteration, from a plan, a length of epoch and the values at the start.
Values = Callable[[RunPlan, int, Sequence[float]], Iterable[Sequence[float]]]

_REASONS = {
    "the best file": "which one that is the scores decide",
    "evaluations": "when the Trainer validates was not compared",
}


def plain_side(
    plan: RunPlan,
    rates: Values,
    momenta: Values,
    kept: Callable[[RunPlan, int], Sequence[int]],
    world_size: int = 1,
) -> Callable[[int], Trace]:
    """Give what walks a migrated run of style ``lightning``.

    Args:
        plan: the plan of the run.
        rates: gives the learning rates, by the text that is generated.
        momenta: likewise, the momenta.
        kept: gives the epochs (or iterations) whose files are kept, from a plan and a length of epoch.
        world_size: the number of processes.
    """
    run = Run(plan.by_epoch, plan.length, plan.workflow)

    def side(epoch_len: int) -> Trace:
        groups = _groups(plan)
        unwalked = [Unwalked(what, "", reason) for what, reason in _REASONS.items()]
        walked = Rates([label for label, _ in groups])
        walked.lr = _columns("lr", rates, plan, epoch_len, [lr_of(group) for _, group in groups], unwalked)
        start = [momentum_of(group) for _, group in groups]
        walked.momentum = _columns("momentum", momenta, plan, epoch_len, start, unwalked)
        files = Files([Event("save", _name(plan, number), 0, 0) for number in kept(plan, epoch_len)])
        covers = frozenset(("rates", "files"))
        return Trace(run, epoch_len, world_size, rates=walked, files=files, unwalked=unwalked, covers=covers)

    return side


def _groups(plan: RunPlan) -> list[tuple[str, dict[str, Any]]]:
    """List the param groups as a walk has them: one for each optimizer."""
    optimizer = fake_optimizer(plan.optimizer)[1]
    several = optimizer if isinstance(optimizer, Mapping) else {"": optimizer} if optimizer is not None else {}
    return [(name, one.param_groups[0]) for name, one in several.items()]


def _columns(
    name: str, values: Values, plan: RunPlan, epoch_len: int, start: list[float], unwalked: list[Unwalked]
) -> list[array[float]]:
    columns: list[array[float]] = [array("d") for _ in start]
    notes = [column.append for column in columns]
    try:
        for now in values(plan, epoch_len, start):
            for note, value in zip(notes, now, strict=True):
                note(value)
    except ConfigError as error:
        unwalked.append(Unwalked(name, f"{name}_config", str(error)))
        return []
    return columns


def _name(plan: RunPlan, number: int) -> str:
    config = plan.training_hooks.get("checkpoint_config") or {}
    return str(config.get("filename_tmpl") or ("epoch_{}.pth" if plan.by_epoch else "iter_{}.pth")).format(number)

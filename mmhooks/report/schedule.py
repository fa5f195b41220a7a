"""Schedules: the lr and the momentum of a config over a run, and where two of them part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmhooks.plan import RunPlan
from mmhooks.report.sampling import Floats, apart
from mmhooks.report.text import number, plural
from mmhooks.walk import Unwalked, schedule_rates
from mmhooks.walk.groups import makes_groups

#: Iterations of an epoch, where nobody says how many there are.
EPOCH_LEN = 1000

_NAMES = {"type", "policy", "warmup", "warmup_iters", "warmup_ratio", "warmup_by_epoch"}


@dataclass(frozen=True)
class Schedule:
    """What the updaters of a config set, at every iteration.

    Attributes:
        name: the file of the config.
        codebase: whose config it is.
        by_epoch: whether the run counts epochs.
        length: how many epochs, or iterations.
        epoch_len: train iterations an epoch. None: the run counts iterations, and nobody said it.
        assumed: that length is nobody's word.
        policy: the schedule in a few words: ``"step, linear warmup over 500 iterations"``.
        warmup: iterations of the warmup, 0 where there is none.
        groups: the names of the param groups, of all optimizers.
        values: ``"lr"`` and ``"momentum"``, each with a value an iteration for each group; none that was not walked.
        unwalked: what could not be walked.
        notes: what a reader should know besides.
    """

    name: str
    codebase: str
    by_epoch: bool
    length: int
    epoch_len: int | None
    assumed: bool
    policy: str
    warmup: int
    groups: list[str]
    values: dict[str, list[Floats]]
    unwalked: list[Unwalked] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def iterations(self) -> int:
        """How many train iterations the run has."""
        return self.length * (self.epoch_len or 1) if self.by_epoch else self.length

    def summary(self) -> str:
        """Say in a line how long the run is, and by which schedule."""
        length = plural(self.length, "epoch" if self.by_epoch else "iteration")
        if self.by_epoch:
            length += (
                f" x {plural(self.epoch_len or 0, 'iteration')}{' (assumed: set --epoch-len)' if self.assumed else ''}"
            )
        elif self.epoch_len:
            length += f", {self.epoch_len:,} an epoch"
        return ", ".join(filter(None, (self.codebase, length, self.policy)))


def schedule_of(plan: RunPlan, epoch_len: int | None = None, *, world_size: int = 1, imports: bool = False) -> Schedule:
    """Walk the schedule of a planned run, without its model.

    Args:
        plan: the run.
        epoch_len: train iterations an epoch. None: 1,000 are assumed, where it matters.
        world_size: the number of processes.
        imports: import the code base and ``custom_imports`` first, which runs their code, so that their policies
            are found.

    Raises:
        ConfigError: a hook refuses its arguments, or this run.

    Example:
        >>> schedule_of(plan_run(Config.fromfile("faster_rcnn.py")), 7330).values["lr"][0][500]  # doctest: +SKIP
        0.02
    """
    rates, unwalked = schedule_rates(plan, epoch_len or EPOCH_LEN, world_size=world_size, imports=imports)
    named = {"lr": rates.lr, "momentum": rates.momentum}
    return Schedule(
        name=Path(plan.source.name).name,
        codebase=f"{plan.recipe.name} {plan.recipe.version}".strip(),
        by_epoch=plan.by_epoch,
        length=plan.length,
        epoch_len=epoch_len or (EPOCH_LEN if plan.by_epoch else None),
        assumed=epoch_len is None and plan.by_epoch,
        policy=_policy(plan),
        warmup=_warmup(plan, epoch_len or EPOCH_LEN),
        groups=rates.groups,
        values={key: [np.asarray(own, dtype=np.float64) for own in values] for key, values in named.items()},
        unwalked=unwalked,
        notes=[*(f"{key}: {note}" for key, note in plan.notes.items()), *_groups_note(plan)],
    )


def _updater(plan: RunPlan) -> Mapping[str, Any]:
    config = plan.training_hooks.get("lr_config")
    return config if isinstance(config, Mapping) else {}


def _warmup(plan: RunPlan, epoch_len: int) -> int:
    config = _updater(plan)
    if not config.get("warmup"):
        return 0
    count = int(config.get("warmup_iters") or 0)
    return count * epoch_len if config.get("warmup_by_epoch") else count


def _policy(plan: RunPlan) -> str:
    config = _updater(plan)
    if not config:
        return "no lr_config"
    words = [str(config.get("policy") or config.get("type"))]
    plain = {key: value for key, value in config.items() if key not in _NAMES and value is not None}
    if plain:
        words[0] += f" ({', '.join(f'{key}={value}' for key, value in plain.items())})"
    if config.get("warmup"):
        unit = "epoch" if config.get("warmup_by_epoch") else "iteration"
        words.append(f"{config['warmup']} warmup over {plural(int(config.get('warmup_iters') or 0), unit)}")
    return ", ".join(words)


def _groups_note(plan: RunPlan) -> Iterator[str]:
    optimizer = plan.optimizer or {}
    several = [optimizer] if "type" in optimizer else [one for one in optimizer.values() if isinstance(one, Mapping)]
    for one in several:
        if makes_groups(one):
            yield f"{one['constructor']} makes param groups from the model: the lr shown is the one they multiply"


def comparison(key: str, one: Schedule, other: Schedule) -> list[str]:
    """Say where two schedules first differ, and by how much: a line for each param group.

    Args:
        key: ``"lr"`` or ``"momentum"``.
        one: a schedule.
        other: another.
    """
    return [f"{label}: {text}" for label, (_, text) in _compared(key, one, other).items()]


def differs(key: str, one: Schedule, other: Schedule) -> bool:
    """Tell whether two schedules differ anywhere, in their length too."""
    return any(different for different, _ in _compared(key, one, other).values())


def _compared(key: str, one: Schedule, other: Schedule) -> dict[str, tuple[bool, str]]:
    found: dict[str, tuple[bool, str]] = {}
    pairs = list(zip(one.groups, other.groups, strict=False))
    for index, names in enumerate(pairs):
        label = " ".join(filter(None, (key, "/".join(dict.fromkeys(names)))))
        left, right = one.values[key][index : index + 1], other.values[key][index : index + 1]
        if left and right:
            found[label] = _parting(left[0], right[0], one, other)
    if len(one.groups) != len(other.groups):
        counts = f"{one.name} has {len(one.groups)}, {other.name} {len(other.groups)}"
        found[f"{key} param groups"] = (True, f"{counts}; {len(pairs)} compared")
    return found


def _parting(left: Floats, right: Floats, one: Schedule, other: Schedule) -> tuple[bool, str]:
    gaps = apart(left, right)
    lengths = ""
    if len(left) != len(right):
        lengths = f"; {len(left):,} and {len(right):,} iterations long, {len(gaps):,} compared"
    if not gaps.any():
        return bool(lengths), f"the same at {plural(len(gaps), 'iteration')}, bit for bit{lengths}"
    first, largest = int(np.argmax(gaps > 0)), int(np.argmax(gaps))
    where = f"first apart at {_place(first, one, other)}: {_pair(left[first], right[first])}"
    if gaps[first] != gaps[largest]:
        where += f"; furthest at {_place(largest, one, other)}: {_pair(left[largest], right[largest])}"
    count = int(np.count_nonzero(gaps))
    return True, f"{where}; {count:,} of {plural(len(gaps), 'iteration')} differ{lengths}"


def _place(index: int, one: Schedule, other: Schedule) -> str:
    """Name an iteration, with its epoch where both have epochs of one length."""
    text = f"iteration {index:,}"
    if one.epoch_len and one.epoch_len == other.epoch_len:
        text += f" (epoch {index // one.epoch_len + 1:,})"
    return text


def _pair(left: float, right: float) -> str:
    digits = next((digits for digits in (6, 9, 12) if f"{left:.{digits}g}" != f"{right:.{digits}g}"), 17)
    return f"{left:.{digits}g} and {right:.{digits}g}, {number(abs(left - right))} apart"


def named_curves(schedule: Schedule, key: str) -> list[tuple[str, Floats]]:
    """Give the curves of a schedule with their names; groups whose values are all equal share one.

    Example:
        >>> [name for name, _ in named_curves(schedule, "lr")]  # doctest: +SKIP
        ['generator, discriminator']
    """
    curves: list[tuple[list[str], Floats]] = []
    for label, values in zip(schedule.groups, schedule.values[key], strict=False):
        same = next((names for names, other in curves if np.array_equal(values, other, equal_nan=True)), None)
        if same is None:
            curves.append(([label], values))
        else:
            same.append(label)
    return [(", ".join(filter(None, names)), values) for names, values in curves]


def wants_log(curves: Sequence[Floats], warmup: int) -> bool:
    """Tell whether a curve is seen better on a logarithmic axis: a few levels that are far from each other.

    Args:
        curves: the values.
        warmup: the iterations at the beginning that do not count.
    """
    for values in curves:
        later = values[warmup:][np.isfinite(values[warmup:])]
        if len(later) and later.min() > 0 and later.max() > 50 * later.min() and len(np.unique(later)) <= 20:
            return True
    return False


def wants_zoom(schedule: Schedule) -> bool:
    """Tell whether the warmup is so short a part of a run that it needs a panel of its own."""
    return 0 < schedule.warmup < 0.06 * schedule.iterations

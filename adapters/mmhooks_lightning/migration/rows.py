"""Rows and reports: what became of every key of a config, said in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmhooks.walk import Act

__all__ = ["Act", "Curve", "Report", "Row", "Verdict", "Walked"]


class Verdict(StrEnum):
    """How what a key became compares with what it was."""

    EXACT = "exact"
    EQUIVALENT = "equivalent"
    DIFFERS = "differs"
    CARRIED = "carried"  # a class of the code base, found when that can be imported
    BUILDERS = "to the builders"  # the model and the data, as they are
    HELPER = "helper"  # other keys were made of it
    COMMAND_LINE = "command line"  # a matter of the command line, in the code base too
    NOT_MAPPED = "not mapped"


@dataclass(frozen=True)
class Row:
    """What became of one key.

    Attributes:
        key: the key, ``"lr_config"`` or ``"data.samples_per_gpu"`` or ``"custom_hooks[0]"``.
        value: what the config says, as text.
        became: what it is now, as text; empty where it became nothing.
        verdict: how the two compare.
        why: what differs, or why it was not mapped.
    """

    key: str
    value: str
    became: str
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class Curve:
    """The learning rate of a run on both sides, iteration by iteration.

    Attributes:
        name: ``"lr"`` or ``"momentum"``.
        epoch_len: iterations an epoch of the walk.
        before: the values under MMCV's loop.
        after: those of the migrated run; empty where they were not walked.
    """

    name: str
    epoch_len: int
    before: list[float]
    after: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Walked:
    """The comparison of both sides over one length of epoch.

    Attributes:
        epoch_len: iterations an epoch.
        world_size: the number of processes that was assumed.
        iterations: how many learning rates of one param group were compared; 0 where there was nothing to compare.
        lr_difference: the largest difference of a learning rate, absolute.
        lr_relative: the largest relative one.
        momentum_difference: the largest difference of a momentum.
        points_equal: whether the hooks were called at the same points in the same order; None: there are no hooks.
        files_equal: whether the same files would be kept.
        unwalked: what could not be walked, each with the reason: hooks whose class cannot be imported.
        differences: the first differences, as text.
    """

    epoch_len: int
    world_size: int
    iterations: int
    lr_difference: float
    lr_relative: float
    momentum_difference: float
    points_equal: bool | None
    files_equal: bool
    unwalked: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()


@dataclass
class Report:
    """What a migration did.

    Attributes:
        config: the name of the config.
        codebase: the recipe, with the release that was read.
        style: ``"bridge"`` or ``"lightning"``.
        rows: one a key.
        curves: the schedules, for a plot.
        acts: the hooks, point by point in calling order.
        proof: what `verify` saw, by length of epoch; empty where it was not asked.
        covers_paramwise: whether the param groups of a real model were compared.
        by_epoch: whether the run counts epochs.
    """

    config: str
    codebase: str
    style: str
    rows: list[Row]
    curves: list[Curve] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    proof: list[Walked] = field(default_factory=list)
    covers_paramwise: bool = False
    by_epoch: bool = True

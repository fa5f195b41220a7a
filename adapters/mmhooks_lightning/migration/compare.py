"""Two traces of a run, side by side."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence, Set
from itertools import zip_longest
from typing import Any

import numpy as np

from mmhooks.walk import Points, Rates, Trace
from mmhooks_lightning.migration.rows import Curve, Walked

#: How many differences of a kind are told.
_TOLD = 3


def compare(before: Trace, after: Trace) -> Walked:
    """Compare two walks of a run, as far as both go.

    Args:
        before: the run under MMCV's loop.
        after: the migrated run, over the same length of epoch.
    """
    differences: list[str] = []
    if before.run != after.run:
        differences.append(f"the run: {before.run}; migrated: {after.run}")
    if before.rates.groups != after.rates.groups:
        differences.append(f"param groups: {before.rates.groups}; migrated: {after.rates.groups}")
    lr = _rates("lr", before.rates, after.rates, differences)
    momentum = _rates("momentum", before.rates, after.rates, differences)
    covers = before.covers & after.covers
    points = list(_points(before.points, after.points)) if "points" in covers else []
    files = list(_files(before, after, covers))
    unwalked = dict.fromkeys(map(str, [*before.unwalked, *after.unwalked]))
    return Walked(
        epoch_len=before.epoch_len,
        world_size=before.world_size,
        iterations=lr[2],
        lr_difference=lr[0],
        lr_relative=lr[1],
        momentum_difference=momentum[0],
        points_equal=not points if "points" in covers else None,
        files_equal=not files,
        unwalked=tuple(unwalked),
        differences=(*differences, *points, *files),
    )


def _rates(name: str, before: Rates, after: Rates, differences: list[str]) -> tuple[float, float, int]:
    """Compare the values of all param groups: the largest difference, the largest relative one, and how many."""
    largest = relative = 0.0
    compared = 0
    for label, one, other in zip(before.groups, getattr(before, name), getattr(after, name), strict=False):
        old, new = np.frombuffer(one), np.frombuffer(other)
        shorter = min(len(old), len(new))
        compared = max(compared, shorter)
        if len(old) != len(new):
            differences.append(f"{name}{_of(label)}: {len(old)} iterations; migrated: {len(new)}")
        old, new = old[:shorter], new[:shorter]
        differing = np.flatnonzero(~((old == new) | (np.isnan(old) & np.isnan(new))))
        if not len(differing):
            continue
        gaps = np.abs(old[differing] - new[differing])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = gaps / np.maximum(np.abs(old[differing]), np.abs(new[differing]))
        largest = max(largest, float(np.nan_to_num(gaps, nan=np.inf).max()))
        relative = max(relative, float(np.nan_to_num(ratios, nan=np.inf).max()))
        differences += [
            f"{name}{_of(label)} of iteration {i + 1}: {old[i].item()!r}; migrated: {new[i].item()!r}"
            for i in differing[:_TOLD]
        ]
    return largest, relative, compared


def _of(label: str) -> str:
    return f" of {label}" if label else ""


def _points(before: Points, after: Points) -> Iterator[str]:
    calls = enumerate(zip_longest(before.calls, after.calls))
    differing = [f"point {i + 1}: {old}; migrated: {new}" for i, (old, new) in calls if old != new]
    yield from differing[:_TOLD]
    for point in dict.fromkeys([*before.order, *after.order]):
        old = list(zip(before.order.get(point, ()), before.priorities.get(point, ()), strict=True))
        new = list(zip(after.order.get(point, ()), after.priorities.get(point, ()), strict=True))
        if old != new:
            yield f"{point}: {_named(old)}; migrated: {_named(new)}"


def _named(owners: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({priority})" for name, priority in owners) or "nobody"


def _files(before: Trace, after: Trace, covers: Set[str]) -> Iterator[str]:
    if "files" in covers:
        yield from _kept(before, after, "best" in covers)
    if "evaluations" in covers:
        yield from _listed("evaluated after", before.files.evaluations, after.files.evaluations)
    if "steps" in covers and before.files.steps != after.files.steps:
        yield f"steps of the optimizer: {before.files.steps}; migrated: {after.files.steps}"


def _kept(before: Trace, after: Trace, with_best: bool) -> Iterator[str]:
    kept = (one.files.kept for one in (before, after))
    old, new = ([name for name in names if with_best or not name.startswith("best_")] for names in kept)
    yield from _listed("kept", old, new)


def _listed(what: str, old: list[Any], new: list[Any]) -> Iterator[str]:
    if sorted(old) != sorted(new):
        missing = [one for one in old if one not in new]
        more = [one for one in new if one not in old]
        yield f"{what}: {_first(missing)} not any more; {_first(more)} only now"


def _first(values: Sequence[Any]) -> str:
    more = f" and {len(values) - _TOLD} more" if len(values) > _TOLD else ""
    return (", ".join(map(str, values[:_TOLD])) or "nothing") + more


def curves(before: Trace, after: Trace) -> list[Curve]:
    """Give the schedules of both sides for a plot: lr, and momentum where it moves."""
    found = []
    for name in ("lr", "momentum"):
        old, new = getattr(before.rates, name), getattr(after.rates, name)
        for index, label in enumerate(before.rates.groups):
            values = (_at(old, index), _at(new, index))
            if any(values) and (name == "lr" or any(len(set(one)) > 1 for one in values)):
                found.append(Curve(f"{name}{_of(label)}", before.epoch_len, *values))
    return found


def _at(values: Sequence[array[float]], index: int) -> list[float]:
    return list(values[index]) if index < len(values) else []

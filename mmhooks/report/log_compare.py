"""Two logs compared: where their values first differ, by how much, and how often."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmhooks.report.logs import Entry, Log, is_number

#: What differs between equal runs.
IGNORED = ("time", "data_time", "memory", "eta")


@dataclass
class KeyDifference:
    """How a key differs.

    Attributes:
        key: its name.
        first: the lines of both sides where it first does.
        values: what it has there; None: nothing.
        largest: how far numbers are apart at most, infinity where one alone is not finite.
        largest_at: the lines of that.
        count: how many values differ.
        compared: of how many.
    """

    key: str
    first: tuple[Entry, Entry] | None = None
    values: tuple[Any, Any] = (None, None)
    largest: float = 0.0
    largest_at: tuple[Entry, Entry] | None = None
    count: int = 0
    compared: int = 0


@dataclass
class LogDifference:
    """How two logs differ.

    Attributes:
        lines: how many both have.
        values: how many values were compared.
        keys: those that differ, the one that first does before others.
        only: lines that one side alone has, by side.
    """

    lines: int = 0
    values: int = 0
    keys: list[KeyDifference] = field(default_factory=list)
    only: tuple[list[Entry], list[Entry]] = field(default_factory=lambda: ([], []))

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.keys and not any(self.only)


def compare_logs(
    one: Log,
    other: Log,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    keys: Collection[str] = (),
    ignored: Collection[str] = IGNORED,
) -> LogDifference:
    """Compare the values of two logs line by line: those of equal mode, epoch and iter belong together.

    Numbers are equal where they are no further apart than ``atol + rtol * abs(other)``; NaN equals NaN.

    Args:
        one: a log.
        other: what it is measured against.
        rtol: what is allowed of the value of the other.
        atol: what is allowed besides.
        keys: the only ones to compare. Empty: all.
        ignored: keys that do not count.

    Example:
        >>> compare_logs(read_log("work_dirs/a"), read_log("work_dirs/b"), rtol=1e-5).equal  # doctest: +SKIP
        True
    """
    left, right = _numbered(one), _numbered(other)
    found = LogDifference(
        only=([left[key] for key in left if key not in right], [right[key] for key in right if key not in left])
    )
    differences: dict[str, KeyDifference] = {}
    for place, entry in left.items():
        if place not in right:
            continue
        found.lines += 1
        pair = entry, right[place]
        for key in dict.fromkeys((*pair[0].values, *pair[1].values)):
            if key in ignored or (keys and key not in keys):
                continue
            found.values += 1
            values = pair[0].values.get(key), pair[1].values.get(key)
            _note(differences.setdefault(key, KeyDifference(key)), pair, values, rtol, atol)
    found.keys = [one for one in differences.values() if one.count]
    order = {id(entry): index for index, entry in enumerate(one.entries)}
    found.keys.sort(key=lambda different: order[id(different.first[0])] if different.first else 0)
    return found


def _numbered(log: Log) -> dict[Hashable, Entry]:
    """Find the lines by what they are of; lines that say the same of themselves are counted."""
    seen: Counter[Hashable] = Counter()
    numbered: dict[Hashable, Entry] = {}
    for entry in log.entries:
        # by iteration, an evaluation says how long it was, not where
        place: tuple[Any, ...] = (entry.mode, entry.epoch, entry.iter)
        if entry.mode != "train" and not log.by_epoch:
            place += (entry.at,)
        numbered[(*place, seen[place])] = entry
        seen[place] += 1
    return numbered


def _note(key: KeyDifference, pair: tuple[Entry, Entry], values: tuple[Any, Any], rtol: float, atol: float) -> None:
    key.compared += 1
    apart = difference_of(*values)
    allowed = atol + rtol * abs(values[1]) if is_number(values[1]) and math.isfinite(values[1]) else 0.0
    if apart <= allowed:
        return
    if key.first is None:
        key.first, key.values = pair, values
    if apart > key.largest:
        key.largest, key.largest_at = apart, pair
    key.count += 1


def difference_of(one: Any, other: Any) -> float:
    """Give how far two values are apart: 0 for equal ones, infinity where no number tells it."""
    if is_number(one) and is_number(other):
        if one == other or (math.isnan(one) and math.isnan(other)):
            return 0.0
        gap = abs(one - other)
        return math.inf if math.isnan(gap) else gap
    return 0.0 if type(one) is type(other) and one == other else math.inf


def place_of(entry: Entry) -> str:
    """Say of what a line is.

    Example:
        >>> place_of(Entry("train", 2, 50, {}))
        'train, epoch 2, iter 50'
    """
    return f"{entry.mode}, epoch {entry.epoch}, iter {entry.iter}"


def places(entries: Sequence[Entry], limit: int = 3) -> str:
    """Name some lines, and count the rest."""
    named = "; ".join(map(place_of, entries[:limit]))
    return f"{named}; and {len(entries) - limit} more" if len(entries) > limit else named

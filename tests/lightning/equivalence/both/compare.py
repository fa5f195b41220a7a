"""Compare what the two drivers did."""

from __future__ import annotations

import itertools
import pprint
import tempfile
from pathlib import Path
from typing import Any

from both.record import Case, Record, record

DRIVERS = ("native", "lightning")


class Tally:
    """Counts what was compared, for the line at the end."""

    def __init__(self) -> None:
        self.hooks: set[str] = set()
        self.settings: set[str] = set()
        self.runs = 0
        self.comparisons = 0
        self.refusals = 0
        self.differing = 0
        self.notes: list[str] = []


TALLY = Tally()


def compare(case: Case) -> list[str]:
    """Do a run under each driver.

    Args:
        case: the run.

    Returns:
        What differs, in lines; nothing where all is the same.
    """
    with tempfile.TemporaryDirectory(prefix="equivalence-") as folder:
        records = [record(driver, case, Path(folder, driver)) for driver in DRIVERS]
    found = differences(*records)
    TALLY.hooks |= hooks_of(case)
    TALLY.settings.add(setting_of(case))
    TALLY.runs += len(records)
    TALLY.refusals += all(one.error is not None for one in records)
    TALLY.differing += bool(found)
    return found


def check(case: Case) -> None:
    """Do a run under each driver, and fail where they differ in anything."""
    found = compare(case)
    assert not found, "\n".join([*found, "of the case:", described(case)])


def described(case: Case) -> str:
    """Write a case so that it can be read back."""
    return pprint.pformat(case, width=118, sort_dicts=False)


def differences(native: Record, lightning: Record) -> list[str]:
    """List what differs: of each part the first line, and what of it."""
    found = []
    if type(native.error) is not type(lightning.error):
        found += [f"error: {_error(native)}", f"   and: {_error(lightning)}"]
    elif lightning.error is not None and not lightning.trace:
        return []  # refused before the run, natively perhaps in its course
    for part in Record.parts:
        found += _in_part(part, getattr(native, part), getattr(lightning, part))
    return found


def _in_part(part: str, ours: list[Any], theirs: list[Any]) -> list[str]:
    for number, (one, other) in enumerate(itertools.zip_longest(ours, theirs)):
        if one is None or other is None:
            return [f"{part}, line {number}: natively {one}", f"  under a Trainer {other}"]
        if one[0] != other[0]:
            return [f"{part}, line {number}: natively at {one[0]!r}, under a Trainer at {other[0]!r}"]
        TALLY.comparisons += len(one[1])
        keys = [key for key in {**one[1], **other[1]} if one[1].get(key) != other[1].get(key)]
        if keys:
            lines = [f"  {key}: {one[1].get(key)}\n  {' ' * len(key)}  {other[1].get(key)}" for key in keys]
            return [f"{part}, line {number}, {one[0]!r} at {one[1].get('progress')}:", *lines]
    return []


def _error(seen: Record) -> str:
    return "none" if seen.error is None else f"{type(seen.error).__name__}: {seen.error}"


def hooks_of(case: Case) -> set[str]:
    """Name the hooks of a case; a policy counts as the hook that it is."""
    found = {hook["type"] if hook["type"] != "Deed" else f"Deed: {hook['deed']}" for hook in case["hooks"]}
    training = case["training"] or {}
    for key, suffix in (("lr_config", "LrUpdaterHook"), ("momentum_config", "MomentumUpdaterHook")):
        policy = (training.get(key) or {}).get("policy")
        if policy is not None:
            found.add((policy.title() if policy == policy.lower() else policy) + suffix)
    for key, default in (("optimizer_config", "OptimizerHook"), ("checkpoint_config", "CheckpointHook")):
        if training.get(key) is not None:
            found.add(training[key].get("type", default))
    found |= {hook["type"] for hook in (training.get("log_config") or {}).get("hooks", ())}
    if training and case["by_epoch"] and training.get("timer_config", True) is not None:
        found.add("IterTimerHook")
    return found


def setting_of(case: Case) -> str:
    """Write down all of a case but its hooks."""
    return repr({key: value for key, value in case.items() if key not in ("hooks", "training")})

"""Read every real config, and say how many are read, refused, and equal to what MMCV makes of them: ``make zoo``.

A further step over the same configs is a function in STEPS.
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import migrated
import packages
import planned
from canonical import digest
from packages import Case

from mmhooks.config import Config
from mmhooks.errors import ConfigError

# Says what is wrong with a config that was read, None where nothing is, or nothing where it has nothing to look at.
Step = Callable[[Case, Config], str | None]


class Tally:
    """What was seen so far."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.refused: list[str] = []
        self.wrong: list[str] = []
        self.seconds = 0.0


def equal(case: Case, cfg: Config) -> str | None:
    """Compare with what MMCV was seen to make of it."""
    expected = _golden(case.package)[case.name]
    if expected.startswith("!"):
        return f"MMCV fails with {expected[1:]}"
    return None if digest(cfg.to_dict()) == expected else "MMCV makes other values of it"


def written(case: Case, cfg: Config) -> str | None:
    """Write it in each format, and read that back."""
    values = cfg.to_dict()
    for suffix in (".py", ".yaml"):
        if digest(_written_and_read(values, suffix)) != digest(values):
            return f"{suffix} reads back otherwise"
    if _keys_are_texts(values) and digest(_written_and_read(values, ".json")) != digest(_with_lists(values)):
        return ".json reads back otherwise"
    return None


def as_planned(case: Case, cfg: Config) -> str | None:
    """Compare the plan with what the code base's own tools/train.py was seen to register."""
    recorded = planned.recorded_of(case.package, case.name)
    return "; ".join(planned.differences(case.package, cfg, recorded)) or None if recorded else ""


_migrated = migrated.Migrated()
STEPS: dict[str, Step] = {"equal": equal, "written": written, "planned": as_planned, "migrated": _migrated.step}

_golden = functools.cache(packages.golden)


def _written_and_read(values: dict[Any, Any], suffix: str) -> dict[Any, Any]:
    return Config.fromstring(Config(values, filename=f"a{suffix}").dump() or "", suffix).to_dict()


def _keys_are_texts(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_keys_are_texts, value.values()))
    return not isinstance(value, (list, tuple)) or all(map(_keys_are_texts, value))


def _with_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_lists(item) for key, item in value.items()}
    return [_with_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def take(case: Case, steps: list[str], tally: Tally) -> None:
    """Read one config and take it through the steps."""
    counts = tally.counts.setdefault(case.package, Counter())
    counts["files"] += 1
    start = time.perf_counter()
    try:
        cfg = Config.fromfile(case.file)
    except ConfigError as error:
        tally.refused.append(str(error).replace(f"{packages.CACHE}/", ""))
        if not _golden(case.package)[case.name].startswith("!"):
            tally.wrong.append(f"{case.package}/{case.name}: it is refused, and MMCV reads it")
        return
    finally:
        tally.seconds += time.perf_counter() - start
    counts["read"] += 1
    for name in steps:
        wrong = STEPS[name](case, cfg)
        counts[name] += wrong is None
        if wrong:
            tally.wrong.append(f"{case.package}/{case.name}: {name}: {wrong}")


def report(tally: Tally, steps: list[str]) -> None:
    """Print what was seen."""
    columns = ["files", "read", *steps]
    print(f"{'package':16}" + "".join(f"{column:>10}" for column in columns))
    total = sum(tally.counts.values(), Counter())
    for package, counts in [*tally.counts.items(), ("all", total)]:
        print(f"{package:16}" + "".join(f"{counts[column]:10,}" for column in columns))
    print(f"\nread in {tally.seconds:.1f} s")
    print(f"\nrefused: {len(tally.refused)}")
    for line in tally.refused:
        print(f"  {line[:200]}")
    print(f"\nwrong: {len(tally.wrong)}")
    for line in tally.wrong[:50]:
        print(f"  {line}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", nargs="+", choices=sorted(packages.wanted()))
    parser.add_argument("--steps", nargs="*", choices=sorted(STEPS), default=list(STEPS))
    parser.add_argument("--oracle", type=Path, help="a Python that has mmcv: reads everything with both, and times it")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    packages.fetch()
    tally = Tally()
    for case in packages.cases(arguments.packages):
        take(case, arguments.steps, tally)
    report(tally, arguments.steps)
    status = 1 if tally.wrong else 0
    if "migrated" in arguments.steps:
        sys.stdout.flush()
        status |= not migrated.verify_all(_migrated)
    if arguments.oracle is not None and arguments.oracle.is_file():
        sys.stdout.flush()
        path = os.pathsep.join([str(packages.ROOT / "tests" / "oracle" / "stand_in"), str(packages.ROOT)])
        for script in ("beside.py", "differ.py"):
            command = [arguments.oracle, "-W", "ignore", Path(__file__).with_name(script)]
            status |= subprocess.run(command, env=os.environ | {"PYTHONPATH": path}).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())

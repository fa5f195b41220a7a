"""Read the real configs with MMCV and with mmhooks in one process, each config twice in a row, and compare the time.

Runs in the environment of the oracle.
"""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Callable
from typing import Any

import mmcv
import packages

from mmhooks.config import Config

READERS: dict[str, Callable[[str], Any]] = {
    "MMCV": lambda file: mmcv.Config.fromfile(file, import_custom_modules=False),
    "mmhooks": Config.fromfile,
}


def main() -> None:
    warnings.simplefilter("ignore", DeprecationWarning)
    draw = random.Random(0)
    cases = [case for case in packages.cases() if not packages.golden(case.package)[case.name].startswith("!")]
    draw.shuffle(cases)
    clocks = {"seconds": time.perf_counter, "of the processor": time.process_time}
    taken = {name: dict.fromkeys(clocks, 0.0) for name in READERS}
    for case in cases:
        for name in draw.sample(sorted(READERS), 2):
            starts = {clock: now() for clock, now in clocks.items()}
            READERS[name](str(case.file))
            for clock, now in clocks.items():
                taken[name][clock] += now() - starts[clock]
    print(f"\n{len(cases):,} configs, by both readers in turn")
    for clock in clocks:
        theirs, ours = taken["MMCV"][clock], taken["mmhooks"][clock]
        print(f"  {clock:17} MMCV {theirs:7.1f}   mmhooks {ours:7.1f}   ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()

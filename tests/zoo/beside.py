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
    seconds = dict.fromkeys(READERS, 0.0)
    for case in cases:
        for name in draw.sample(sorted(READERS), 2):
            start = time.perf_counter()
            READERS[name](str(case.file))
            seconds[name] += time.perf_counter() - start
    print(f"\n{len(cases):,} configs, both readers in turn:", end=" ")
    print(", ".join(f"{name} {taken:.1f} s" for name, taken in seconds.items()), end="")
    print(f", ratio {seconds['mmhooks'] / seconds['MMCV']:.2f}")


if __name__ == "__main__":
    main()

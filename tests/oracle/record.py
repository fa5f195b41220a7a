"""Record what MMCV 1.7.2 does into tests/golden: ``make golden``."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import mmcv
import mmcv.runner as lib
import scenarios
import torch

GOLDEN = Path(__file__).parents[1] / "golden"


def main() -> None:
    time.sleep = lambda seconds: None  # MMCV waits 2 s before each epoch
    traces: dict[str, Any] = {name: scenarios.trace(lib, name) for name in scenarios.TRACES}
    write("traces", {**traces, "order": scenarios.order(lib)})
    write("rates", {name: scenarios.rates(lib, name) for name in scenarios.RATES})
    write("runs", {name: run(name) for name in scenarios.RUNS})


def run(name: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return scenarios.train(lib, name, Path(folder))


def write(name: str, content: dict[str, Any]) -> None:
    made_with = {
        "mmcv": mmcv.__version__,
        "torch": torch.__version__.partition("+")[0],
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    text = json.dumps({"made with": made_with, **content}, indent=1)
    (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Record what MMCV 1.7.2 does into tests/golden: ``make golden``; ``record.py rates`` records rates.json alone."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import evaluations
import exchange
import kernels
import logs
import mixed
import mmcv
import mmcv.runner as lib
import own_updaters
import paramwise
import rates
import refusals
import scenarios
import torch

GOLDEN = Path(__file__).parents[1] / "golden"


def main() -> None:
    time.sleep = lambda seconds: None  # MMCV waits 2 s before each epoch
    time.asctime = lambda *when: "Thu Jan  1 00:00:00 1970"  # part of every checkpoint: the same bytes each time
    mmcv.ProgressBar = type("Silent", (), {"__init__": lambda self, *a: None, "update": lambda self: None})
    for name in sys.argv[1:] or RECORDS:
        write(name, RECORDS[name]())


def traces() -> dict[str, Any]:
    return {**{name: scenarios.trace(lib, name) for name in scenarios.TRACES}, "order": scenarios.order(lib)}


def moves() -> dict[str, Any]:
    return {
        **rates.record(lib),
        "own": {name: rates.own(lib, *case) for name, case in own_updaters.own_updaters(lib).items()},
        "refusals": {name: rates.refusal(lib, case) for name, case in refusals.REFUSALS.items()},
    }


def groups() -> dict[str, Any]:
    """Build the optimizers of paramwise.py, which has the deformable convolutions that are not compiled here."""
    sys.modules["mmcv.ops"] = paramwise  # type: ignore[assignment]
    sys.modules["mmcv.runner.optimizer.default_constructor"].check_ops_exist = lambda: True  # type: ignore[attr-defined]
    return {str(index): paramwise.build(lib, **case) for index, case in enumerate(paramwise.cases())}


def mixed_precision() -> dict[str, Any]:
    """Train with the optimizer hooks; what MMCV's mixed precision lacks on a CPU is PyTorch's."""
    mixed.on_cpu()
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: mixed.play(lib, name, Path(folder)) for name in mixed.PLANS}
    return {"fp16 kernels": mixed.fingerprint(), **runs}


def run(name: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return scenarios.train(lib, name, Path(folder))


def evaluation(name: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return evaluations.play(lib, evaluations.PLANS[name], Path(folder))


def write(name: str, content: dict[str, Any]) -> None:
    made_with = {
        "mmcv": mmcv.__version__,
        "torch": torch.__version__.partition("+")[0],
        "kernels": kernels.fingerprint(),
    }
    text = json.dumps({"made with": made_with, **content}, indent=1)
    (GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")


RECORDS: dict[str, Callable[[], dict[str, Any]]] = {
    "traces": traces,
    "rates": moves,
    "runs": lambda: {name: run(name) for name in scenarios.RUNS},
    "paramwise": groups,
    "exchanged": lambda: exchange.record(lib, GOLDEN / "exchanged"),
    "evaluations": lambda: {name: evaluation(name) for name in evaluations.PLANS},
    "mixed": mixed_precision,
    "logs": lambda: logs.record(lib, GOLDEN / "logs"),
}

if __name__ == "__main__":
    main()

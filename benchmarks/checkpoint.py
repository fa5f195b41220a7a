"""What a checkpoint of 28 million parameters with momentum costs a run: written by the loop, and beside it.

``stall`` is how long the loop stands still for one file. ``in all`` is a stretch of iterations with one file: with
``async_save`` it ends when the file is on the disk, as the other one does. ``an iteration meanwhile`` is the worst one
while a file is being written, beside the median one when none is. ``checksums`` is what comparing a file with its
checksums adds to reading it, beside the ``torch.load`` that follows.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmhooks import CheckpointHook, IterBasedRunner
from mmhooks.checkpoint import verify_file

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())

TENSORS, NUMBERS = 155, 183_000


class Parameters(nn.Module):
    """Nothing but parameters, 28 million of them."""

    def __init__(self) -> None:
        super().__init__()
        self.all = nn.ParameterList(torch.randn(NUMBERS) for _ in range(TENSORS))

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        return {}


class Saves:
    """A hook in a run with momentum, which writes to a folder.

    Args:
        folder: where to.
        beside: write beside the run.
    """

    def __init__(self, folder: Path, beside: bool) -> None:
        model = Parameters()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
        self.runner = IterBasedRunner(model, optimizer=optimizer, logger=QUIET, max_iters=10, work_dir=str(folder))
        self.hook = CheckpointHook(1, by_epoch=False, async_save=beside, max_keep_ckpts=1)
        self.hook.before_run(self.runner)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        self.matrix = torch.randn(300, 300)
        self.iterations: list[float] = []

    def save(self) -> float:
        """Save once more, and say how long the loop stood still."""
        start = time.perf_counter()
        self.hook._save_checkpoint(self.runner)
        self.runner.iter += 1
        return time.perf_counter() - start

    def iterate(self) -> float:
        """Do the work of an iteration, a few milliseconds, most of it outside of Python."""
        start = time.perf_counter()
        for _ in range(8):
            self.matrix @ self.matrix
        self.hook._settle(self.runner, only_finished=True)
        return time.perf_counter() - start

    def stretch(self, count: int) -> tuple[float, float]:
        """Save and iterate; give the stall and the time until all is done."""
        start = time.perf_counter()
        stall = self.save()
        for _ in range(count):
            writing = self.hook._writer is not None and self.hook._writer.busy
            seconds = self.iterate()
            if writing:
                self.iterations.append(seconds)
        self.hook.after_run(self.runner)
        return stall, time.perf_counter() - start


def rows(blocks: int = 7, threads: int = 1) -> list[dict[str, Any]]:
    """Measure.

    Args:
        blocks: how often each contestant saves.
        threads: how many the loop uses; the writer has one of its own.

    Returns:
        One row a comparison: the medians in microseconds, and their ratio.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            return [*_of_writing(Path(folder), blocks), *_of_reading(Path(folder), blocks)]
    finally:
        torch.set_num_threads(before)


def _of_writing(folder: Path, blocks: int) -> list[dict[str, Any]]:
    field = {"in the loop": Saves(folder / "loop", False), "async_save": Saves(folder / "beside", True)}
    for one in field.values():
        one.stretch(1)
    loop, beside = field.values()
    iteration = statistics.median(loop.iterate() for _ in range(50))
    count = int(2 * loop.save() / iteration)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in field}
    for _ in range(blocks):
        for name, one in field.items():
            found[name].append(one.stretch(count))
    stalls, totals = ({name: statistics.median(t[i] for t in found[name]) for name in field} for i in (0, 1))
    return [
        _row("checkpoint, stall", "async_save", stalls["async_save"], "in the loop", stalls["in the loop"]),
        _row("checkpoint, in all", "async_save", totals["async_save"], "in the loop", totals["in the loop"]),
        _row("checkpoint, an iteration meanwhile", "the worst", max(beside.iterations), "the median else", iteration),
    ]


def _of_reading(folder: Path, blocks: int) -> list[dict[str, Any]]:
    file = next((folder / "loop").glob("iter_*.pth"))
    checks, loads = (
        _median(blocks, call) for call in (lambda: verify_file(file), lambda: torch.load(file, weights_only=True))
    )
    return [_row("checkpoint, checksums", "verify_file", checks, "torch.load", loads)]


def _median(blocks: int, call: Callable[[], Any]) -> float:
    times = []
    for _ in range(blocks):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _row(what: str, name: str, seconds: float, other: str, other_seconds: float) -> dict[str, Any]:
    figures = {"us": seconds * 1e6, "other_us": other_seconds * 1e6, "ratio": seconds / other_seconds}
    return {"what": what, "name": name, "compared_with": other, **figures}


if __name__ == "__main__":
    for row in rows():
        print(f"{row['what']:40s} {row['us'] / 1e3:9.1f} ms  {row['other_us'] / 1e3:9.1f} ms  {row['ratio']:.3f}")

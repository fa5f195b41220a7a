"""Time of EMAHook's update and swap on the parameters of a ResNet-50, beside MMCV's loops over the tensors.

All contestants work on equal tensors in one process, in shuffled blocks, with one and with two threads; a row gives
the medians of the blocks and their ratio. `drift` says how far ``fused=True`` gets from the exact update.
"""

from __future__ import annotations

import logging
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mmhooks import EMAHook, EpochBasedRunner

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())

MOMENTUM = 0.0002


def shapes() -> list[tuple[int, ...]]:
    """The 161 parameters of a ResNet-50, 25.6 million numbers."""
    found: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    before = 64
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(blocks):
            layers = [(width, before, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            layers += [(4 * width, before, 1, 1)] if block == 0 else []
            for layer in layers:
                found += [layer, (layer[0],), (layer[0],)]
            before = 4 * width
    return [*found, (1000, 2048), (1000,)]


class Parameters(nn.Module):
    """Nothing but parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.all = nn.ParameterList(torch.randn(shape) for shape in shapes())

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        return {}


class Set:
    """A hook that has begun a run, and the tensors that it averages."""

    def __init__(self, **arguments: Any) -> None:
        torch.manual_seed(0)
        model = Parameters()
        self.runner = EpochBasedRunner(model, logger=QUIET, max_epochs=1)
        self.hook = EMAHook(MOMENTUM, warm_up=1, **arguments)
        self.hook.before_run(self.runner)
        self.parameters: list[Tensor] = list(model.parameters())
        self.averages: list[Tensor] = list(model.buffers())
        for average in self.averages:
            average.normal_()
        self.data: list[Tensor] = []
        self.state: Any = None

    def update(self) -> None:
        self.hook.after_train_iter(self.runner)

    def swap(self) -> None:
        """Swap, and make what the next update needs."""
        self.hook._swap_ema_parameters()
        self.hook._current()

    def loop_update(self) -> None:
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            average.mul_(1 - MOMENTUM).add_(parameter.data, alpha=MOMENTUM)

    def lerp(self) -> None:
        torch._foreach_lerp_(self.averages, self.data, MOMENTUM)

    def loop_swap(self) -> None:
        for parameter, average in zip(self.parameters, self.averages, strict=True):
            kept = parameter.data.clone()
            parameter.data.copy_(average)
            average.copy_(kept)


def contestants() -> tuple[dict[str, Callable[[], None]], list[tuple[str, str, str]]]:
    """Give what is timed, and the comparisons: what is compared, ours, the other."""
    updated, fused, swapped, held = Set(), Set(fused=True), Set(), Set()
    fused.data = [parameter.data for parameter in fused.parameters]
    held.state = held.runner.model.state_dict()  # somebody keeps the tensors of a state dict
    field = {
        "as in MMCV, update": updated.loop_update,
        "EMAHook, update": updated.update,
        "one foreach lerp": fused.lerp,
        "EMAHook(fused=True), update": fused.update,
        "as in MMCV, swap": swapped.loop_swap,
        "EMAHook, swap": swapped.swap,
        "EMAHook, swap, tensors held": held.swap,
    }
    return field, [
        ("EMA update", "EMAHook, update", "as in MMCV, update"),
        ("EMA update, fused", "EMAHook(fused=True), update", "one foreach lerp"),
        ("EMA swap", "EMAHook, swap", "as in MMCV, swap"),
        ("EMA swap, tensors held", "EMAHook, swap, tensors held", "as in MMCV, swap"),
    ]


def rows(blocks: int = 25, threads: tuple[int, ...] = (1, 2)) -> list[dict[str, Any]]:
    """Measure.

    Args:
        blocks: how often each contestant is timed.
        threads: the numbers of threads to measure with.

    Returns:
        One row a comparison: the medians in microseconds, and their ratio.
    """
    found = []
    before = torch.get_num_threads()
    try:
        for count in threads:
            torch.set_num_threads(count)
            field, comparisons = contestants()
            times: dict[str, list[float]] = {name: [] for name in field}
            for run in field.values():
                run()
            for _ in range(blocks):
                for name in random.sample(list(field), len(field)):
                    start = time.perf_counter()
                    field[name]()
                    times[name].append(time.perf_counter() - start)
            medians = {name: statistics.median(values) * 1e6 for name, values in times.items()}
            for what, name, other in comparisons:
                row = {"what": f"{what}, {count} thread{'s' if count > 1 else ''}", "name": name, "us": medians[name]}
                found.append({**row, "compared_with": other, "other_us": medians[other]})
                found[-1]["ratio"] = medians[name] / medians[other]
    finally:
        torch.set_num_threads(before)
    return found


def drift(updates: tuple[int, ...] = (100, 5000), size: int = 100_000) -> dict[int, float]:
    """Say how far lerp is from the exact update, relative to the norm, while the parameters wander."""
    source = torch.Generator().manual_seed(0)
    parameter = torch.randn(size, generator=source)
    exact, fused = parameter.clone(), parameter.clone()
    found = {}
    for step in range(1, max(updates) + 1):
        parameter += 0.01 * torch.randn(size, generator=source)
        exact.mul_(1 - MOMENTUM).add_(parameter, alpha=MOMENTUM)
        torch._foreach_lerp_([fused], [parameter], MOMENTUM)
        if step in updates:
            found[step] = ((fused.double() - exact.double()).norm() / exact.double().norm()).item()
    return found

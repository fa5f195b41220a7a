"""LogBuffer: the values of an epoch, and their averages."""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from operator import mul
from typing import Any

import torch

from mmhooks.errors import ModelError


class LogBuffer:
    """Collects values iteration by iteration and averages the latest of them, weighted by sample count.

    A value is a Python number or a 0-d tensor. A tensor is kept as it is, on its device, and becomes a number
    only when an average is asked for: one synchronisation for all values of a key.

    Attributes:
        val_history: the values of every key, oldest first.
        n_history: their sample counts.
        output: the averages, as numbers, in the order in which their keys came first; hooks may add to it.
        ready: whether there is something to log.

    Example:
        >>> buffer = LogBuffer()
        >>> buffer.update({"loss": torch.tensor(1.0)}, count=2)
        >>> buffer.update({"loss": 4.0}, count=1)
        >>> buffer.average()
        >>> buffer.output["loss"]
        2.0
    """

    def __init__(self) -> None:
        self.val_history: dict[str, list[Any]] = {}
        self.n_history: dict[str, list[int]] = {}
        self.output: dict[str, Any] = {}
        self.ready = False

    def clear(self) -> None:
        """Forget all values and averages."""
        self.val_history.clear()
        self.n_history.clear()
        self.clear_output()

    def clear_output(self) -> None:
        """Forget the averages."""
        self.output.clear()
        self.ready = False

    def update(self, values: Mapping[str, Any], count: int = 1) -> None:
        """Add one value a key.

        Args:
            values: numbers or 0-d tensors by name.
            count: the number of samples behind each value, its weight in the average.

        Raises:
            TypeError: ``values`` is no dict.
        """
        if type(values) is not dict and not isinstance(values, Mapping):
            raise TypeError(f"log values must be a dict of name to number, not {type(values).__name__}")
        for key, value in values.items():
            if type(value) is not float and isinstance(value, torch.Tensor) and value.requires_grad:
                value = value.detach()  # or every graph would live until the epoch ends
            try:  # as `add` does: a call a key is a good part of what a hook costs
                self.val_history[key].append(value)
                self.n_history[key].append(count)
            except KeyError:
                self.add(key, value, count)

    def add(self, key: str, value: Any, count: int = 1) -> None:
        """Add one value, as `update` does for many.

        Args:
            key: its name.
            value: a number, or a 0-d tensor without a graph.
            count: its weight in the average.
        """
        try:
            self.val_history[key].append(value)
            self.n_history[key].append(count)
        except KeyError:
            self.val_history[key] = [value]
            self.n_history[key] = [count]

    def average(self, n: int = 0) -> None:
        """Put the weighted mean of the latest values of every key into ``output``.

        Args:
            n: how many of the latest values; 0 means all.

        Raises:
            ModelError: a value is no number.
            ValueError: ``n`` is negative.
        """
        if n < 0:
            raise ValueError(f"average takes the number of latest values (0 for all), not {n}")
        for key, history in self.val_history.items():
            latest = history[-n:]
            try:
                values, counts = _numbers(latest), _numbers(self.n_history[key][-n:])
            except (TypeError, ValueError, RuntimeError) as error:
                raise ModelError(
                    f"the log values of {key!r} must be numbers or tensors with one element each, and their counts "
                    f"numbers, but {error}"
                ) from error
            if values is not latest:
                history[-n:] = values  # or the tensors would stay on the device until the epoch ends
            total = sum(counts)
            weighted = _sum(list(map(mul, values, counts)))
            self.output[key] = weighted / total if total else nan
        self.ready = True

    def state_dict(self) -> dict[str, Any]:
        """Give all that was collected, for a file: the values of a key as one tensor.

        What is no number is left out; `average` tells of it.
        """
        values, counts = {}, {}
        for key, history in self.val_history.items():
            try:
                numbers, weights = _numbers(history), _numbers(self.n_history[key])
            except (TypeError, ValueError, RuntimeError):
                continue
            if numbers is not history:
                history[:] = numbers  # they need not wait for the device a second time
            values[key] = torch.tensor(numbers, dtype=torch.float64)
            alike = len(set(weights)) == 1
            counts[key] = torch.tensor(weights[:1] if alike else weights, dtype=torch.float64)
        output = {key: value for key, value in self.output.items() if type(value) in (float, int, str, bool)}
        return {"values": values, "counts": counts, "output": output, "ready": self.ready}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state_dict` gave."""
        self.clear()
        for key, values in state.get("values", {}).items():
            counts = state["counts"][key].tolist()
            self.val_history[key] = values.tolist()
            whole = [int(count) if count % 1 == 0 else count for count in counts]
            self.n_history[key] = whole * len(values) if len(whole) == 1 else whole
        self.output.update(state.get("output", {}))
        self.ready = bool(state.get("ready", False))


_NUMBERS = frozenset({float, int})


def _numbers(values: list[Any]) -> list[Any]:
    """Turn what is no Python number into one; tensors with one transfer a device and type."""
    if _NUMBERS.issuperset(map(type, values)):
        return values
    places: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    numbers = list(values)
    for place, value in enumerate(values):
        if isinstance(value, torch.Tensor):
            places.setdefault((value.device, value.dtype), []).append(place)
        elif type(value) not in _NUMBERS:
            numbers[place] = float(value)
    for group in places.values():
        stacked = torch.stack([values[place].reshape(()) for place in group])
        for place, number in zip(group, stacked.tolist(), strict=True):
            numbers[place] = number
    return numbers


def _sum(values: list[float]) -> float:
    """Add numbers in the order in which ``numpy.sum`` does, as MMCV's averages are made of it.

    By eight sums side by side up to 128 numbers, and by halves beyond (pairwise summation: Higham, The accuracy of
    floating point summation, 1993). For an interval's few numbers this takes less than making an array of them.
    """
    count = len(values)
    if count > 128:
        half = count // 2 - count // 2 % 8
        return _sum(values[:half]) + _sum(values[half:])
    total, whole = 0.0, 0
    if count >= 8:
        whole = count - count % 8
        a, b, c, d, e, f, g, h = values[:8]
        for i in range(8, whole, 8):
            a += values[i]
            b += values[i + 1]
            c += values[i + 2]
            d += values[i + 3]
            e += values[i + 4]
            f += values[i + 5]
            g += values[i + 6]
            h += values[i + 7]
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for value in values[whole:]:
        total += value
    return total

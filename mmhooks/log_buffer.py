"""LogBuffer: the values of an epoch, and their averages."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


class LogBuffer:
    """Collects values iteration by iteration and averages the latest of them, weighted by sample count.

    A value is a Python number or a 0-d tensor. A tensor is kept as it is, on its device, and becomes a number
    only when an average is asked for: one synchronisation for all values of a key.

    Example:
        >>> buffer = LogBuffer()
        >>> buffer.update({"loss": torch.tensor(1.0)}, count=2)
        >>> buffer.update({"loss": 4.0}, count=1)
        >>> buffer.average()
        >>> float(buffer.output["loss"])
        2.0
    """

    def __init__(self) -> None:
        self.val_history: OrderedDict[str, list[Any]] = OrderedDict()
        self.n_history: OrderedDict[str, list[int]] = OrderedDict()
        self.output: OrderedDict[str, Any] = OrderedDict()
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
        """
        if not isinstance(values, Mapping):
            raise TypeError(f"log values must be a dict of name to number, not {type(values).__name__}")
        for key, value in values.items():
            if isinstance(value, torch.Tensor) and value.requires_grad:
                value = value.detach()  # or every graph would live until the epoch ends
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
        """
        if n < 0:
            raise ValueError(f"average takes the number of latest values (0 for all), not {n}")
        for key, history in self.val_history.items():
            values = np.array(_numbers(history[-n:]))
            counts = np.array(self.n_history[key][-n:])
            self.output[key] = np.sum(values * counts) / np.sum(counts)
        self.ready = True


def _numbers(values: list[Any]) -> list[Any]:
    """Turn the tensors among the values into numbers with one transfer a device and type."""
    places: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for place, value in enumerate(values):
        if isinstance(value, torch.Tensor):
            places.setdefault((value.device, value.dtype), []).append(place)
    if not places:
        return values
    numbers = list(values)
    for group in places.values():
        stacked = torch.stack([values[place].reshape(()) for place in group])
        for place, number in zip(group, stacked.tolist(), strict=True):
            numbers[place] = number
    return numbers

"""Schedules as pure functions of progress; lr and momentum updaters apply them to param groups.

A schedule is called with the base value of a param group, the progress (finished epochs or iterations) and
the progress at which the run ends, and gives the value now.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi

from mmhooks.errors import ConfigError

Schedule = Callable[[float, int, int], float]


def fixed(base: float, progress: int, end: int) -> float:
    """Keep the base value."""
    return base


@dataclass(frozen=True)
class Step:
    """Multiply the base value by ``gamma`` again at each step.

    Args:
        step: every so many epochs (or iterations), or a list of those at which to step.
        gamma: the factor.
        floor: the value never falls below it; None for no floor.

    Example:
        >>> [round(Step([2, 3], gamma=0.1)(1.0, progress, 4), 3) for progress in range(4)]
        [1.0, 1.0, 0.1, 0.01]
    """

    step: int | Sequence[int]
    gamma: float
    floor: float | None = None

    def __post_init__(self) -> None:
        steps = [self.step] if isinstance(self.step, int) else self.step
        if not isinstance(steps, (list, tuple)) or not all(isinstance(s, int) and s > 0 for s in steps):
            raise ConfigError(f"step must be a positive integer or a list of them, not {self.step!r}")

    def __call__(self, base: float, progress: int, end: int) -> float:
        """Compute the value at a progress."""
        if isinstance(self.step, int):
            taken = progress // self.step
        else:
            # the index of the first step ahead, not a count: an unsorted list means what it means in MMCV
            taken = next((i for i, step in enumerate(self.step) if progress < step), len(self.step))
        value = base * self.gamma**taken
        return value if self.floor is None else max(value, self.floor)


@dataclass(frozen=True)
class CosineAnnealing:
    """Fall from the base value to a target along half a cosine (Loshchilov and Hutter, arXiv:1608.03983, eq. 5).

    Args:
        target: the value at the end, or
        target_ratio: the target as a fraction of the base value.
    """

    target: float | None = None
    target_ratio: float | None = None

    def __post_init__(self) -> None:
        if (self.target is None) == (self.target_ratio is None):
            raise ConfigError(
                "cosine annealing needs one of a minimum and a minimum ratio (min_lr or min_lr_ratio), "
                f"not {'both' if self.target is not None else 'none'}"
            )

    def __call__(self, base: float, progress: int, end: int) -> float:
        """Compute the value at a progress."""
        if self.target_ratio is not None:
            target = base * self.target_ratio
        else:
            assert self.target is not None
            target = self.target
        return target + 0.5 * 1.0 * (base - target) * (cos(pi * (progress / end)) + 1)


@dataclass(frozen=True)
class Warmup:
    """Begin with a smaller value and reach the regular one after some iterations.

    Args:
        kind: ``constant`` (the ratio until the end), ``linear`` or ``exp``.
        ratio: the fraction of the regular value at the first iteration, in (0, 1].
    """

    kind: str
    ratio: float

    def __post_init__(self) -> None:
        if self.kind not in ("constant", "linear", "exp"):
            raise ConfigError(f"warmup must be 'constant', 'linear', 'exp' or None, not {self.kind!r}")
        if not 0 < self.ratio <= 1:
            raise ConfigError(f"warmup_ratio must be in (0, 1], not {self.ratio}")

    def __call__(self, regular: float, iteration: int, iterations: int) -> float:
        """Scale a regular value for an iteration before ``iterations``."""
        if self.kind == "constant":
            return regular * self.ratio
        if self.kind == "linear":
            return regular * (1 - (1 - iteration / iterations) * (1 - self.ratio))
        return regular * float(self.ratio ** (1 - iteration / iterations))

"""Schedules as pure functions of progress; lr and momentum updaters apply them to param groups.

``base`` is the value of a param group at the start, ``progress`` the finished epochs or iterations, ``end`` the
progress at which the run ends. The order of the operations is part of the contract: it decides the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from math import cos, pi

from mmhooks.errors import ConfigError

#: From a start to an end, as a fraction goes from 0 to 1.
Annealing = Callable[[float, float, float], float]


def annealing_cos(start: float, end: float, factor: float, weight: float = 1.0) -> float:
    """Go from ``start`` to ``end`` along half a cosine (Loshchilov and Hutter, arXiv:1608.03983, eq. 5).

    Args:
        start: the value at ``factor`` 0 (if the weight is 1).
        end: the value at ``factor`` 1.
        factor: how much of the way is done, 0 to 1.
        weight: scales the distance from ``end``, so that the start is ``end + weight * (start - end)``.

    Example:
        >>> annealing_cos(1.0, 0.0, 0.5)
        0.5
    """
    return end + 0.5 * weight * (start - end) * (cos(pi * factor) + 1)


def annealing_linear(start: float, end: float, factor: float) -> float:
    """Go from ``start`` to ``end`` along a line, as ``factor`` goes from 0 to 1."""
    return start + (end - start) * factor


#: The values of ``anneal_strategy``.
ANNEALINGS: dict[str, Annealing] = {"cos": annealing_cos, "linear": annealing_linear}


def step_decay(base: float, progress: int, step: int | Sequence[int], gamma: float, floor: float | None) -> float:
    """Multiply by ``gamma`` again at each step.

    Args:
        base: the value at the start.
        progress: the progress.
        step: every so many epochs or iterations, or a list of those at which to step.
        gamma: the factor.
        floor: the value never falls below it; None for no floor.

    Example:
        >>> [round(step_decay(1.0, progress, [2, 3], 0.1, None), 3) for progress in range(4)]
        [1.0, 1.0, 0.1, 0.01]
    """
    if isinstance(step, int):
        taken = progress // step
    else:
        # the index of the first step ahead, not a count: an unsorted list means what it means in MMCV
        taken = next((i for i, ahead in enumerate(step) if progress < ahead), len(step))
    value = base * gamma**taken
    return value if floor is None else max(value, floor)


def exponential(base: float, progress: int, gamma: float) -> float:
    """Multiply by ``gamma`` every time."""
    return base * gamma**progress


def polynomial(base: float, progress: int, end: int, power: float, floor: float) -> float:
    """Fall from ``base`` to ``floor`` as a power of what is left of the run."""
    left: float = (1 - progress / end) ** power
    return (base - floor) * left + floor


def inverse(base: float, progress: int, gamma: float, power: float) -> float:
    """Divide by a power of ``1 + gamma * progress``.

    Raises:
        ConfigError: that is not positive.
    """
    divisor = 1 + gamma * progress
    if divisor <= 0:
        raise ConfigError(
            f"1 + gamma * progress is {divisor} at {progress}, where gamma is {gamma}: it must be positive"
        )
    factor: float = divisor ** (-power)
    return base * factor


def target_of(base: float, value: float | None, ratio: float | None) -> float:
    """Say where an annealing ends: at a ratio of the base value, or at a value."""
    if ratio is not None:
        return base * ratio
    assert value is not None
    return value


def flat_cosine(base: float, progress: int, end: int, target: float, start_percent: float) -> float:
    """Keep ``base`` for a part of the run, then go to ``target`` along half a cosine.

    Args:
        base: the value at the start.
        progress: the progress.
        end: the end of the run.
        target: the value at the end.
        start_percent: the part of the run, 0 to 1, after which the value falls.
    """
    start = round(end * start_percent)
    return base if progress < start else annealing_cos(base, target, (progress - start) / (end - start))


def cosine_restart(
    base: float, progress: int, periods: Sequence[float], weights: Sequence[float], target: float
) -> float:
    """Go to ``target`` along half a cosine in each period, from a restart weighted by its own weight.

    Args:
        base: the value at the start.
        progress: the progress.
        periods: how long each period lasts.
        weights: for each period, what the distance from ``target`` is multiplied with.
        target: the value at the end of each period.

    Raises:
        ConfigError: the progress is past the last period.
    """
    start: float = 0
    for period, weight, stop in zip(periods, weights, accumulate(periods), strict=True):
        if progress < stop:
            return annealing_cos(base, target, min((progress - start) / period, 1), weight)
        start = stop
    raise ConfigError(
        f"the periods {list(periods)} end at {start}, and the run goes on: make them last as long as the run"
    )


def cyclic(
    base: float,
    progress: int,
    period: int,
    turn: int,
    ratios: tuple[float, float],
    gamma: float,
    anneal: Annealing,
) -> float:
    """Go from ``base`` to a peak and down to a lowest value in each cycle (after Smith, arXiv:1506.01186).

    Args:
        base: the value at the start.
        progress: the progress.
        period: how long a cycle lasts.
        turn: when in a cycle the way to the peak ends.
        ratios: the peak and the lowest value, as ratios of ``base``.
        gamma: each cycle's distance of the peak from ``base`` is so much of the one before.
        anneal: the shape of both ways.
    """
    peak, lowest = ratios
    scale = gamma ** (progress // period)
    progress %= period
    if progress < turn:
        return anneal(base * 1, base * (1 - scale + peak * scale), progress / turn)
    if turn == 0:  # with no way up, MMCV takes the way down for it, and scales its end
        lowest = 1 - scale + lowest * scale
    else:
        peak = 1 - scale + peak * scale
    return anneal(base * peak, base * lowest, (progress - turn) / (period - turn))


def one_cycle(values: Sequence[float], progress: int, end: int, pct_start: float, anneal: Annealing) -> float:
    """Go from value to value, once (Smith and Topin, arXiv:1708.07120).

    Args:
        values: three of them for two phases, or four for three phases, of which the first two are equally long.
        progress: the iteration.
        end: how many iterations there are.
        pct_start: the part of the run, 0 to 1, that the first phase takes.
        anneal: the shape of every phase.

    Raises:
        ConfigError: the first phase is one iteration long, so that it begins where it ends.
    """
    stops = [float(pct_start * end) - 1, float(2 * pct_start * end) - 2, end - 1]
    if len(values) == 3:
        del stops[1]
    start, phase = 0.0, 0
    while progress > stops[phase] and phase < len(stops) - 1:
        start, phase = stops[phase], phase + 1
    try:
        fraction = (progress - start) / (stops[phase] - start)
    except ZeroDivisionError:
        raise ConfigError(
            f"pct_start={pct_start} of {end} iterations is one iteration, too short for the way to the peak: "
            "make pct_start larger, or smaller"
        ) from None
    return anneal(values[phase], values[phase + 1], fraction)


def warmup_factor(kind: str, ratio: float, iteration: int, iterations: float) -> float:
    """Give the factor, from ``ratio`` to 1, of an iteration of a warmup.

    Args:
        kind: ``constant`` (the ratio until the end), ``linear`` or ``exp``.
        ratio: the factor of the first iteration, in (0, 1].
        iteration: the iteration, before ``iterations``.
        iterations: how long the warmup lasts.
    """
    if kind == "constant":
        return ratio
    if kind == "linear":
        return 1 - (1 - iteration / iterations) * (1 - ratio)
    factor: float = ratio ** (1 - iteration / iterations)
    return factor

"""Sampling: few points of a long curve that look like all of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]


def sample(values: Floats, columns: int = 1000, jumps: int = 400) -> Indices:
    """Choose the points of a curve that a plot of so many columns of pixels can show.

    Of each column the first, the last, the lowest and the highest point stay, and both ends of the largest jumps
    wherever they are: a step of the learning rate is drawn where it happens, a spike of one iteration is not lost.

    Args:
        values: the curve; what is not finite is a gap, whose edges count as jumps.
        columns: how many columns there are.
        jumps: how many jumps stay besides, the largest ones.

    Returns:
        The indices, ascending; all of them where there are not many.

    Example:
        >>> len(sample(np.zeros(1_000_000))) <= 4 * 1000
        True
    """
    count = len(values)
    if count <= 4 * columns:
        return np.arange(count)
    finite = np.isfinite(values)
    low, high = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
    starts = np.linspace(0, count, columns + 1).astype(np.intp)
    kept = [starts[:-1], starts[1:] - 1, _jumps(values, finite, jumps)]
    for lowest_or_highest, choose in ((low, np.argmin), (high, np.argmax)):
        kept.append(
            np.array([start + choose(lowest_or_highest[start:end]) for start, end in pairwise(starts)], dtype=np.intp)
        )
    return np.unique(np.concatenate(kept))


def stairs(values: Floats, columns: int = 1000) -> tuple[Floats, Floats]:
    """Give the points to draw a curve of a value an iteration: each lasts until the next, the last one until the end.

    Args:
        values: the curve.
        columns: how many columns of pixels there are.

    Returns:
        The x and the y of the points; a gap is NaN.
    """
    kept = sample(values, columns)
    x, y = np.append(kept, len(values)).astype(np.float64), np.append(values[kept], values[-1])
    y[~np.isfinite(y)] = np.nan
    if len(values) > 2 * columns:  # the treads of the stairs are less than a pixel wide
        return x, y
    return np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]


def apart(one: Floats, other: Floats) -> Floats:
    """Give how far two curves are apart at each point, as far as both go; infinity where one alone is not a number."""
    common = min(len(one), len(other))
    left, right = one[:common], other[:common]
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        gaps: Floats = np.where(same, 0.0, np.abs(left - right))
    gaps[np.isnan(gaps)] = np.inf
    return gaps


def _jumps(values: Floats, finite: NDArray[np.bool_], limit: int) -> Indices:
    """Give both ends of the largest steps from one point to the next."""
    plain = np.where(finite, values, 0.0)
    sizes = np.abs(np.diff(plain))
    sizes[finite[1:] != finite[:-1]] = np.inf
    sizes[~finite[1:] & ~finite[:-1]] = 0.0
    span = float(np.ptp(plain[finite])) if finite.any() else 0.0
    large = np.flatnonzero(sizes > span / 1000)
    if len(large) > limit:
        large = large[np.argpartition(sizes[large], -limit)[-limit:]]
    return np.concatenate([large, large + 1])

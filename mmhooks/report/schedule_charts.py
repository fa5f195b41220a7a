"""The charts of schedules: the whole run, and its warmup beside it where that is a small part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmhooks.report.figures import Chart, Curve
from mmhooks.report.sampling import Floats, stairs
from mmhooks.report.schedule import Schedule, named_curves, wants_log, wants_zoom

_COLUMNS = 1200  # of pixels, as wide as a figure is


def schedule_charts(
    key: str, schedules: Sequence[Schedule], *, log: bool | None = None, names: Sequence[str] = ()
) -> list[Chart]:
    """Make the charts of a rate: one of the whole run, and one of the warmup where it would not be seen there.

    Args:
        key: ``"lr"`` or ``"momentum"``.
        schedules: one, or two to lie on top of each other.
        log: whether the axis is logarithmic. None: where that shows more.
        names: what the schedules are called. Empty: by their files.

    Returns:
        The charts; none where nothing could be walked.
    """
    several = len(schedules) > 1
    curves: list[Curve] = []
    zoomed: list[Curve] = []
    every: list[Floats] = []
    zoom = max((2 * schedule.warmup for schedule in schedules if wants_zoom(schedule)), default=0)
    for index, schedule in enumerate(schedules):
        called = names[index] if names else schedule.name
        for group, values in named_curves(schedule, key):
            name = " ".join(filter(None, (called, group))) if several else group or key
            look = ("pale" if index == 0 else "line") if several else "line"
            curves.append(Curve(name, *stairs(values, _COLUMNS), len(curves), look))
            zoomed.append(Curve(name, *stairs(values[: zoom + 1], _COLUMNS), len(zoomed), look))
            every.append(values)
    if not curves:
        return []
    logarithmic = wants_log(every, max(schedule.warmup for schedule in schedules)) if log is None else log
    lengths = {schedule.epoch_len for schedule in schedules}
    epoch_len = lengths.pop() if len(lengths) == 1 else None
    if not (zoom and any(len(np.unique(values[:zoom])) > 1 for values in every)):
        return [Chart(key, curves, epoch_len=epoch_len, log=logarithmic)]
    floor = _floor([values[zoom:] for values in every]) if logarithmic else 0.0
    charts = [Chart(key, curves, epoch_len=epoch_len, log=logarithmic, floor=floor)]
    window = (0.0, float(zoom))
    return [*charts, Chart(key, zoomed, epoch_len=epoch_len, window=window, title="warmup")]


def _floor(curves: Sequence[Floats]) -> float:
    """Give what a logarithmic axis may leave out: what is lower than all of the run but its warmup."""
    values = np.concatenate(curves)
    positive = values[np.isfinite(values) & (values > 0)]
    return float(positive.min()) / 1.01 if len(positive) else 0.0

"""Charts in a terminal, of braille dots in colours; of plain characters where there are no colours to tell curves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from rich.console import Console
from rich.text import Text

from mmhooks.report.figures import Chart
from mmhooks.report.sampling import Floats, sample
from mmhooks.report.text import clean, scientific

_COLOURS = ("bright_blue", "dark_orange", "green3", "magenta", "cyan", "yellow", "purple", "default")
_SIGNS = "*o+x#@%&"
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille character, by row and column


def draw(chart: Chart, console: Console, *, height: int = 12) -> Text:
    """Draw a chart as wide as a terminal.

    Args:
        chart: what to draw.
        console: where it will be printed. Without colours, several curves get a character each; where it cannot
            show braille, so does a single one.
        height: the lines that the curves take.

    Returns:
        Lines to be printed.
    """
    limits = _limits(chart)
    if limits is None:
        return Text(f"{chart.name}: no finite value to draw", style="dim")
    (left, right), (low, high) = limits
    labels = _y_labels(low, high, height, chart.log)
    margin = max(*map(len, labels), len(chart.unit)) + 1
    columns = max(console.width - margin - 2, 20)
    dots = _is_unicode(console) and (len(chart.curves) == 1 or console.color_system is not None)
    canvas = _Canvas(columns, height, dots)
    for curve in chart.curves:
        x = (curve.x - left) / (right - left)
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.log(np.where(curve.y > 0, curve.y, np.nan)) if chart.log else curve.y
        bottom, top = (np.log(low), np.log(high)) if chart.log else (low, high)
        canvas.curve(x, (y - bottom) / (top - bottom), curve.colour)
    corner, side, floor = ("└", "┤", "─") if _is_unicode(console) else ("+", "|", "-")
    text = Text(no_wrap=True)
    text.append_text(_head(chart, dots, console.width))
    for label, line in zip(labels, canvas.lines(), strict=True):
        text.append(f"{label:>{margin - 1}} {side}", style="dim")
        text.append_text(line)
        text.append("\n")
    text.append(" " * margin + corner + floor * columns + "\n", style="dim")
    for name, scale in (("iteration", 1.0), ("epoch", chart.epoch_len)):
        if scale:
            unit = chart.unit if name == "iteration" else name
            text.append(_x_labels(left / scale, right / scale, margin + 1, columns, unit) + "\n", style="dim")
    return text


def _is_unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")


def _head(chart: Chart, dots: bool, width: int) -> Text:
    """Name the chart, and its curves where there are several: in the same line if they fit."""
    text = Text.assemble((clean(chart.name), "bold"), f"  {chart.title}" if chart.title else "")
    if len(chart.curves) > 1:
        names = [clean(curve.name) for curve in chart.curves]
        fits = len(text) + sum(len(name) + 5 for name in names) <= width
        for curve, name in zip(chart.curves, names, strict=True):
            sign = "━━" if dots else _SIGNS[curve.colour % len(_SIGNS)]
            text.append("  " if fits else "\n  ")
            text.append(sign, style=_COLOURS[curve.colour % len(_COLOURS)]).append(f" {name}")
    return text.append("\n")


def _limits(chart: Chart) -> tuple[tuple[float, float], tuple[float, float]] | None:
    ends = [end for curve in chart.curves if len(curve.x) for end in (float(curve.x[0]), float(curve.x[-1]))]
    if not ends:
        return None
    left, right = chart.window or (min(0.0, *ends), max(ends))
    shown = [curve.y[(curve.x >= left) & (curve.x <= right)] for curve in chart.curves]
    values = np.concatenate(shown)
    values = values[np.isfinite(values) & ((values > chart.floor) | (not chart.log))]
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    if not chart.log and 0 <= low <= high / 2:
        low = 0.0
    if low == high:
        low, high = (low / 2, high * 2) if chart.log else (low - (abs(low) / 2 or 1.0), high + (abs(high) / 2 or 1.0))
    return (left, right if right > left else left + 1), (low, high)


def _y_labels(low: float, high: float, height: int, log: bool) -> list[str]:
    """Write round numbers beside the lines where they are."""
    labels = [""] * height
    for value in _log_ticks(low, high, height) if log else _ticks(low, high, height // 2):
        part = np.log(value / low) / np.log(high / low) if log else (value - low) / (high - low)
        row = height - 1 - round(float(part) * (height - 1))
        labels[row] = labels[row] or scientific(value)
    return labels


def _ticks(low: float, high: float, most: int, least: float = 0.0) -> list[float]:
    """Give round numbers between two, at most so many, and no closer than `least`."""
    step = _round_step(max((high - low) / max(most, 1), least))
    first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
    return [index * step for index in range(first, last + 1)]


def _log_ticks(low: float, high: float, height: int) -> list[float]:
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    factors = (1, 2, 5) if len(powers) * 3 <= height else (1,)
    ticks = [factor * 10.0**power for power in powers for factor in factors]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001] or [low, high]


def _x_labels(left: float, right: float, margin: int, columns: int, unit: str) -> str:
    """Write round numbers below the places where they are, and the unit before them."""
    line = [" "] * (margin + columns)
    for value in _ticks(left, right, columns // 11, least=1.0):
        label = f"{value:,.0f}"
        start = max(margin + round((value - left) / (right - left) * (columns - 1)) - len(label) // 2, 0)
        start = min(start, margin + columns - len(label))
        if not "".join(line[max(start - 1, 0) : start + len(label)]).strip():
            line[start : start + len(label)] = label
    return f"{unit:<{margin}.{margin}}" + "".join(line[margin:]).rstrip()


def _round_step(least: float) -> float:
    """Give the next of ..., 0.1, 0.2, 0.5, 1, 2, 5, 10, ..."""
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999))


class _Canvas:
    """Cells of a chart, each of eight dots or of one."""

    def __init__(self, columns: int, rows: int, dots: bool) -> None:
        self._columns, self._rows, self._dots = columns, rows, dots
        across, up = (2, 4) if dots else (1, 1)
        self._width, self._height = columns * across, rows * up
        self._cells = np.zeros((rows, columns), dtype=np.int64)
        self._owners = np.full((rows, columns), -1)

    def curve(self, x: Floats, y: Floats, colour: int) -> None:
        """Draw a line through points whose coordinates go from 0 to 1."""
        kept = sample(y, self._width) if len(y) > 4 * self._width else np.arange(len(y))
        across, up = x[kept] * (self._width - 1), y[kept] * (self._height - 1)
        before: tuple[int, int] | None = None
        for column, row in zip(across.tolist(), up.tolist(), strict=True):
            if not (np.isfinite(row) and -0.5 <= column <= self._width - 0.5):
                before = None
                continue
            here = (round(column), min(max(round(row), 0), self._height - 1))
            for dot in _between(before or here, here):
                self._set(*dot, colour)
            before = here

    def _set(self, column: int, row: int, colour: int) -> None:
        row = self._height - 1 - row
        across, up = (2, 4) if self._dots else (1, 1)
        cell = row // up, min(column // across, self._columns - 1)
        self._cells[cell] |= _BITS[row % 4][column % 2] if self._dots else 1
        self._owners[cell] = colour

    def lines(self) -> Iterator[Text]:
        """Give the lines from the top."""
        for cells, owners in zip(self._cells.tolist(), self._owners.tolist(), strict=True):
            line = Text()
            for bits, owner in zip(cells, owners, strict=True):
                sign = chr(0x2800 + bits) if self._dots else _SIGNS[owner % len(_SIGNS)]
                line.append(sign if bits else " ", style=_COLOURS[owner % len(_COLOURS)] if bits else "")
            line.rstrip()
            yield line


def _between(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Go from one dot to another."""
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for step in range(steps + 1):
        part = step / steps
        yield round(start[0] + (end[0] - start[0]) * part), round(start[1] + (end[1] - start[1]) * part)

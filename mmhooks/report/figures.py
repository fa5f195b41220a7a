"""Figures: charts of curves as a file, .png, .svg or .pdf."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhooks.errors import ConfigError
from mmhooks.report.extra import check_extra
from mmhooks.report.plots import COLOURS, epochs_and_back
from mmhooks.report.sampling import Floats
from mmhooks.report.text import clean, scientific

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: The kinds of files, by suffix.
SUFFIXES = (".png", ".svg", ".pdf")

#: Told apart by every kind of eye, and by their lightness; black last.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5b4bb7", "#222222")

_INK, _GRID = COLOURS["ink"][0], COLOURS["grid"][0]
_WIDTH, _ROW, _DPI = 10.0, 3.3, 120


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        name: for the legend.
        x: where its points are.
        y: their values; NaN is a gap.
        colour: its place in the palette.
        look: ``"line"``; ``"points"``, a line with marks; ``"pale"``, a thick one to lie below others; ``"dashed"``.
    """

    name: str
    x: Floats
    y: Floats
    colour: int = 0
    look: str = "line"


@dataclass(frozen=True)
class Chart:
    """A panel of a figure.

    Attributes:
        name: what it shows, beside its y axis.
        curves: what it shows.
        unit: of its x axis, ``"iteration"`` or ``"epoch"``.
        epoch_len: iterations an epoch, for a second x axis. None: none.
        log: whether the y axis is logarithmic.
        window: the part of the x axis that is shown. None: all.
        floor: what is lower may lie outside of a logarithmic axis.
        title: above it.
    """

    name: str
    curves: Sequence[Curve]
    unit: str = "iteration"
    epoch_len: float | None = None
    log: bool = False
    window: tuple[float, float] | None = None
    floor: float = 0.0
    title: str = ""


def check_suffix(file: Path) -> None:
    """Check that a figure can be written to a file.

    Raises:
        ConfigError: its suffix names no kind of picture, or matplotlib is not installed.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"a picture must end in {', '.join(SUFFIXES)}, not {file.name!r}: write {file.stem}.png")
    check_extra("matplotlib", "a picture in a file")


def write_figure(file: Path, rows: Sequence[Sequence[Chart]], *, title: str, notes: Sequence[str] = ()) -> None:
    """Draw charts in rows into a file, on a light ground; the suffix decides over its kind.

    Args:
        file: where to; its folder is made when missing.
        rows: the charts of each row; the first of several is the widest.
        title: above them.
        notes: smaller lines below the title.

    Raises:
        ConfigError: see `check_suffix`.
    """
    check_suffix(file)
    import matplotlib.style

    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "mmhooks",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 10,
        "text.parse_math": False,
        "axes.unicode_minus": False,
    }
    dates = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}  # the same bytes every time
    with matplotlib.style.context(["default", settings]):
        figure = _figure(rows, clean(title), [clean(note) for note in notes])
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=_DPI, metadata=dates[file.suffix.lower()])


def _figure(rows: Sequence[Sequence[Chart]], title: str, notes: Sequence[str]) -> Figure:
    from matplotlib.figure import Figure

    lines = [line for note in notes for line in textwrap.wrap(note, 128) or [""]]
    shared = _shared_legend([chart for row in rows for chart in row])
    top = 0.5 + 0.19 * len(lines) + (0.3 if shared else 0)
    height = top + _ROW * len(rows)
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - top / height), w_pad=0.08)  # type: ignore[union-attr,call-arg]
    figure.text(0.012, 1 - 0.12 / height, title, fontsize=13, fontweight="bold", va="top", color="#1d2228")
    for index, line in enumerate(lines):
        figure.text(0.012, 1 - (0.42 + 0.19 * index) / height, line, fontsize=9, va="top", color=_INK)
    grid = figure.add_gridspec(len(rows), 1)
    for index, row in enumerate(rows):
        ratios = [2.6, *[1.0] * (len(row) - 1)]
        cells = grid[index].subgridspec(1, len(row), width_ratios=ratios if len(row) > 1 else None)
        for column, chart in enumerate(row):
            _draw(chart, figure.add_subplot(cells[column]), wide=len(row) == 1 or column == 0, legend=not shared)
    if shared:
        handles, labels = figure.axes[0].get_legend_handles_labels()
        place: dict[str, Any] = {
            "loc": "upper left",
            "bbox_to_anchor": (0.006, 1 - (0.44 + 0.19 * len(lines)) / height),
        }
        figure.legend(handles, labels, ncols=4, frameon=False, borderaxespad=0, fontsize=9.5, **place)
    return figure


def _shared_legend(charts: Sequence[Chart]) -> bool:
    """Tell whether one legend serves all charts: each has the same curves, and there are several."""
    names = {tuple((curve.name, curve.colour) for curve in chart.curves) for chart in charts}
    return len(names) == 1 and 1 < len(next(iter(names))) <= 4


_LOOKS: dict[str, dict[str, Any]] = {
    "line": {"linewidth": 1.8},
    "points": {"linewidth": 1.5, "marker": "o", "markersize": 4.5},
    "pale": {"linewidth": 5.5, "alpha": 0.45},
    "dashed": {"linewidth": 1.6, "linestyle": (0, (4, 2)), "marker": "s", "markersize": 4},
}


def _draw(chart: Chart, axis: Axes, *, wide: bool, legend: bool) -> None:
    for curve in chart.curves:
        look = dict(_LOOKS[curve.look])
        if "marker" in look and len(curve.x) > 60:
            look.pop("marker")
        colour = PALETTE[curve.colour % len(PALETTE)]
        axis.plot(curve.x, curve.y, color=colour, label=clean(curve.name), **look)
    _limit(chart, axis)
    _dress(chart, axis, wide)
    if legend and len(chart.curves) > 1:
        axis.legend(fontsize=9, frameon=True, framealpha=0.85, edgecolor="none")


def _limit(chart: Chart, axis: Axes) -> None:
    """Set the ends of the axes: those of the part that is shown, with a curve that falls far seen against zero."""
    ends = [end for curve in chart.curves for end in (curve.x[0], curve.x[-1]) if len(curve.x)]
    low, high = chart.window or (min([0.0, *ends]), max(ends, default=1.0))
    room = 0.0 if any(curve.look in ("line", "pale") for curve in chart.curves) else 0.02 * (high - low)
    axis.set_xlim(low, (high if high > low else low + 1) + room)
    inside = [curve.y[(curve.x >= low) & (curve.x <= high)] for curve in chart.curves]
    values = np.concatenate(inside) if inside else np.zeros(0)
    values = values[np.isfinite(values)]
    if chart.log:
        values = values[values > chart.floor]
    if not len(values):
        return
    bottom, top = float(values.min()), float(values.max())
    if chart.log:
        axis.set_yscale("log")
        axis.set_ylim(bottom / 1.6, top * 1.6)
    elif top > 0 and (0 <= bottom <= top / 2 or bottom == top):
        axis.set_ylim(-0.03 * top, 1.08 * top)
    else:
        room = 0.08 * (top - bottom) or 1.0
        axis.set_ylim(bottom - room, top + room)


def _dress(chart: Chart, axis: Axes, wide: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    ticks = 8 if wide else 4
    axis.set_ylabel(clean(chart.name), color=_INK)
    axis.set_xlabel(chart.unit, color=_INK)
    if chart.title:
        axis.set_title(chart.title, fontsize=10, color=_INK, loc="left")
    axis.grid(color=_GRID, linewidth=0.9)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(_INK)
    axis.tick_params(colors=_INK, labelsize=9)
    axis.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10]))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    if chart.log:
        low, high = axis.get_ylim()
        few = (1.0,) if high > 1e4 * low else (1.0, 2.0, 5.0)
        axis.yaxis.set_major_locator(LogLocator(subs=few, numticks=20))
        axis.yaxis.set_minor_formatter(NullFormatter())
    else:
        axis.yaxis.set_major_locator(MaxNLocator(6))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: scientific(value)))
    length = chart.epoch_len
    low, high = axis.get_xlim()
    if length and high - low >= 2 * length:
        epochs = axis.secondary_xaxis("top", functions=epochs_and_back(length))
        epochs.set_xlabel("epoch", color=_INK)
        epochs.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10]))
        epochs.tick_params(colors=_INK, labelsize=9)
        epochs.spines["top"].set_color(_GRID)

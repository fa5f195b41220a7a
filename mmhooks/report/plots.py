"""Plots of curves as SVG, which look alike in light and dark and are the same bytes every time."""

from __future__ import annotations

import hashlib
import html
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhooks.errors import ConfigError
from mmhooks.report.extra import check_extra
from mmhooks.report.sampling import Floats, apart, stairs
from mmhooks.report.text import clean, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Each role with its colour in light and in dark. Orange and blue, pale and strong: told apart without colours, too.
COLOURS = {
    "before": ("#f3b453", "#96671a"),
    "after": ("#12396b", "#dcebff"),
    "apart": ("#b3261e", "#ff9d94"),
    "ink": ("#3d4650", "#b9c2cc"),
    "grid": ("#e4e7ea", "#2c333b"),
}
_PIXELS_AN_INCH = 72  # so that a point of matplotlib is a unit of the picture


@dataclass(frozen=True)
class Panel:
    """One curve of up to two sides, drawn on top of each other.

    Attributes:
        name: what it shows, ``"lr"``.
        before: a value an iteration, of one side.
        after: those of the other side; empty where there is only one.
        epoch_len: iterations an epoch, for a second axis. None: epochs say nothing here.
    """

    name: str
    before: Sequence[float]
    after: Sequence[float] = ()
    epoch_len: int | None = None


def caption(panel: Panel, sides: tuple[str, str] = ("before", "after")) -> str:
    """Say in words what a panel shows: its range, and how far its sides are apart.

    Args:
        panel: the panel.
        sides: what its two sides are called.

    Example:
        >>> caption(Panel("lr", [0.1, 0.2], [0.1, 0.2]))
        'lr: 2 iterations, from 0.1 to 0.2. Largest difference: 0, the same at every iteration, bit for bit.'
    """
    before, after = _floats(panel.before), _floats(panel.after)
    both = np.concatenate([before, after])
    if not len(both):
        return f"{panel.name}: no values."
    text = f"{panel.name}: {_iterations(max(len(before), len(after)))}, {_range(both)}."
    gaps = int(np.count_nonzero(~np.isfinite(both)))
    if gaps:
        text += f" {number(gaps)} of the values are not finite and leave a gap."
    if not len(before) or not len(after):
        return text
    if len(before) != len(after):
        text += (
            f" The sides are not equally long ({sides[0]} {number(len(before))}, {sides[1]} {number(len(after))}): "
            f"{number(min(len(before), len(after)))} were compared."
        )
    return f"{text} {_difference(before, after, sides)}"


def _difference(before: Floats, after: Floats, sides: tuple[str, str]) -> str:
    gaps = apart(before, after)
    if not gaps.any():
        return "Largest difference: 0, the same at every iteration, bit for bit."
    where = int(np.argmax(gaps))
    left, right = before[where], after[where]
    digits = next((digits for digits in (6, 9, 12) if f"{left:.{digits}g}" != f"{right:.{digits}g}"), 17)
    return (
        f"Largest difference: {number(float(gaps[where]))}, at iteration {number(where)} "
        f"({sides[0]} {left:.{digits}g}, {sides[1]} {right:.{digits}g}); "
        f"{number(int(np.count_nonzero(gaps)))} of {number(len(gaps))} iterations differ."
    )


def _iterations(count: int) -> str:
    return f"{number(count)} iteration{'' if count == 1 else 's'}"


def _range(values: Floats) -> str:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return "none of them with a finite value"
    low, high = float(finite.min()), float(finite.max())
    return f"{number(low)} throughout" if low == high else f"from {number(low)} to {number(high)}"


def curves_svg(
    panels: Sequence[Panel], *, title: str, sides: tuple[str, str] = ("before", "after"), width: int = 960
) -> str:
    """Draw curves below each other, each with both sides: a thick pale line, and a thin strong one on top.

    Where no curve has both sides, nothing has to be told apart, and there is no legend.

    The text stays text, the colours follow the reader's light or dark mode, and the same curves give the same bytes.

    Args:
        panels: the curves; those without a value are left out.
        title: what the picture is called for a reader who cannot see it.
        sides: the names of the two sides, for the legend.
        width: of the picture, in pixels. The text keeps its size: draw a narrow picture for a narrow screen.

    Raises:
        ConfigError: there is no value to draw, or matplotlib is not installed.

    Returns:
        An ``<svg>`` element, to be put into a page or written into a file.

    Example:
        >>> svg = curves_svg([Panel("lr", [0.1, 0.1, 0.01])], title="Learning rate")  # doctest: +SKIP
    """
    check_extra("matplotlib", "a plot")
    shown = [panel for panel in panels if len(panel.before) or len(panel.after)]
    if not shown:
        raise ConfigError("there is no curve to draw: give curves_svg a Panel with values")
    import matplotlib.style

    settings: dict[str, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "mmhooks",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 12,
        "text.parse_math": False,
        "path.simplify_threshold": 0.05,
    }
    with matplotlib.style.context(["default", settings]):
        figure = _figure(shown, sides, width)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    words = " ".join(caption(panel, sides) for panel in shown)
    return _finished(stream.getvalue(), clean(title), clean(words))


def _figure(panels: Sequence[Panel], sides: tuple[str, str], width: int) -> Figure:
    from matplotlib.figure import Figure

    rows = len(panels)
    height = 40 + rows * (230 if width > 600 else 215)
    size = (width / _PIXELS_AN_INCH, height / _PIXELS_AN_INCH)
    figure = Figure(figsize=size, layout="constrained", dpi=_PIXELS_AN_INCH)
    figure.patch.set_alpha(0)
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    for panel, axis in zip(panels, axes, strict=True):
        _draw(panel, axis, sides, width)
    axes[-1].set_xlabel("iteration", color=COLOURS["ink"][0])
    if not any(len(panel.before) and len(panel.after) for panel in panels):
        return figure
    handles, labels = axes[0].get_legend_handles_labels()
    legend: dict[str, Any] = {"ncols": len(handles), "frameon": False, "labelcolor": COLOURS["ink"][0]}
    figure.legend(handles, labels, loc="outside upper left", **legend)
    return figure


def _draw(panel: Panel, axis: Axes, sides: tuple[str, str], width: int) -> None:
    curves = {"before": _floats(panel.before), "after": _floats(panel.after)}
    widths = {"before": 6.0, "after": 1.6}
    for (role, values), side in zip(curves.items(), sides, strict=True):
        if len(values):
            x, y = stairs(values, columns=width)
            axis.plot(x, y, color=COLOURS[role][0], linewidth=widths[role], label=side, solid_capstyle="butt")
    _mark(axis, *curves.values())
    total = max(map(len, curves.values()))
    _scale(axis, np.concatenate(list(curves.values())), total)
    _dress(axis, panel, total, width)


def _mark(axis: Axes, before: Floats, after: Floats) -> None:
    """Circle the place where the sides are furthest apart, which may be less than a pixel."""
    gaps = apart(before, after)
    if gaps.any():
        where = int(np.argmax(gaps))
        height = after[where] if np.isfinite(after[where]) else before[where]
        ring: dict[str, Any] = {
            "markersize": 12,
            "markerfacecolor": "none",
            "markeredgewidth": 1.6,
            "clip_on": False,
            "zorder": 5,
        }
        axis.plot([where + 0.5], [height], "o", color=COLOURS["apart"][0], **ring)


def _scale(axis: Axes, values: Floats, total: int) -> None:
    axis.set_xlim(0, total)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return
    low, high = float(finite.min()), float(finite.max())
    if high > 0 and (0 <= low <= high / 2 or low == high):  # a curve that falls far is seen against zero
        axis.set_ylim(-0.04 * high, 1.08 * high)
    else:
        room = 0.08 * (high - low) or 1.0
        axis.set_ylim(low - room, high + room)


def _dress(axis: Axes, panel: Panel, total: int, width: int) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ink = COLOURS["ink"][0]
    ticks = 8 if width > 600 else 4
    axis.set_ylabel(clean(panel.name), color=ink)
    axis.set_facecolor("none")
    axis.grid(color=COLOURS["grid"][0], linewidth=1)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(ink)
    axis.tick_params(colors=ink)
    axis.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.yaxis.set_major_locator(MaxNLocator(5))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    length = panel.epoch_len
    if length and total >= 2 * length:
        epochs = axis.secondary_xaxis("top", functions=epochs_and_back(length))
        epochs.set_xlabel("epoch", color=ink)
        epochs.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
        epochs.tick_params(colors=ink)
        epochs.spines["top"].set_color(COLOURS["grid"][0])


def epochs_and_back(length: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Give the functions between an axis of iterations and one of epochs."""
    return (lambda iteration: iteration / length), (lambda epoch: epoch * length)


def _finished(svg: str, title: str, words: str) -> str:
    """Make what matplotlib wrote fit for a page: colours that follow it, ids of its own, words for it."""
    svg = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    for role, (light, _) in COLOURS.items():
        svg = svg.replace(light, f"var(--plot-{role})")
    used = set(re.findall(r'(?:"|url\()#([\w.-]+)', svg))
    prefix = f"plot-{hashlib.sha256(svg.encode()).hexdigest()[:10]}-"
    svg = re.sub(r' id="([\w.-]+)"', lambda match: f' id="{prefix}{match[1]}"' if match[1] in used else "", svg)
    svg = re.sub(r'("|url\()#([\w.-]+)', rf"\1#{prefix}\2", svg)
    svg = re.sub(r"(<svg[^>]*?) width=\"[\d.]+pt\" height=\"[\d.]+pt\"", r"\1", svg, count=1)
    label, text = html.escape(title), html.escape(words)
    named = f'<svg class="mmhooks-plot" role="img" aria-label="{label}" aria-describedby="{prefix}words"'
    head = f'<title>{label}</title>\n<desc id="{prefix}words">{text}</desc>\n<style>{_style()}</style>\n'
    start, end = svg.index("<svg"), svg.index(">", svg.index("<svg")) + 1
    body = re.sub(r"[ \t]*\n\s*", "\n", svg[end:].strip())
    return f"{named}{svg[start + 4 : end]}\n{head}{body}\n"


def _style() -> str:
    light, dark = (";".join(f"--plot-{role}:{pair[mode]}" for role, pair in COLOURS.items()) for mode in (0, 1))
    return (
        f".mmhooks-plot{{{light};display:block;width:100%;height:auto}}"
        f"@media screen and (prefers-color-scheme:dark){{.mmhooks-plot{{{dark}}}}}"
        ".mmhooks-plot *{stroke-linejoin:round;stroke-linecap:butt}"
        ".mmhooks-plot text{font-family:system-ui,sans-serif!important}"
    )


def _floats(values: Sequence[float]) -> Floats:
    return np.asarray(values, dtype=np.float64).reshape(-1)

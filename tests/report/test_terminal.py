"""Charts in a terminal: no wider than it, told apart without colours, drawn where braille cannot be."""

import io

import numpy as np
import pytest
from rich.console import Console

from mmhooks.report.figures import Chart, Curve, write_figure
from mmhooks.report.terminal import draw


def shown(chart, width=80, encoding="utf-8", colours=None, height=12):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=width, color_system=colours, force_terminal=colours is not None)
    console.print(draw(chart, console, height=height), end="")
    file.flush()
    return file.buffer.getvalue().decode(encoding)


def chart(*curves, **options):
    x = np.arange(len(curves[0]), dtype=float)
    return Chart(
        "lr", [Curve(f"run {index}", x, np.array(y, dtype=float), index) for index, y in enumerate(curves)], **options
    )


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_are_no_wider_than_the_terminal(width):
    lines = shown(chart(np.linspace(1e-5, 0.12345, 9000), np.ones(9000)), width).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) >= 14


def test_a_falling_curve_falls():
    lines = [line.partition("┤")[2] for line in shown(chart(np.linspace(1, 0, 100))).splitlines() if "┤" in line]
    starts = [len(line) - len(line.lstrip()) for line in lines]
    assert starts == sorted(starts)
    assert starts[-1] > 50


def test_curves_are_told_apart_without_colours():
    text = shown(chart([0, 0, 0], [1, 1, 1]))
    assert text.splitlines()[0].split() == ["lr", "*", "run", "0", "o", "run", "1"]
    assert text.count("*") > 50
    assert text.count("o") > 50
    assert "\x1b" not in text


def test_a_terminal_with_colours_gets_them_and_braille():
    text = shown(chart([0, 1], [1, 0]), colours="truecolor")
    assert "\x1b[" in text
    assert any("\u2800" < sign < "\u28ff" for sign in text)


def test_a_terminal_without_unicode_gets_ascii():
    shown(chart([0, 1, 0]), encoding="ascii").encode("ascii")


def test_axes_have_round_numbers_and_epochs():
    text = shown(chart(np.linspace(0, 0.02, 12_000), epoch_len=1000))
    labels = [line.split("┤")[0].strip() for line in text.splitlines() if "┤" in line]
    assert next(label for label in labels if label) == "2e-2"
    iterations, epochs = text.splitlines()[-2:]
    assert iterations.split()[:3] == ["iteration", "0", "2,000"]
    assert epochs.split()[:2] == ["epoch", "0"]


def test_a_logarithmic_axis_has_powers():
    text = shown(chart([1e-1] * 5 + [1e-2] * 5 + [1e-4] * 5, log=True))
    assert [word for word in text.split() if word in ("0.1", "1e-2", "1e-3", "1e-4")] == ["0.1", "1e-2", "1e-3", "1e-4"]


@pytest.mark.parametrize("values", [[0.1], [0.0, 0.0], [np.nan, 1.0, np.nan], [-1.0, 1.0], [1e-300, 1e300]])
@pytest.mark.parametrize("log", [False, True])
def test_odd_curves_can_be_drawn(values, log, tmp_path):
    assert shown(chart(values, log=log))
    write_figure(tmp_path / "odd.png", [[chart(values, log=log)]], title="odd")


def test_nothing_finite_is_said():
    assert "no finite value" in shown(chart([np.nan, np.inf]))


def test_a_figure_has_the_same_bytes_every_time(tmp_path):
    for suffix in ("png", "svg", "pdf"):
        for name in ("one", "two"):
            write_figure(tmp_path / f"{name}.{suffix}", [[chart([1, 2], [2, 1])]], title="$x$ & <y>", notes=["a" * 300])
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()

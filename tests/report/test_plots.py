"""Plots: the same bytes every time, well-formed, nothing lost that matters; and what is said about them."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mmhooks import ConfigError
from mmhooks.report import extra
from mmhooks.report.plots import Panel, caption, curves_svg
from mmhooks.report.sampling import sample
from mmhooks.report.text import clean, number, shortened

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def steps():
    return [0.1] * 30 + [0.01] * 30


def test_sampling_keeps_extremes_jumps_and_gaps():
    values = np.linspace(1, 2, 1_000_000)
    values[123_456], values[654_321], values[777_777:777_790] = 9.0, -9.0, np.nan
    values[500_000:] += 0.5
    kept = sample(values, columns=500)
    assert len(kept) <= 4 * 500 + 800
    assert np.all(np.diff(kept) > 0)
    assert {0, 123_456, 654_321, 499_999, 500_000, 777_776, 777_777, 777_789, 777_790, 999_999} <= set(kept.tolist())


def test_sampling_keeps_all_of_a_short_curve():
    assert sample(np.arange(40.0), columns=10).tolist() == list(range(40))


def test_the_same_curves_give_the_same_bytes_in_another_process(steps):
    svg = curves_svg([Panel("lr", steps, steps, 10)], title="Learning rate")
    program = (
        "import sys; from mmhooks.report.plots import *; steps = [0.1] * 30 + [0.01] * 30;"
        "sys.stdout.write(curves_svg([Panel('lr', steps, steps, 10)], title='Learning rate'))"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == svg


def test_text_is_text_and_named_for_who_cannot_see_it(steps):
    svg = curves_svg([Panel("lr", steps, steps, 10), Panel("momentum", steps)], title="<b>$x$ & y</b>")
    root = ET.fromstring(svg)
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert {"lr", "momentum", "iteration", "epoch", "before", "after"} <= set(texts)
    assert root.get("role") == "img"
    assert root.get("aria-label") == root.findtext(f"{SVG}title") == "<b>$x$ & y</b>"
    assert "bit for bit" in (root.findtext(f"{SVG}desc") or "")


def test_references_of_two_plots_on_a_page_do_not_meet(steps):
    ids = []
    for name in ("one", "two"):
        root = ET.fromstring(curves_svg([Panel(name, steps)], title=name))
        ids += [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_millions_of_points_make_a_small_picture():
    ramp = np.concatenate([np.linspace(0, 1, 1_000_000), np.linspace(1, 0, 1_000_000)])
    assert len(curves_svg([Panel("lr", ramp, ramp)], title="lr")) < 150_000


@pytest.mark.parametrize("values", [[0.1], [0.0, 0.0], [float("nan")] * 3, [-1.0, float("inf"), 1.0], [0.5, -0.5]])
def test_odd_curves_can_be_drawn(values):
    assert ET.fromstring(curves_svg([Panel("lr", values, values, 1)], title="lr")).tag == f"{SVG}svg"


def test_no_curve_is_refused():
    with pytest.raises(ConfigError, match="no curve to draw"):
        curves_svg([Panel("lr", [])], title="lr")


def test_a_missing_matplotlib_is_named_with_its_extra(monkeypatch, steps):
    monkeypatch.setattr(extra, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'matplotlib, which is not installed: pip install "mmhooks\[report\]"'):
        curves_svg([Panel("lr", steps)], title="lr")


def test_mmhooks_imports_no_matplotlib():
    program = "import sys, mmhooks, mmhooks.report.plots, mmhooks.report.timeline; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("panel", "words"),
    [
        (Panel("lr", []), "lr: no values."),
        (Panel("lr", [0.1]), "lr: 1 iteration, 0.1 throughout."),
        (Panel("lr", [0.1, 0.2], [0.1, 0.3]), "0.1, at iteration 1 (before 0.2, after 0.3); 1 of 2 iterations differ."),
        (Panel("lr", [0.1] * 3, [0.1]), "not equally long (before 3, after 1): 1 were compared."),
        (Panel("lr", [float("nan")], [0.1]), "Largest difference: inf, at iteration 0 (before nan, after 0.1)"),
        (Panel("lr", [1.0, 1.0 + 1e-15], [1.0, 1.0]), "(before 1.0000000000000011, after 1)"),
    ],
)
def test_captions(panel, words):
    assert words in caption(panel)


def test_text_is_made_fit_to_be_seen():
    assert clean("a\x00\ud800\u202e\nb") == "a\\x00\\ud800\\u202e\nb"
    assert [number(one) for one in (87960, 0.02, float("nan"), 1e-9)] == ["87,960", "0.02", "nan", "1e-09"]
    assert shortened("a  b\nc", 5) == "a b c"
    assert shortened("abcdef", 4) == "abc…"

"""Timelines: every call is there once, in order, in the loop where it happens."""

import re

from mmhooks.hook import POINTS
from mmhooks.report.timeline import Lane, Loop, lanes, timeline
from mmhooks.walk import Act


def outline(parts):
    return [(part.label, outline(part.parts)) if isinstance(part, Loop) else part.point or part.note for part in parts]


def calls(*points):
    return [Act(point, f"Hook{index}", "NORMAL", "once") for point in points for index in range(2)]


def test_an_epoch_based_run():
    train = ("each iteration", ["before_train_iter", "the model's train_step", "after_train_iter"])
    assert outline(lanes(calls("before_run"))) == [
        "before_run",
        ("each epoch", ["before_train_epoch", train, "after_train_epoch"]),
        "after_run",
    ]
    val = ("each validation batch", ["before_val_iter", "the model's val_step", "after_val_iter"])
    epoch = outline(lanes(calls(*POINTS)))[1]
    assert epoch[1][-1] == ("each validation", ["before_val_epoch", val, "after_val_epoch"])


def test_an_iteration_based_run_has_its_epoch_points_once_and_no_others():
    parts = outline(lanes(calls("before_epoch", "before_val_iter", "before_val_epoch"), by_epoch=False))
    assert parts[1] == "before_epoch"
    assert [part[0] for part in parts if isinstance(part, tuple)] == [
        "each iteration",
        "each validation batch",
        "never reached in this run",
    ]
    assert parts[-1][1] == ["before_val_epoch"]


def test_calls_keep_their_order():
    given = [Act("after_run", name, "LOW", "once") for name in ("Second", "First")]
    last = lanes(given)[-1]
    assert isinstance(last, Lane)
    assert list(last.calls) == given


def test_the_picture_has_each_call_once_and_escapes_it():
    html = timeline([*calls(*POINTS), Act("before_run", "<script>", "7", "a & b", "custom_hooks[0]")])
    assert html.count('<li class="call">') == 2 * len(POINTS) + 1
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert re.findall(r'<div class="point">(\w+)</div>', html) == list(POINTS)

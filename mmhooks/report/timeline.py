"""Timelines: who acts at the points of a run, as a picture of nested loops in HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mmhooks.report.page import render
from mmhooks.walk import Act
from mmhooks.walk.acts import UNKNOWN


@dataclass(frozen=True)
class Lane:
    """A point, with what is called there in calling order.

    Attributes:
        point: its name.
        calls: the calls.
        note: what happens there besides, where nobody is called.
    """

    point: str
    calls: Sequence[Act] = ()
    note: str = ""


@dataclass(frozen=True)
class Loop:
    """What is done again and again.

    Attributes:
        label: how often, ``"each epoch"``.
        parts: the lanes and loops in it.
        reached: whether the run comes there at all.
    """

    label: str
    parts: Sequence[Lane | Loop] = field(default_factory=list)
    reached: bool = True


def lanes(calls: Sequence[Act], *, by_epoch: bool = True) -> list[Lane | Loop]:
    """Put calls where they happen in a run, from ``before_run`` to ``after_run``.

    Validation as a part of the run is there when a hook acts in it. Calls at points that the run never reaches, and
    those of hooks whose class cannot be found, are put last.

    Args:
        calls: the calls, those of each point in calling order.
        by_epoch: whether the run counts epochs. An iteration-based one has ``before_epoch`` and ``after_epoch``
            once a run instead.
    """
    by_point: dict[str, list[Act]] = {}
    for call in calls:
        by_point.setdefault(call.point, []).append(call)
    unknown = by_point.pop(UNKNOWN, [])

    def lane(point: str) -> Lane:
        return Lane(point, by_point.pop(point, []))

    run = lane("before_run"), lane("after_run")
    step = Lane("", note="the model's train_step")
    train = Loop("each iteration", [lane("before_train_iter"), step, lane("after_train_iter")])
    val_points = ["before_val_iter", "after_val_iter"]
    val_points += ["before_val_epoch", "after_val_epoch"] if by_epoch else []
    validates = any(point in by_point for point in val_points)
    val_step = Lane("", note="the model's val_step")
    batches = Loop("each validation batch", [lane("before_val_iter"), val_step, lane("after_val_iter")])
    middle: list[Lane | Loop]
    if by_epoch:
        val = Loop("each validation", [lane("before_val_epoch"), batches, lane("after_val_epoch")])
        epoch: list[Lane | Loop] = [lane("before_train_epoch"), train, lane("after_train_epoch")]
        middle = [Loop("each epoch", [*epoch, val] if validates else epoch)]
    else:
        once = lane("before_epoch"), lane("after_epoch")
        middle = [once[0], train, *([batches] if validates else []), once[1]]
    others = [lane(point) for point in list(by_point)]
    last = [Loop("never reached in this run", others, reached=False)] if others else []
    if unknown:
        last.append(Loop("at points that are not known: no such class is found", [Lane("?", unknown)], reached=False))
    return [run[0], *middle, run[1], *last]


def timeline(calls: Sequence[Act], *, by_epoch: bool = True, label: str = "Hooks of a run") -> str:
    """Draw who acts where in a run.

    Args:
        calls: the calls, those of each point in calling order.
        by_epoch: whether the run counts epochs.
        label: what the picture is called for a reader who cannot see it.

    Raises:
        ConfigError: Jinja2 is not installed.

    Returns:
        HTML whose style comes with `mmhooks.report.page`; all text in it is escaped.

    Example:
        >>> html = timeline([Act("before_run", "EMAHook", "NORMAL", "once", "custom_hooks[0]")])
    """
    return render("timeline.html", parts=lanes(calls, by_epoch=by_epoch), label=label)

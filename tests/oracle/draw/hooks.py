"""Strategies for the other hooks: checkpoints, logs, evaluation, EMA, and the user's own."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from subjects import DEEDS

from draw.parts import (
    GENERIC,
    POINTS,
    TRAIN_POINTS,
    Strategy,
    booleans,
    chance,
    of_type,
    options,
    priorities,
    small,
    unit,
)


def checkpoint_hooks(by_epoch: bool) -> Strategy:
    """A CheckpointHook, which mostly counts what its runner counts."""
    return options(
        {"interval": st.sampled_from((1, 1, 1, 2, 2, 3, 5, -1)), "max_keep_ckpts": st.sampled_from((-1, -1, 1, 2, 3))},
        by_epoch=st.one_of(st.just(by_epoch), st.just(by_epoch), booleans),
        save_last=booleans,
        save_optimizer=booleans,
        out_dir=st.just("elsewhere"),
        filename_tmpl=st.sampled_from(("e{}.pth", "run_{}_end.pth")),
        create_symlink=booleans,
        sync_buffer=st.just(False),
    ).map(lambda hook: _without_template(hook) if by_epoch and not hook.get("by_epoch", True) else hook)


def _without_template(hook: dict[str, Any]) -> dict[str, Any]:
    """Counted by iterations, files get epochs as their numbers: with a template MMCV would delete the newest one."""
    return {key: value for key, value in hook.items() if key != "filename_tmpl"} if hook["max_keep_ckpts"] > 0 else hook


text_loggers = of_type(
    "TextLoggerHook",
    by_epoch=booleans,
    interval=small,
    ignore_last=booleans,
    reset_flag=booleans,
    interval_exp_name=small,
)
log_configs = st.fixed_dictionaries({"interval": small, "hooks": st.lists(text_loggers, min_size=1, max_size=2)})

values = st.one_of(st.floats(-1, 2), st.sampled_from((0, 0.0, 1, "nan", "inf")))
scores = st.lists(
    st.dictionaries(st.sampled_from(("acc", "loss", "mAP", "top1", "AR@100", "bbox_loss")), values, max_size=3),
    min_size=1,
    max_size=4,
)


eval_data = st.fixed_dictionaries({"size": st.integers(2, 10), "batch_size": st.integers(2, 6)})


def eval_hooks(by_epoch: bool) -> Strategy:
    """An EvalHook, at LOW as the code bases have it, or anywhere."""
    arguments = options(
        start=st.integers(0, 4),
        interval=st.integers(1, 3),
        by_epoch=st.one_of(st.just(by_epoch), st.just(by_epoch), booleans),
        save_best=st.sampled_from(("acc", "loss", "auto", "mAP", "top1", "AR@100", "bbox_loss")),
        rule=st.sampled_from(("greater", "less")),
        greater_keys=st.sampled_from((["bbox"], ["acc", "map"], "loss")),
        less_keys=st.just(["loss", "top"]),
        test_fn=st.just("test_in_train_mode"),
        out_dir=st.just("elsewhere"),
    ).map(lambda given: given if by_epoch or "by_epoch" in given else {**given, "by_epoch": False})
    hooks = options(
        {
            "arguments": arguments,
            "priority": st.one_of(st.just("LOW"), st.just("LOW"), priorities),
            "data": eval_data,
            "scores": st.one_of(st.none(), scores),
        }
    )
    return st.tuples(hooks, chance(12)).map(lambda pair: pair[0] if pair[1] else _measurable(pair[0]))


def _measurable(hook: dict[str, Any]) -> dict[str, Any]:
    """Let the evaluation give the score to be saved by."""
    wanted = hook["arguments"].get("save_best")
    if wanted in (None, "auto") or (wanted in ("acc", "loss") and hook["scores"] is None):
        return hook
    scripted = hook["scores"] or [{wanted: 0.5}, {wanted: 0.75}, {wanted: 0.25}]
    return {**hook, "scores": [{wanted: 0.5, **entry} if entry else entry for entry in scripted]}


ema_hooks = of_type(
    "EMAHook",
    {"priority": st.one_of(st.just("ABOVE_NORMAL"), priorities)},
    momentum=st.one_of(unit, st.floats(0.0001, 0.01)),
    interval=st.integers(1, 3),
    warm_up=st.integers(1, 100),
)

other_hooks = st.one_of(
    of_type(
        "Tracer",
        {"points": st.lists(st.sampled_from(POINTS + GENERIC), min_size=1, max_size=5, unique=True)},
        priority=priorities,
    ),
    of_type("Tracer", {"points": st.just(list(POINTS))}, priority=priorities),
    of_type("ClosureHook", {"fn_name": st.sampled_from(POINTS + GENERIC)}, priority=priorities),
    of_type("EmptyCacheHook", before_epoch=booleans, after_epoch=booleans, after_iter=booleans, priority=priorities),
    of_type("SyncBuffersHook", {"distributed": st.just(False)}, priority=priorities),
    of_type("DistSamplerSeedHook", priority=priorities),
    of_type("CheckInvalidLossHook", {"interval": st.integers(1, 4)}, priority=priorities),
    of_type("IterTimerHook", priority=priorities),
)

meddlers = of_type(
    "Meddler",
    {
        "point": st.sampled_from(TRAIN_POINTS),
        "deed": st.sampled_from(DEEDS),
        "priority": st.sampled_from(("HIGHEST", "HIGH", "NORMAL", 45)),
    },
)


def resumes(ways: tuple[str, ...]) -> Strategy:
    """From which of the files that the first run left, who resumes, and how much longer the run becomes."""
    return st.fixed_dictionaries(
        {
            "file": st.integers(0, 9),
            "by": st.sampled_from(ways),
            "more": st.integers(0, 3),
            "optimizer": chance(6).map(lambda never: not never),
        }
    )

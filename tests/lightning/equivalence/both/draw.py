"""Strategies that draw whole cases; the schedules are those of the campaign against MMCV."""

from __future__ import annotations

from typing import Any

from draw.parts import Strategy, booleans, chance, of_type, once_in, options, small, unit
from draw.parts import priorities as any_priority
from draw.schedules import lr_policies, momentum_policies
from hypothesis import strategies as st

from both.cases import BASE
from both.hooks import CLIP, GROWING
from both.own import DEEDS
from both.record import Case
from mmhooks.hook import POINTS

GENERIC = ("before_epoch", "after_epoch", "before_iter", "after_iter")
INTERRUPTING = ("fails", "raises StopIteration", "calls no point", "registers itself")
SINGLE = {"kind": "plain", "groups": None}

clips = st.one_of(st.none(), options({"max_norm": st.floats(0.05, 2.0)}, norm_type=st.sampled_from((1, 2, 3.0))))


def loaders(train: bool) -> Strategy:
    """A loader of one to seven batches; no batch has one sample alone, on which BatchNorm cannot train."""
    return st.builds(
        _loader,
        batches=st.integers(1, 7),
        batch_size=st.integers(3, 8),
        missing=st.integers(0, 5),
        sampler=st.sampled_from((None,) * 5 + ("batch", "random", "distributed")),
        shuffle=booleans if train else chance(4),
        drop_last=chance(4),
        own_generator=chance(3),
        workers=once_in(20, st.sampled_from((False, True))),
        plain=chance(12),
        seed=st.integers(1, 9),
    )


def _loader(batches: int, batch_size: int, missing: int, **given: Any) -> dict[str, Any]:
    size = batches * batch_size - min(missing, batch_size - 2)
    if given["plain"]:
        return {"kind": "batches", "size": size, "batch_size": batch_size, "seed": given["seed"]}
    made = {key: given[key] for key in ("sampler", "own_generator", "seed")} | {"batch_size": batch_size, "size": size}
    if given["sampler"] is None:
        made["shuffle"] = given["shuffle"]
    if given["sampler"] == "distributed":
        made["size"] *= 2  # it takes every other sample
    if given["drop_last"] and size >= batch_size:
        made["drop_last"] = True
    if given["workers"] is not None:
        made |= {"num_workers": 1, "persistent_workers": given["workers"]}
    return made


streams = st.fixed_dictionaries(
    {"kind": st.just("stream"), "size": st.sampled_from((None, 17, 24)), "batch_size": st.integers(2, 6)}
).filter(lambda drawn: drawn["size"] is None or drawn["size"] % drawn["batch_size"] != 1)

optimizers = st.one_of(
    of_type("SGD", {"lr": st.floats(0.01, 0.3), "momentum": unit}, nesterov=booleans, weight_decay=st.floats(0, 0.1)),
    of_type("SGD", {"lr": st.floats(0.01, 0.3), "momentum": unit}),
    of_type("Adam", {"lr": st.floats(0.001, 0.1)}, weight_decay=st.floats(0, 0.1)),
    of_type("AdamW", {"lr": st.floats(0.001, 0.1)}),
    of_type("RMSprop", {"lr": st.floats(0.001, 0.05), "momentum": unit}),
)

_plain = st.one_of(
    options(grad_clip=clips),
    of_type("OptimizerHook", grad_clip=clips, detect_anomalous_params=booleans),
    of_type("GradientCumulativeOptimizerHook", {"cumulative_iters": small}, grad_clip=clips, skip_exchange=booleans),
    of_type("GradientCumulativeOptimizerHook", {"cumulative_iters": small}, grad_clip=clips),
)
_scales = st.one_of(
    st.just({"dtype": "bf16"}),
    st.fixed_dictionaries({"loss_scale": st.sampled_from((64.0, "dynamic", GROWING))}),
)
_mixed = st.tuples(
    st.one_of(
        of_type("Fp16OptimizerHook", grad_clip=clips),
        of_type("GradientCumulativeFp16OptimizerHook", {"cumulative_iters": small}, grad_clip=clips),
    ),
    _scales,
).map(lambda pair: pair[0] | pair[1])
steppers = {"net": _plain, "frozen": _plain, "mixed": st.one_of(_mixed, _mixed, _plain), "stepping": st.none()}


def _counted(by_epoch: bool) -> Strategy:
    return st.one_of(st.just(by_epoch), st.just(by_epoch), st.just(by_epoch), booleans)


def checkpoints(by_epoch: bool) -> Strategy:
    return options(
        {"interval": st.sampled_from((1, 2, 2, 3, 4, -1)), "max_keep_ckpts": st.sampled_from((-1, 1, 2))},
        by_epoch=_counted(by_epoch),
        save_last=booleans,
        save_optimizer=booleans,
        filename_tmpl=st.sampled_from(("e{}.pth", "run_{:03d}_end.pth")),
        create_symlink=booleans,
        meta=st.just({"note": [1, {"two": 2.5}]}),
    )


_loggers = of_type(
    "TextLoggerHook", by_epoch=booleans, interval=small, ignore_last=booleans, reset_flag=booleans,
    interval_exp_name=small,
)  # fmt: skip
logs = st.fixed_dictionaries({"interval": small, "hooks": st.lists(_loggers, min_size=1, max_size=2)})


def evaluations(by_epoch: bool) -> Strategy:
    return of_type(
        "EvalHook",
        {
            "data": st.fixed_dictionaries({"size": st.integers(3, 12), "batch_size": st.integers(2, 6)}),
            "priority": st.one_of(st.just("LOW"), st.just("LOW"), any_priority),
            "by_epoch": _counted(by_epoch),
        },
        start=st.integers(0, 4),
        interval=st.integers(1, 4),
        save_best=st.sampled_from(("acc", "loss", "auto")),
        rule=st.sampled_from(("greater", "less")),
        restore_mode=booleans,
        zero_counts=booleans,
    )


averages = of_type(
    "EMAHook",
    {"priority": st.one_of(st.just("ABOVE_NORMAL"), any_priority), "momentum": unit},
    interval=st.integers(1, 3),
    interval_mode=st.sampled_from(("power", "compound")),
    warm_up=st.integers(1, 20),
    warm_up_mode=st.sampled_from(("rising", "falling")),
    swap_interval=small,
    fused=booleans,
)

deeds = of_type(
    "Deed",
    {
        "deed": st.sampled_from(sorted(set(DEEDS) - set(INTERRUPTING))),
        "point": st.sampled_from((*POINTS, *POINTS[1:9], "before_epoch")),
        "at": st.one_of(st.none(), st.integers(0, 5)),
        "priority": any_priority,
    },
)
errors = of_type(
    "Deed",
    {
        "deed": st.sampled_from(INTERRUPTING),
        "point": st.sampled_from(POINTS),
        "at": st.integers(0, 5),
        "priority": any_priority,
    },
)

others = st.one_of(
    of_type("ClosureHook", {"fn_name": st.sampled_from((*POINTS, *GENERIC)), "priority": any_priority}),
    of_type("EmptyCacheHook", before_epoch=booleans, after_epoch=booleans, after_iter=booleans, priority=any_priority),
    of_type("SyncBuffersHook", distributed=booleans, priority=any_priority),
    of_type("DistSamplerSeedHook", priority=any_priority),
    of_type("CheckInvalidLossHook", {"interval": small}, priority=any_priority),
    of_type("IterTimerHook", priority=any_priority),
    of_type("OwnLogger", {"interval": small}, reset_flag=booleans, by_epoch=booleans, priority=any_priority),
    of_type("Duck", priority=any_priority),
    of_type("Everything", priority=any_priority),
    of_type("Helpers", priority=any_priority),
)


def hooks(by_epoch: bool) -> Strategy:
    """None to seven hooks in any order."""
    more = st.lists(others, max_size=3)
    seldom = of_type("ProfilerHook", {"activities": st.just(["cpu"]), "by_epoch": st.just(False)}, profile_iters=small)
    parts = (
        st.one_of(st.none(), averages),
        st.one_of(st.none(), evaluations(by_epoch)),
        st.one_of(st.none(), deeds),
        once_in(3, deeds),
        once_in(15, errors),
        once_in(25, seldom),
        once_in(6, checkpoints(by_epoch).map(lambda config: {"type": "CheckpointHook", **config})),
    )
    found = st.tuples(more, *parts).map(lambda drawn: [*drawn[0], *(one for one in drawn[1:] if one is not None)])
    return found.flatmap(st.permutations)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A whole case."""
    by_epoch = draw(booleans)
    model = draw(st.sampled_from(("net", "net", "net", "mixed", "frozen", "stepping")))
    lr, momentum = (st.one_of(*policies(by_epoch, SINGLE)) for policies in (lr_policies, momentum_policies))
    made: Case = {
        **BASE,
        "by_epoch": by_epoch,
        "length": draw(st.integers(1, 4) if by_epoch else st.integers(1, 16)),
        "workflow": draw(workflows(by_epoch)),
        "model": model,
        "optimizer": draw(optimizers),
        "train": draw(loaders(train=True)),
        "val": draw(loaders(train=False)),
        "hooks": list(draw(hooks(by_epoch))),
        "meta": draw(st.sampled_from(({"exp_name": "x", "seed": 0}, {}, None))),
        "step_kwargs": {"scale": 1} if draw(chance(8)) else {},
        "given_as": draw(st.sampled_from(("optimizer", "config"))),
        "trainer": draw(st.sampled_from(({}, {"num_sanity_val_steps": 0}))),
    }
    made["training"] = {
        "lr_config": _with_tuples(draw(st.one_of(st.none(), lr, lr, lr))),
        "momentum_config": _with_tuples(draw(st.one_of(st.none(), st.none(), momentum))),
        "optimizer_config": draw(steppers[model]),
        "checkpoint_config": draw(st.one_of(st.none(), checkpoints(by_epoch))),
        "log_config": draw(st.one_of(st.none(), logs)),
    }
    if model == "stepping" and draw(booleans):
        made["optimizer"] = {name: draw(optimizers) for name in ("first", "last")}
    if not by_epoch and draw(chance(6)):
        made["train"] = draw(streams)
    if draw(chance(30)):
        made["training"]["optimizer_config"] = {"grad_clip": CLIP}  # whatever the model
    return made


def workflows(by_epoch: bool) -> Strategy:
    train = st.tuples(st.just("train"), st.integers(1, 4) if by_epoch else st.integers(1, 8))
    val = st.tuples(st.just("val"), st.just(1) if by_epoch else st.integers(1, 5))
    return st.one_of(st.tuples(train), st.tuples(train, val), st.tuples(train, val)).map(list)


def _with_tuples(config: Any) -> Any:
    """target_ratio must be a tuple, and is drawn as a list."""
    if config and isinstance(config.get("target_ratio"), list):
        return {**config, "target_ratio": tuple(config["target_ratio"])}
    return config

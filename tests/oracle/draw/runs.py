"""Strategies for a whole run.

A config is made of dicts, lists, strings and numbers alone, so a failing one can be printed and run again.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from draw.hooks import checkpoint_hooks, ema_hooks, eval_hooks, log_configs, meddlers, other_hooks, resumes
from draw.mistakes import spoiled
from draw.optimizers import optimizer_hooks, optimizers
from draw.parts import Strategy, booleans, chance, once_in, options, small, unit
from draw.schedules import lr_policies, momentum_policies

#: each model, and the optimizers that it can be trained with
MODELS = {
    "net": ("plain", "built"),
    "scaled": ("plain",),
    "stepping": ("plain", "several", "several"),
    "layers": ("built",),
    "bare": ("plain",),
}
#: the sections that a hook is made of
SECTIONS = ("lr_config", "momentum_config", "optimizer_config", "checkpoint_config", "eval")


def runners() -> Strategy:
    """The kind of runner and its length."""
    by_epoch = options({"type": st.just("EpochBasedRunner"), "max_epochs": st.integers(1, 4)})
    by_iteration = options({"type": st.just("IterBasedRunner"), "max_iters": st.integers(1, 14)})
    return st.one_of(by_epoch, by_epoch, by_iteration)


def workflows(by_epoch: bool) -> Strategy:
    """Flows, at least one of which trains."""
    counts = st.integers(1, 2) if by_epoch else small
    train = st.tuples(st.just("train"), counts).map(list)
    val = st.tuples(st.just("val"), st.integers(0, 2)).map(list)
    several = st.tuples(st.lists(st.one_of(train, val), max_size=2), train, st.lists(val, max_size=1))
    return st.one_of(
        st.just([["train", 1]]), train.map(lambda flow: [flow]), several.map(lambda t: [*t[0], t[1], *t[2]])
    )


def data() -> Strategy:
    """The train loader; BatchNorm cannot train on a batch of one, so there is none."""
    loaders = options(
        {
            "size": st.integers(4, 18),
            "batch_size": st.integers(2, 6),
            "shuffle": booleans,
            "drop_last": booleans,
            "sampler": st.sampled_from(("none", "none", "none", "sampler", "batch_sampler")),
            "poison": once_in(25, st.integers(0, 17)),
        }
    )
    return loaders.filter(
        lambda it: it["size"] >= it["batch_size"] and (it["drop_last"] or it["size"] % it["batch_size"] != 1)
    )


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """A whole run; one in ten has a mistake."""
    runner = draw(runners())
    by_epoch = runner["type"] == "EpochBasedRunner"
    model = draw(st.sampled_from((*MODELS, "net") if by_epoch else tuple(MODELS)[:-1]))
    optimizer = draw(optimizers[draw(st.sampled_from(MODELS[model]))])
    lr, momentum = (st.one_of(*policies(by_epoch, optimizer)) for policies in (lr_policies, momentum_policies))
    config = {
        "runner": runner,
        "length_in": draw(st.sampled_from(("constructor", "constructor", "constructor", "run"))),
        "meta": draw(st.sampled_from(({"exp_name": "x", "seed": 0}, None))),
        "model": model,
        "shared": model == "layers" and draw(chance(4)),
        "data": draw(data()),
        "val_size": draw(st.integers(2, 9)),
        "workflow": draw(workflows(by_epoch)),
        "optimizer": optimizer,
        "registered": draw(st.sampled_from(("together", "together", "one by one"))),
        "kwargs": {"scale": draw(unit)} if model == "scaled" else {},
        "again": None,
        "lr_config": None if draw(chance(25)) else draw(lr),
        "momentum_config": draw(st.one_of(st.none(), momentum)),
        "optimizer_config": None if model == "stepping" or draw(chance(25)) else draw(optimizer_hooks),
        "checkpoint_config": draw(st.one_of(checkpoint_hooks(by_epoch), checkpoint_hooks(by_epoch), st.none())),
        "log_config": draw(st.one_of(log_configs, log_configs, st.none())),
        "timer": draw(chance(8)) is False,
        "eval": draw(st.one_of(st.none(), eval_hooks(by_epoch))),
        "custom": draw(st.lists(other_hooks, max_size=3)),
        "resume": None,
    }
    for hooks in (ema_hooks, meddlers):
        if draw(chance(2)):
            config["custom"].insert(draw(st.integers(0, len(config["custom"]))), draw(hooks))
    if any(hook["type"] == "DistSamplerSeedHook" for hook in config["custom"]):
        config["data"].update(shuffle=True, sampler=draw(st.sampled_from(("sampler", "batch_sampler", "none"))))
    if draw(chance(8)):
        return config  # whatever does not go together
    _settle(config, by_epoch)
    if not any(_differs_when_run_again(config[key] or {}) for key in SECTIONS):
        config["again"] = draw(once_in(10, st.integers(1, 3)))
    if config["checkpoint_config"] is not None or config["eval"] is not None:
        with_ema = any(hook["type"] == "EMAHook" for hook in config["custom"])
        config["resume"] = draw(st.one_of(st.none(), resumes(("runner", "EMAHook") if with_ema else ("runner",))))
    return draw(spoiled(config)) if draw(chance(10)) else config


def _settle(config: dict[str, Any], by_epoch: bool) -> None:
    """Take out what MMCV would refuse, or break off at."""
    if config["momentum_config"] and _without_momentum(config["optimizer"]):
        config["momentum_config"] = None
    if not by_epoch:
        config["custom"] = [hook for hook in config["custom"] if hook["type"] != "DistSamplerSeedHook"]


def _without_momentum(optimizer: dict[str, Any]) -> bool:
    """Adagrad has neither momentum nor betas, and momentum updaters refuse it."""
    return any(isinstance(one, dict) and one.get("type") == "Adagrad" for one in optimizer.values())


def _differs_when_run_again(section: dict[str, Any]) -> bool:
    """Whether MMCV goes on with what the first run() made: phases, groups, a folder in out_dir. Ours makes it anew."""
    keeps = section.get("policy") in ("cyclic", "OneCycle") or section.get("type") == "GradientCumulativeOptimizerHook"
    return keeps or "out_dir" in section or "out_dir" in section.get("arguments", ())

"""Learning rates and momenta: every policy, what it is applied to, and what is refused.

`lib` is ``mmcv.runner`` or ``mmhooks``: both have the same names. Nothing is trained: a step gives no loss.
"""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Callable
from itertools import groupby
from typing import Any

import torch
from torch import nn

Config = dict[str, Any]
EPOCHS, BATCHES = 3, 4


class Still(nn.Module):
    """A model with nothing to train; the optimizers' parameters lie beside it, and nobody moves them."""

    def __init__(self) -> None:
        super().__init__()
        self.beside = [nn.Parameter(torch.zeros(1)) for _ in range(5)]

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> Config:
        return {}

    val_step = train_step


def _sgd(*items: nn.Parameter) -> torch.optim.Optimizer:
    values = ((0.1, 0.9), (0.025, 0.7))
    groups = [
        {"params": [item], "lr": lr, "momentum": momentum} for item, (lr, momentum) in zip(items, values, strict=False)
    ]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def _adam(*items: nn.Parameter) -> torch.optim.Optimizer:
    values = ((0.003, 0.85), (0.3, 0.6))
    groups = [
        {"params": [item], "lr": lr, "betas": (beta, 0.99)} for item, (lr, beta) in zip(items, values, strict=False)
    ]
    return torch.optim.AdamW(groups, lr=0.003)


class Batches(list[Any]):
    """A loader; MMCV's IterBasedRunner asks for the sampler."""

    sampler = None


#: What the policies are applied to: one or two param groups, one or two optimizers, momentum or betas.
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda items: _sgd(items[0]),
    "groups": lambda items: _sgd(items[0], items[1]),
    "adam": lambda items: _adam(items[0], items[1]),
    "optimizers": lambda items: {"a": _sgd(items[0]), "b": _adam(items[1])},
    "all": lambda items: {"a": _sgd(items[0], items[1]), "b": _adam(items[2], items[3])},
    "neither": lambda items: torch.optim.Adagrad([items[0]], lr=0.1),
    "none": lambda items: None,
}
MATRIX = ("sgd", "groups", "adam", "optimizers", "all")


class By(dict[str, Any]):
    """A value that is another one for each layout."""


_PEAKS = By(
    sgd=[0.5], groups=[0.5, 0.2], adam=[0.05, 2], optimizers={"a": [0.5], "b": [0.2]},
    all={"b": [0.5, 0.2], "a": [0.3, 1]},
)  # fmt: skip
_LOWS = By(
    sgd=[0.8], groups=[0.8, 0.5], adam=[0.8, 0.5], optimizers={"a": [0.8], "b": [0.7]},
    all={"a": [0.8, 0.7], "b": [0.6, 0.5]},
)  # fmt: skip

# by epoch, by iteration (None: only by the other one)
Pair = tuple[Config | None, Config | None]


def _both(**config: Any) -> Pair:
    return config, config


def _iterations(**config: Any) -> Pair:
    return None, config


_SHARED_CYCLES: dict[str, Pair] = {
    "cyclic": _iterations(policy="cyclic"),
    "cyclic twice": _iterations(policy="cyclic", target_ratio=(3, 0.5), cyclic_times=2, gamma=0.7),
    "cyclic with a rest": _iterations(policy="cyclic", target_ratio=0.3, cyclic_times=5, anneal_strategy="linear"),
    "cyclic, only down": _iterations(
        policy="cyclic", target_ratio=(4.0,), cyclic_times=3, step_ratio_up=0.0, gamma=0.6
    ),
    "cyclic, nearly only up": _iterations(policy="cyclic", target_ratio=(2, 3), step_ratio_up=0.99),
}

POLICIES: dict[str, dict[str, Pair]] = {
    "lr": {
        "fixed": _both(policy="fixed"),
        "step": _both(policy="step", step=[1, 3], gamma=0.3, min_lr=0.001),
        "steps out of order": _both(policy="Step", step=[2, 1]),
        "no steps": _both(policy="step", step=[]),
        "step every 2": _both(policy="step", step=2),
        "exp": _both(policy="exp", gamma=0.7),
        "poly": _both(policy="poly"),
        "poly 0.9": _both(policy="poly", power=0.9, min_lr=0.0001),
        "inv": _both(policy="inv", gamma=0.3),
        "inv 0.75": _both(policy="inv", gamma=1, power=0.75),
        "cosine": _both(policy="CosineAnnealing", min_lr=0.003),
        "cosine ratio": _both(policy="CosineAnnealing", min_lr_ratio=0.05),
        "flat cosine": _both(policy="FlatCosineAnnealing", min_lr_ratio=0.05),
        "flat cosine, early": _both(policy="FlatCosineAnnealing", start_percent=0.4, min_lr=0),
        "flat cosine, never": _both(policy="FlatCosineAnnealing", start_percent=1.0, min_lr=0),
        "flat cosine, at once": _both(policy="FlatCosineAnnealing", start_percent=0.0, min_lr=0.01),
        "restart": (
            {"policy": "CosineRestart", "periods": [1, 2], "restart_weights": [1, 0.5], "min_lr": 0.001},
            {"policy": "CosineRestart", "periods": [5, 0, 7], "restart_weights": [1, 3, 0.4], "min_lr_ratio": 0.01},
        ),
        "restart, once": (
            {"policy": "CosineRestart", "periods": [4], "min_lr": 0},
            {"policy": "CosineRestart", "periods": [20], "min_lr": 0},
        ),
        "linear": _both(policy="LinearAnnealing", min_lr=0.003),
        "linear ratio": _both(policy="LinearAnnealing", min_lr_ratio=0.05),
        **_SHARED_CYCLES,
        "one cycle": _iterations(policy="OneCycle", max_lr=0.4),
        "one cycle by group": _iterations(policy="OneCycle", max_lr=_PEAKS, pct_start=0.45, anneal_strategy="linear"),
        "one cycle in three": _iterations(policy="OneCycle", max_lr=1, three_phase=True, div_factor=10),
        "one cycle, longer": _iterations(
            policy="OneCycle", max_lr=_PEAKS, total_steps=17, final_div_factor=50, three_phase=True, pct_start=0.4
        ),
        "one cycle, only down": _iterations(policy="OneCycle", max_lr=0.4, pct_start=0.0),
        "one cycle, only up": _iterations(policy="OneCycle", max_lr=0.4, pct_start=1.0),
    },
    "momentum": {
        "step": _both(policy="step", step=[1, 3], gamma=0.8, min_momentum=0.6),
        "step every 2": _both(policy="step", step=2),
        "cosine": _both(policy="CosineAnnealing", min_momentum=0.5),
        "cosine ratio": _both(policy="CosineAnnealing", min_momentum_ratio=0.85 / 0.95),
        "linear": _both(policy="LinearAnnealing", min_momentum=0.99),
        "linear ratio": _both(policy="LinearAnnealing", min_momentum_ratio=0.85),
        **_SHARED_CYCLES,
        "cyclic, growing": _iterations(policy="cyclic", target_ratio=(0.9, 1.05), cyclic_times=2, gamma=1.1),
        "one cycle": _iterations(policy="OneCycle"),
        "one cycle by group": _iterations(
            policy="OneCycle", base_momentum=_LOWS, max_momentum=0.9, pct_start=0.45, anneal_strategy="linear"
        ),
        "one cycle in three": _iterations(policy="OneCycle", max_momentum=_LOWS, base_momentum=0.3, three_phase=True),
        "one cycle, only down": _iterations(policy="OneCycle", pct_start=1.0),
    },
}
WARMUPS: dict[str, Config] = {
    "no warmup": {},
    **{kind: {"warmup": kind, "warmup_iters": 5, "warmup_ratio": 0.2} for kind in ("constant", "linear", "exp")},
    "linear, its own ratio": {"warmup": "linear", "warmup_iters": 3},
    "exp, 2 epochs": {"warmup": "exp", "warmup_iters": 2, "warmup_by_epoch": True},
    "2 epochs of none": {"warmup_iters": 2, "warmup_by_epoch": True},
}


def cases(family: str, policy: str) -> dict[str, tuple[str, Config]]:
    """Give the kind of runner and the config of every case of a policy, by name."""
    found: dict[str, tuple[str, Config]] = {}
    for unit, own in zip(("by epoch", "by iteration"), POLICIES[family][policy], strict=True):
        for name, warmup in WARMUPS.items():
            by_epochs = "warmup_by_epoch" in warmup
            if own is None or (by_epochs and family == "momentum"):
                continue
            config = {**own, **warmup, "by_epoch": unit == "by epoch"}
            found[f"{unit}, {name}"] = ("EpochBasedRunner", config)
            if not by_epochs:
                found[f"iterations, {unit}, {name}"] = ("IterBasedRunner", config)
                if unit == "by iteration":  # what a runner makes of a config that does not say so
                    found[f"iterations, {name}"] = ("IterBasedRunner", {**own, **warmup})
    return found


def move(lib: Any, family: str, kind: str, config: Any, layout: str, events: Any = None) -> str:
    """Give the lr or momentum of every param group at every iteration as hex floats, from a config or from a hook.

    Groups are separated by ``/``; equal neighbours are written ``*n``.
    """
    seen: list[str] = []

    class Watch(lib.Hook):
        def before_train_iter(self, runner: Any) -> None:
            now = runner.current_lr() if family == "lr" else runner.current_momentum()
            values = [value for own in now.values() for value in own] if isinstance(now, dict) else now
            seen.append("/".join(float.hex(float(value)) for value in values))
            if events is not None:
                events(runner)

    model = Still()
    if isinstance(config, dict):
        config = {
            key: copy.deepcopy(value[layout] if isinstance(value, By) else value) for key, value in config.items()
        }
    length = {"max_epochs": EPOCHS} if kind == "EpochBasedRunner" else {"max_iters": EPOCHS * BATCHES}
    runner = getattr(lib, kind)(model, optimizer=LAYOUTS[layout](model.beside), logger=quiet(), **length)
    runner.register_training_hooks(**{"lr_config": None, f"{family}_config": config})
    runner.register_hook(Watch(), "VERY_LOW")
    runner.run([Batches([{}] * BATCHES)], [("train", 1)])
    return " ".join(f"{value}*{len(list(same))}" for value, same in groupby(seen))


def quiet() -> logging.Logger:
    logger = logging.getLogger("rates")
    logger.propagate = False
    logger.handlers = [logging.NullHandler()]
    return logger


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def matrix(lib: Any, family: str, policy: str) -> dict[str, str]:
    """Give, for each case of a policy, the digest of the numbers of every layout, and those of the last one in full.

    By iteration an IterBasedRunner gives what an EpochBasedRunner gives: two layouts, and digests, are enough there.
    """
    found = {}
    for name, (kind, config) in cases(family, policy).items():
        epochs = kind == "EpochBasedRunner"
        # by epoch in a run without epochs nothing moves; with several optimizers and a warmup it is refused
        still = not epochs and config.get("by_epoch", True)
        layouts = MATRIX if epochs else ("groups",) if still else ("groups", "all")
        texts = [move(lib, family, kind, config, layout) for layout in layouts]
        found[name] = " ".join([*map(digest, texts), *texts[-1:][: int(epochs)]])
    return found


# what changes in the middle of a run --------------------------------------------------------------------------


def _replace(runner: Any) -> None:
    """Put new param groups in place, as a resume does, with another base value; from then on they are moved."""
    if runner.iter == 5:
        for one in runner.optimizer.values() if isinstance(runner.optimizer, dict) else [runner.optimizer]:
            state = one.state_dict()
            for group in state["param_groups"]:
                group["lr"], group["initial_lr"], group["initial_momentum"] = 7.0, 8.0, 0.3
                group["base_momentum"], group["max_momentum"] = 0.11, 0.22
            one.load_state_dict(state)


def _add(runner: Any) -> None:
    """Add a param group, which is left alone until the next run."""
    if runner.iter == 6:
        one = runner.optimizer["b"] if isinstance(runner.optimizer, dict) else runner.optimizer
        one.add_param_group({"params": [runner.model.beside[4]], "lr": 0.77})


def _extend(runner: Any) -> None:
    """Make the run shorter."""
    if runner.iter == 4:
        runner._max_iters, runner._max_epochs = 10, 2


EVENTS = {"replaced groups": _replace, "an added group": _add, "a moved end": _extend}


def events(lib: Any, family: str, policy: str) -> dict[str, str]:
    """Give the digest of every layout for each thing that may happen in a run by iteration."""
    _, config = POLICIES[family][policy]
    assert config is not None
    warm = {**config, "by_epoch": False, **WARMUPS["linear"], "warmup_iters": 8}
    chosen = dict(EVENTS)
    if family == "momentum" and policy.startswith("one cycle"):
        del chosen["an added group"]  # refused: it has no bounds
    return {
        name: " ".join(digest(move(lib, family, "EpochBasedRunner", warm, layout, event)) for layout in MATRIX)
        for name, event in chosen.items()
    }


def own(lib: Any, family: str, make: Callable[[], Any]) -> str:
    """Give the digest of every layout for an updater of a user's own; see own_updaters.py."""
    return " ".join(digest(move(lib, family, "EpochBasedRunner", make(), layout)) for layout in MATRIX)


def refusal(lib: Any, case: tuple[str, str, str, Config]) -> str:
    """Give the class of the error, or the digest of the numbers, of a case of refusals.py."""
    family, kind, layout, config = case
    try:
        return digest(move(lib, family, kind, config, layout))
    except Exception as error:
        return type(error).__name__


def record(lib: Any) -> Config:
    """Do all that needs no other file."""
    return {
        **{family: {policy: matrix(lib, family, policy) for policy in own} for family, own in POLICIES.items()},
        "events": {family: {policy: events(lib, family, policy) for policy in own} for family, own in POLICIES.items()},
    }

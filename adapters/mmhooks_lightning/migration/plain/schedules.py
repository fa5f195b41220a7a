"""Schedules of a config as plain data: the policy, and all its arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mmhooks.errors import ConfigError, HookError
from mmhooks.hooks.updater import LrUpdaterHook, UpdaterHook, annealing_cos
from mmhooks.plan import RunPlan
from mmhooks.registry import HOOKS, build_from_cfg

_Arguments = Callable[[Any], dict[str, Any]]


def _target(floor: str) -> _Arguments:
    return lambda hook: {"floor": getattr(hook, floor), "floor_ratio": getattr(hook, f"{floor}_ratio")}


def _cyclic(hook: Any) -> dict[str, Any]:
    peak, lowest = hook.target_ratio
    cycle = {"peak": peak, "lowest": lowest, "times": hook.cyclic_times, "up": hook.step_ratio_up}
    return {**cycle, "shape": _shape(hook), "gamma": hook.gamma}


def _one_cycle(hook: Any) -> dict[str, Any]:
    return {"start_percent": hook.pct_start, "shape": _shape(hook)}


def _shape(hook: Any) -> str:
    return "cos" if hook.anneal_func is annealing_cos else "linear"


#: The name of the function, and its arguments read from the hook, by the policy of lr_config and of momentum_config.
_LR: dict[str, tuple[str, _Arguments]] = {
    "Fixed": ("fixed", lambda hook: {}),
    "Step": ("step", lambda hook: {"step": hook.step, "gamma": hook.gamma, "floor": hook.min_lr}),
    "Exp": ("exp", lambda hook: {"gamma": hook.gamma}),
    "Poly": ("poly", lambda hook: {"power": hook.power, "floor": hook.min_lr}),
    "Inv": ("inv", lambda hook: {"gamma": hook.gamma, "power": hook.power}),
    "CosineAnnealing": ("cosine", _target("min_lr")),
    "LinearAnnealing": ("linear", _target("min_lr")),
    "FlatCosineAnnealing": (
        "flat_cosine",
        lambda hook: {"start_percent": hook.start_percent, **_target("min_lr")(hook)},
    ),
    "CosineRestart": (
        "cosine_restart",
        lambda hook: {
            "periods": [*hook.periods],
            "weights": [*hook.restart_weights],
            **_target("min_lr")(hook),
        },
    ),
    "Cyclic": ("cyclic", _cyclic),
    "OneCycle": ("one_cycle", _one_cycle),
}
_MOMENTUM: dict[str, tuple[str, _Arguments]] = {
    "Step": ("step", lambda hook: {"step": hook.step, "gamma": hook.gamma, "floor": hook.min_momentum}),
    "CosineAnnealing": ("cosine", _target("min_momentum")),
    "LinearAnnealing": ("linear", _target("min_momentum")),
    "Cyclic": ("cyclic", _cyclic),
    "OneCycle": ("one_cycle", _one_cycle),
}


@dataclass(frozen=True)
class Scheduled:
    """What became of ``lr_config`` or ``momentum_config``.

    Attributes:
        schedule: the data of the generated schedule; None: the value stays, or the code base's own hook moves it.
        carried: the config of a policy that the code base defines.
        idle: why nothing moves, although there is a config.
    """

    schedule: dict[str, Any] | None = None
    carried: dict[str, Any] | None = None
    idle: str = ""


def lr_schedule(plan: RunPlan) -> Scheduled:
    """Give the schedule of the learning rate.

    Raises:
        ConfigError: an argument that cannot be used.
    """
    return _scheduled(plan, "lr_config", "LrUpdaterHook", _LR)


def momentum_schedule(plan: RunPlan) -> Scheduled:
    """Give the schedule of the momentum.

    Raises:
        ConfigError: an argument that cannot be used.
    """
    return _scheduled(plan, "momentum_config", "MomentumUpdaterHook", _MOMENTUM)


def _scheduled(plan: RunPlan, key: str, suffix: str, known: Mapping[str, tuple[str, _Arguments]]) -> Scheduled:
    config = plan.training_hooks.get(key)
    if not isinstance(config, Mapping):
        return Scheduled()
    arguments = dict(config)
    policy = arguments.pop("policy", None)
    if not isinstance(policy, str):
        raise ConfigError(f"{plan.source.name}: {key} needs a policy, such as 'step', not {policy!r}")
    stem = policy.title() if policy == policy.lower() else policy
    if stem not in known:
        return Scheduled(carried=dict(config))
    if not plan.by_epoch and key == "lr_config":
        arguments.setdefault("by_epoch", False)
    with plan.source.building(key):
        hook = build_from_cfg({"type": f"{stem}{suffix}", **arguments}, HOOKS)
        assert isinstance(hook, UpdaterHook)
        idle = _idle(hook, plan)
    if idle:
        return Scheduled(idle=idle)
    name, read = known[stem]
    schedule: dict[str, Any] = {"policy": name, "by_epoch": hook.by_epoch, "arguments": read(hook)}
    if name == "one_cycle":
        schedule["total_steps"] = getattr(hook, "total_steps", None)
        schedule["values"] = _values_of_groups(hook, plan)
    schedule["warmup"] = _warmup(hook)
    return Scheduled(schedule)


def _idle(hook: UpdaterHook, plan: RunPlan) -> str:
    if plan.by_epoch:
        return ""
    if getattr(hook, "warmup_epochs", None) is not None:
        raise ConfigError(
            f"{type(hook).__name__}(warmup_by_epoch=True) needs epochs, and this run has none: "
            "give warmup_iters in iterations"
        )
    return "by_epoch=True moves nothing in an iteration-based run" if hook.by_epoch else ""


def _warmup(hook: Any) -> dict[str, Any] | None:
    if hook.warmup is None:
        return None
    epochs = getattr(hook, "warmup_epochs", None)
    length = hook.warmup_iters if epochs is None else epochs
    return {"kind": hook.warmup, "length": length, "ratio": hook.warmup_ratio, "by_epoch": epochs is not None}


def _values_of_groups(hook: Any, plan: RunPlan) -> list[list[float]]:
    """Give the values that a cycle goes through: once for all param groups, or for each of them."""
    if isinstance(hook, LrUpdaterHook):
        peaks = _of_groups(hook._max_lr, plan)  # type: ignore[attr-defined]
        found = []
        for max_lr in peaks:
            base = max_lr / hook.div_factor  # type: ignore[attr-defined]
            peak, last = base * hook.div_factor, base * (1 / hook.final_div_factor)  # type: ignore[attr-defined]
            found.append([base, peak, base, last] if hook.three_phase else [base, peak, last])  # type: ignore[attr-defined]
        return found
    low, high = _of_groups(hook._base_momentum, plan), _of_groups(hook._max_momentum, plan)
    count = max(len(low), len(high))
    low, high = (one * count if len(one) == 1 else one for one in (low, high))
    return [[b, a, b, b] if hook.three_phase else [b, a, b] for a, b in zip(low, high, strict=True)]


def _of_groups(value: Any, plan: RunPlan) -> list[float]:
    if isinstance(value, dict):
        kind = (plan.optimizer or {}).get("type")
        if kind not in value:
            raise HookError(f"the optimizer {kind!r} has no list of numbers in {value!r}")
        value = value[kind]
    return list(value) if isinstance(value, (list, tuple)) else [value]

"""The config's own hooks: which become settings or callbacks of the project, and which are carried along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmhooks.plan import RunPlan
from mmhooks.registry import HOOKS, build_from_cfg
from mmhooks_lightning.migration.plain.text import flat_text
from mmhooks_lightning.migration.rows import Row, Verdict

_NEEDLESS = {
    "IterTimerHook": "the progress bar shows the time of an iteration",
    "DistSamplerSeedHook": "a Trainer calls set_epoch of the sampler",
}


@dataclass
class OwnHooks:
    """What became of the hooks that a config adds.

    Attributes:
        settings: values for the generated config.
        carried: configs of hooks that the code base defines, each with its priority.
        rows: one a hook.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    carried: list[dict[str, Any]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)


def own_hooks(plan: RunPlan) -> OwnHooks:
    """Sort the hooks that a config adds."""
    found = OwnHooks()
    for key, config in _configs(plan):
        row = _sorted(plan, key, config, found)
        found.rows.append(row)
    return found


def _configs(plan: RunPlan) -> list[tuple[str, Any]]:
    keys = plan.recipe.custom_hooks_keys
    name = next((key for key in keys if plan.source.values.get(key) is not None), "custom_hooks")
    before = plan.training_hooks.get("custom_hooks_config") or []
    hooks = [(f"{name}[{index}]", config) for index, config in enumerate(before)]
    for hook in plan.hooks:
        if hook.key and hook.key != "evaluation":
            config = {**hook.config, "priority": hook.priority} if isinstance(hook.config, Mapping) else hook.config
            hooks.append((hook.key, config))
    return hooks


def _sorted(plan: RunPlan, key: str, config: Any, found: OwnHooks) -> Row:
    if not isinstance(config, Mapping):
        why = "a hook that is an object and no config cannot be written into a file"
        return Row(key, type(config).__name__, "", Verdict.NOT_MAPPED, why)
    shown = flat_text(dict(config))
    kind = config.get("type")
    arguments = {name: value for name, value in config.items() if name != "priority"}
    if kind == "EMAHook":
        return _ema(plan, key, dict(config), arguments, found)
    if kind == "CheckInvalidLossHook":
        interval = build_from_cfg(arguments, HOOKS).interval
        found.settings["invalid_loss_interval"] = interval
        return Row(key, shown, f"StopOnInvalidLoss({interval}) in callbacks.py", Verdict.EXACT)
    if kind == "SyncBuffersHook":
        found.settings["sync_buffers"] = True
        why = "integer buffers stay; the sum is divided before it is taken"
        return Row(key, shown, "SyncBuffers() in callbacks.py", Verdict.EQUIVALENT, why)
    if kind == "ProfilerHook":
        found.settings["profiler"] = "pytorch"
        why = "Lightning's PyTorchProfiler has a schedule and handlers of its own"
        return Row(key, shown, 'Trainer(profiler="pytorch")', Verdict.DIFFERS, why)
    if kind in _NEEDLESS:
        return Row(key, shown, "nothing", Verdict.EQUIVALENT, _NEEDLESS[str(kind)])
    found.carried.append(dict(config))
    owner = plan.recipe.package or "your own code"
    why = f"a hook of {owner}: it stays as it is, and mmhooks calls it"
    return Row(key, shown, "HookCallback in carried.py", Verdict.CARRIED, why)


def _ema(plan: RunPlan, key: str, config: dict[str, Any], arguments: dict[str, Any], found: OwnHooks) -> Row:
    shown = flat_text(config)
    hook = build_from_cfg(arguments, HOOKS)
    for name, usual in (("interval_mode", "power"), ("warm_up_mode", "rising"), ("swap_interval", None)):
        if arguments.get(name, usual) != usual:
            why = f"{name} is an argument of mmhooks's own EMAHook: it stays, and mmhooks calls it"
            found.carried.append(config)
            return Row(key, shown, "HookCallback in carried.py", Verdict.CARRIED, why)
    ema = {"momentum": hook.momentum, "interval": hook.interval, "warm_up": hook.warm_up}
    found.settings["ema"] = ema
    why = (
        "the averages are the same numbers; files hold them as state_dict and the raw weights as current_model_state, "
        "and at the end of the run they stay in the model"
    )
    if not plan.by_epoch:
        why += "; MMCV evaluates and saves raw weights in an iteration-based run, this project the averages"
    if hook.interval > 1:
        why += "; an evaluation between two updates sees the buffers of the last one"
    return Row(key, shown, f"EMA(**{flat_text(ema)}) in callbacks.py, a WeightAveraging", Verdict.DIFFERS, why)

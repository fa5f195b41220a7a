"""Which class a config of a hook names, and whether it is there, without building anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmhooks.registry import HOOKS

_DEFAULTS = {
    "optimizer_config": "OptimizerHook",
    "checkpoint_config": "CheckpointHook",
    "profiler_config": "ProfilerHook",
}
_SUFFIXES = {"lr_config": "LrUpdaterHook", "momentum_config": "MomentumUpdaterHook"}


def hook_type(key: str, config: Any) -> str:
    """Name the class of a hook.

    Args:
        key: the key of the config that asks for it, such as ``"lr_config"``, whose ``policy`` names a class.
        config: its config, or the hook itself.

    Example:
        >>> hook_type("lr_config", dict(policy="step", step=[8, 11]))
        'StepLrUpdaterHook'
    """
    if not isinstance(config, Mapping):
        return type(config).__name__
    if key in _SUFFIXES and "policy" in config:
        return policy_class(str(config["policy"]), _SUFFIXES[key])
    kind = config.get("type", _DEFAULTS.get(key, ""))
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))


def policy_class(policy: str, suffix: str) -> str:
    """Spell the class that a policy names: ``"step"`` is Step..., ``"CosineAnnealing"`` stays as it is.

    Args:
        policy: the policy.
        suffix: ``"LrUpdaterHook"`` or ``"MomentumUpdaterHook"``.
    """
    return (policy.title() if policy == policy.lower() else policy) + suffix


def is_known(kind: str) -> bool:
    """Tell whether a class of this name is registered."""
    return HOOKS.get(kind) is not None

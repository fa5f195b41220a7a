"""Param groups that a config asks for by ``paramwise_cfg``, as far as they can be told without the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEFAULT = "DefaultOptimizerConstructor"
_MULTS = ("bias_lr_mult", "dcn_offset_lr_mult")


def multipliers(optimizer: Mapping[str, Any]) -> dict[str, float]:
    """List the factors of the lr in the config of an optimizer.

    Whether a model has such parameters is not known; factors that are equal share a group.

    Args:
        optimizer: the config of one optimizer.

    Returns:
        The factor of each group, by what it is for; ``{"": 1.0}`` where the config names none, or leaves the groups
        to a constructor of its own.

    Example:
        >>> multipliers(dict(type="SGD", lr=1, paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)})))
        {'others': 1.0, 'backbone': 0.1}
    """
    config = optimizer.get("paramwise_cfg")
    if not isinstance(config, Mapping) or optimizer.get("constructor", _DEFAULT) != _DEFAULT:
        return {"": 1.0}
    custom = config.get("custom_keys")
    keys = custom if isinstance(custom, Mapping) else {}
    asked = {str(key): own.get("lr_mult", 1.0) for key, own in keys.items() if isinstance(own, Mapping)}
    asked |= {name.removesuffix("_lr_mult"): config[name] for name in _MULTS if config.get(name) is not None}
    named: dict[float, list[str]] = {}
    for name, factor in asked.items():
        if isinstance(factor, int | float) and factor != 1:
            named.setdefault(float(factor), []).append(name)
    if not named:
        return {"": 1.0}
    return {"others": 1.0} | {", ".join(names): factor for factor, names in named.items()}


def makes_groups(optimizer: Mapping[str, Any]) -> bool:
    """Tell whether the groups of an optimizer are made by a constructor that needs the model."""
    return bool(optimizer.get("paramwise_cfg")) and optimizer.get("constructor", _DEFAULT) != _DEFAULT

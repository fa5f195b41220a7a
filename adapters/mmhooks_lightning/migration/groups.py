"""The param groups that both sides of a migration make of a real model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from torch import nn
from torch.optim import Optimizer

from mmhooks.optim import build_optimizer

_TOLD = 5


@dataclass(frozen=True)
class Groups:
    """The comparison of param groups.

    Attributes:
        count: how many groups there are before.
        parameters: how many parameters are in them.
        differences: the first differences, as text.
    """

    count: int
    parameters: int
    differences: tuple[str, ...] = ()


def compare_groups(model: nn.Module, before: Mapping[str, Any], after: Any) -> Groups:
    """Compare the param groups of two optimizers: parameters, lr, weight decay, momentum and all other values.

    Args:
        model: the real model.
        before: the config of the optimizer before the migration.
        after: that of the migrated run; or its optimizers themselves, over this model.

    Raises:
        ConfigError: an optimizer that cannot be built; `RegistryError` where its class is not there.
    """
    old = _groups(model, before)
    new = _groups(model, after)
    differences = [
        text
        for index, (one, other) in enumerate(zip_longest(old, new))
        for text in _differences(index, one or {}, other or {})
    ]
    if len(old) != len(new):
        differences.insert(0, f"{len(old)} param groups; migrated: {len(new)}")
    return Groups(len(old), sum(len(group["params"]) for group in old), tuple(differences[:_TOLD]))


def _groups(model: nn.Module, source: Any) -> list[dict[str, Any]]:
    """List the param groups, with the names of their parameters, and that of their optimizer."""
    if isinstance(source, Mapping) and not all(isinstance(one, Optimizer) for one in source.values()):
        source = build_optimizer(model, source)
    optimizers = source if isinstance(source, Mapping) else {"": source}
    names = {id(parameter): name for name, parameter in model.named_parameters(remove_duplicate=False)}
    return [
        {**group, "params": [names.get(id(one), "?") for one in group["params"]], "optimizer": _kind(name, optimizer)}
        for name, optimizer in optimizers.items()
        for group in optimizer.param_groups
    ]


def _kind(name: str, optimizer: Optimizer) -> str:
    return f"{name} {type(optimizer).__name__}".strip()


def _differences(index: int, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    if not old or not new:
        return []
    first = old["params"][0] if old["params"] else "empty"
    return [
        f"group {index + 1} ({first}): {key} {old.get(key)!r}; migrated: {new.get(key)!r}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key)
    ]

"""The state of optimizers in a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import chain
from typing import Any

import torch
from torch.optim import Optimizer

from mmhooks.errors import CheckpointError

#: Entries of an optimizer's state that have the shape of their parameter, where they are tensors.
_SHAPED = ("momentum_buffer", "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum")


def optimizer_state(optimizer: Optimizer | Mapping[str, Optimizer]) -> dict[str, Any]:
    """Give the state of an optimizer, or of several by name."""
    if isinstance(optimizer, Mapping):
        return {name: one.state_dict() for name, one in optimizer.items()}
    return optimizer.state_dict()


def check_optimizer_state(optimizer: Any, state: Any, path: str | os.PathLike[str]) -> None:
    """See that the state in a file belongs to an optimizer, before anything is changed.

    Args:
        optimizer: an optimizer, or several by name.
        state: what the file holds for it; names that nobody here has are passed over.
        path: the file, for the message.

    Raises:
        CheckpointError: it is the state of other optimizers, or of other parameters.
    """
    remedy = "; resume with the optimizers that the run had, or with resume_optimizer=False"
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path}: the optimizer's state is a {type(state).__name__}, not a dict{remedy}")
    several = "param_groups" not in state
    if isinstance(optimizer, Mapping):
        if not several:
            raise CheckpointError(
                f"{path} holds the state of one optimizer, and the runner has {', '.join(map(repr, optimizer))}{remedy}"
            )
        absent = [name for name in optimizer if name not in state]
        if absent:
            raise CheckpointError(
                f"{path} holds the state of {', '.join(map(repr, state)) or 'no optimizer'}, and none of "
                f"{', '.join(map(repr, absent))}{remedy}"
            )
        for name, one in optimizer.items():
            _check(one, state[name], f"{path}: optimizer {name!r}", remedy)
    elif several:
        raise CheckpointError(
            f"{path} holds the state of {', '.join(map(repr, state)) or 'no optimizer'} by name, and the runner has "
            f"one optimizer without a name{remedy}"
        )
    else:
        _check(optimizer, state, f"{path}: the optimizer", remedy)


def _check(optimizer: Any, state: Any, who: str, remedy: str) -> None:
    try:
        groups = [list(group["params"]) for group in state["param_groups"]]
        values = state["state"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{who} has a state of another kind ({error!r} is missing){remedy}") from None
    if not isinstance(values, Mapping) or not all(isinstance(value, Mapping) for value in values.values()):
        raise CheckpointError(f"{who} has a state of another kind ('state' is no dict of dicts){remedy}")
    own = [list(group["params"]) for group in optimizer.param_groups]
    if [len(group) for group in groups] != [len(group) for group in own]:
        raise CheckpointError(
            f"{who} had {_sizes(groups)} parameters in its groups, and has {_sizes(own)} here{remedy}"
        )
    for index, parameter in zip(chain(*groups), chain(*own), strict=True):
        for key in _SHAPED:
            value = values.get(index, {}).get(key)
            if isinstance(value, torch.Tensor) and value.shape != parameter.shape:
                raise CheckpointError(
                    f"{who}: {key} of parameter {index} is {tuple(value.shape)} in the file, and the parameter "
                    f"{tuple(parameter.shape)} here{remedy}"
                )


def _sizes(groups: list[list[Any]]) -> str:
    return " + ".join(str(len(group)) for group in groups) or "no"

"""What a checkpoint holds, under the keys of MMCV's files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from mmhooks.distributed import unwrap


def model_state(module: nn.Module) -> OrderedDict[str, Any]:
    """Collect a model's parameters and buffers on the CPU, as MMCV's files hold them."""
    return weights_to_cpu(get_state_dict(module))


def get_state_dict(
    module: nn.Module,
    destination: OrderedDict[str, Any] | None = None,
    prefix: str = "",
    keep_vars: bool = False,
) -> OrderedDict[str, Any]:
    """Collect a model's parameters and buffers.

    Unlike ``module.state_dict()`` it names buffers that are not persistent too, and looks through parallel
    wrappers at any depth.

    Args:
        module: the model.
        destination: where to put them; a new dict by default.
        prefix: what each name begins with.
        keep_vars: give the parameters themselves, not detached ones.

    Returns:
        Tensors by name, with the modules' versions as ``_metadata``.
    """
    module = unwrap(module)
    if destination is None:
        destination = OrderedDict()
        destination._metadata = OrderedDict()  # type: ignore[attr-defined]
    metadata = {"version": module._version}
    destination._metadata[prefix[:-1]] = metadata  # type: ignore[attr-defined]
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is not None:
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
    for name, child in module._modules.items():
        if child is not None:
            get_state_dict(child, destination, f"{prefix}{name}.", keep_vars)
    for hook in module._state_dict_hooks.values():
        changed = hook(module, destination, prefix, metadata)
        destination = destination if changed is None else changed
    return destination


def weights_to_cpu(state_dict: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """Copy the tensors of a state dict to the CPU; those that are there stay what they are.

    Args:
        state_dict: tensors by name. It is not changed.
    """
    state = OrderedDict((key, value.cpu()) for key, value in state_dict.items())
    state._metadata = getattr(state_dict, "_metadata", OrderedDict())  # type: ignore[attr-defined]
    return state


def plain(value: Any) -> Any:
    """Turn a value into plain Python, so that a checkpoint can be read without unpickling classes.

    Dicts, lists and tuples are walked, NumPy scalars and arrays become numbers and lists, tensors stay;
    anything else is kept as its ``repr``.
    """
    if value is None or isinstance(value, torch.Tensor):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (bool, int, float, complex, str, bytes)):
        return value if type(value) in _PLAIN else _builtin(value)
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return {plain(item) for item in value}
    return repr(value)


_PLAIN = (bool, int, float, complex, str, bytes)


def _builtin(value: Any) -> Any:
    return next(kind for kind in _PLAIN if isinstance(value, kind))(value)

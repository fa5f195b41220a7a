"""What a checkpoint holds, under the keys of MMCV's files."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import nn

from mmhooks.distributed import unwrap


def model_state(module: nn.Module) -> OrderedDict[str, Any]:
    """Collect a model's parameters and buffers on the CPU, as MMCV's files hold them.

    Unlike ``module.state_dict()`` it names buffers that are not persistent too, and looks through parallel
    wrappers at any depth.

    Returns:
        Tensors by name, with the modules' versions as ``_metadata``.
    """
    state: OrderedDict[str, Any] = OrderedDict()
    state._metadata = OrderedDict()  # type: ignore[attr-defined]
    _collect(module, state, "")
    for key, value in state.items():
        state[key] = value.cpu()
    return state


def _collect(module: nn.Module, state: OrderedDict[str, Any], prefix: str) -> None:
    module = unwrap(module)
    metadata = {"version": module._version}
    state._metadata[prefix[:-1]] = metadata  # type: ignore[attr-defined]
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is not None:
            state[prefix + name] = tensor.detach()
    for name, child in module._modules.items():
        if child is not None:
            _collect(child, state, f"{prefix}{name}.")
    for hook in module._state_dict_hooks.values():
        hook(module, state, prefix, metadata)


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

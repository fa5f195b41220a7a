"""What a checkpoint holds, under the keys of MMCV's files."""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import nn

from mmhooks.checks import check_module
from mmhooks.distributed import unwrap
from mmhooks.errors import CheckpointError


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

    Raises:
        ModelError: ``module`` is no model.
    """
    check_module("get_state_dict", "module", module)
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


def weights_of(content: Any, path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """Find the weights in what a file holds: its ``state_dict``, or all of it where it has none.

    Args:
        content: what the file holds.
        path: the file, for the message.

    Raises:
        CheckpointError: there are no weights by name.
    """
    if not isinstance(content, dict):
        raise CheckpointError(f"{os.fspath(path)} holds a {type(content).__name__}, not the dict of a checkpoint")
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping):
        raise _wrong(path, "'state_dict'", state, "a dict of weights by name")
    for key in state:
        if not isinstance(key, str):
            raise _wrong(path, "the name of a weight", key, "a str")
    return state


def check_content(content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """See that a file, as far as a resume reads it, holds what MMCV and we write there; parts may be missing.

    What belongs to the optimizers is left to `check_optimizer_state`, who knows them.

    Args:
        content: what the file holds, beside weights (see `weights_of`).
        path: the file, for the message.

    Raises:
        CheckpointError: a part is of another kind.
    """
    meta = content.get("meta")
    meta = {} if meta is None else _dict(path, "'meta'", meta)
    for key in ("epoch", "iter"):
        if key in meta:
            _count(path, f"meta[{key!r}]", meta[key])
    messages = _dict(path, "meta['hook_msgs']", meta.get("hook_msgs", {}))
    for key in ("last_ckpt", "best_ckpt"):
        if not isinstance(messages.get(key), str | None):
            raise _wrong(path, f"meta['hook_msgs'][{key!r}]", messages[key], "the path of a file")
    exact = _dict(path, "'mmhooks'", content.get("mmhooks", {}))
    if "position" in exact:
        _check_position(path, exact["position"])
    for name, states in _dict(path, "mmhooks['hooks']", exact.get("hooks", {})).items():
        if not isinstance(states, list):
            raise _wrong(path, f"mmhooks['hooks'][{name!r}]", states, "a list of states")


def _check_position(path: str | os.PathLike[str], position: Any) -> None:
    where = "mmhooks['position']"
    _dict(path, where, position)
    for key in ("epochs", "iters", "in_epoch", "world_size"):
        _count(path, f"{where}[{key!r}]", position.get(key))
    pairs = position.get("loaders")
    if not isinstance(pairs, (list, tuple)):
        raise _wrong(path, f"{where}['loaders']", pairs, "a list of pairs")
    for key, pair in [("flow", position.get("flow")), *(("loaders", pair) for pair in pairs)]:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise _wrong(path, f"{where}[{key!r}]", pair, "two numbers")
        for number in pair:
            _count(path, f"{where}[{key!r}]", number)


def _dict(path: str | os.PathLike[str], key: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(path, key, value, "a dict")
    return value


def _count(path: str | os.PathLike[str], key: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < 0 or value % 1:
        raise _wrong(path, key, value, "0 or a positive whole number")


def _wrong(path: str | os.PathLike[str], key: str, value: Any, wanted: str) -> CheckpointError:
    return CheckpointError(f"{os.fspath(path)} is malformed: {key} must be {wanted}, not {value!r:.100}")


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

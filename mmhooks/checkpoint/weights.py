"""From a file into a model."""

from __future__ import annotations

import logging
import os
import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mmhooks.checkpoint.content import check_content, get_state_dict, weights_of
from mmhooks.checkpoint.loader import CheckpointLoader
from mmhooks.checks import check_flag, check_logger, check_module
from mmhooks.distributed import unwrap
from mmhooks.errors import CheckpointError, ConfigError
from mmhooks.log import get_logger

ReviseKeys = Sequence[tuple[str, str]]

#: The ``module.`` that a parallel wrapper puts before every name.
WITHOUT_MODULE: ReviseKeys = ((r"^module\.", ""),)


def read_checkpoint(
    path: str | os.PathLike[str],
    map_location: Any = "cpu",
    *,
    logger: logging.Logger | None = None,
    weights_only: bool = True,
) -> dict[str, Any]:
    """Read a checkpoint of ours, of MMCV or of Lightning, as a resume needs it.

    Args:
        path: a local file, one in a store of fsspec, or a name that `CheckpointLoader` has a loader for.
        map_location: see ``torch.load``.
        logger: hears what is read.
        weights_only: False unpickles whatever the file holds, which runs code that the file names.

    Returns:
        The content of the file. A bare state dict is given back as ``{"state_dict": ...}``.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointError: the file is broken, holds objects that would have to be unpickled, or has a part (its
            ``state_dict``, its ``meta``, ...) that is of another kind than it should be.
        ConfigError: an argument that cannot be used.
    """
    content = _read(path, map_location, logger, weights_only)
    check_content(content, path)
    return content


def _read(
    path: str | os.PathLike[str], map_location: Any, logger: logging.Logger | None, weights_only: bool
) -> dict[str, Any]:
    content = CheckpointLoader.load_checkpoint(path, map_location, logger, weights_only)
    state = weights_of(content, path)
    return {"state_dict": content} if state is content else content


def load_checkpoint(
    model: nn.Module,
    filename: str | os.PathLike[str],
    map_location: Any = None,
    strict: bool = False,
    logger: logging.Logger | None = None,
    revise_keys: ReviseKeys = WITHOUT_MODULE,
    weights_only: bool = True,
) -> dict[str, Any]:
    """Load the weights of a checkpoint into a model. What else the file holds is not looked at.

    Args:
        model: the model, in a parallel wrapper or not.
        filename: see `read_checkpoint`.
        map_location: see ``torch.load``.
        strict: refuse weights that do not fit exactly.
        logger: hears of what did not fit; the logger ``mmhooks`` by default.
        revise_keys: (pattern, replacement) pairs for the names in the file, see `revised`.
        weights_only: see `read_checkpoint`.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointError: the file cannot be read, or does not fit and ``strict`` is set.
        ConfigError: revise_keys that are none, or another argument that cannot be used.
        ModelError: ``model`` is no model.

    Returns:
        The content of the file.

    Example:
        >>> load_checkpoint(backbone, "detector.pth", revise_keys=[(r"^backbone\\.", "")])
    """
    check_module("load_checkpoint", "model", model)
    check_flag("load_checkpoint", "strict", strict)
    revise_keys = _pairs(revise_keys)
    content = _read(filename, map_location, logger, weights_only)
    load_state_dict(model, revised(content["state_dict"], model, revise_keys), strict, logger)
    return content


def revised(
    state_dict: Mapping[str, Any], model: nn.Module, revise_keys: ReviseKeys = WITHOUT_MODULE
) -> OrderedDict[str, Any]:
    """Rename the tensors of a state dict.

    Args:
        state_dict: tensors by name.
        model: the model that the names are for.
        revise_keys: pairs of a regular expression and what to put in its place, one after the other. By default a
            leading ``module.`` is taken off, unless the model has a part of that name.

    Raises:
        ConfigError: an item that is no such pair.
    """
    revise_keys = _pairs(revise_keys)
    own = get_state_dict(model) if revise_keys is WITHOUT_MODULE else {}
    state = OrderedDict(state_dict)
    for pair in revise_keys:
        pattern, replacement = pair
        try:
            state = OrderedDict(
                (key if key in own else re.sub(pattern, replacement, key), value) for key, value in state.items()
            )
        except (TypeError, ValueError, re.error) as error:
            raise _no_pair(pair, str(error)) from error
    state._metadata = getattr(state_dict, "_metadata", OrderedDict())  # type: ignore[attr-defined]
    return state


def _pairs(revise_keys: Any) -> ReviseKeys:
    """Refuse, before a file is read, what are no pairs; WITHOUT_MODULE stays the object that it is."""
    if isinstance(revise_keys, str) or not isinstance(revise_keys, Iterable):
        raise ConfigError(
            "revise_keys must be a list of (pattern, replacement), such as [(r'^backbone\\.', '')], "
            f"not {revise_keys!r}"
        )
    pairs = tuple(revise_keys)
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise _no_pair(pair, "two are needed, in a tuple")
    return pairs


def _no_pair(pair: Any, why: str) -> ConfigError:
    return ConfigError(
        f"revise_keys: {pair!r} is no (pattern, replacement) of a regular expression ({why}); "
        "write, say, revise_keys=[(r'^backbone\\.', '')]"
    )


def load_state_dict(
    module: nn.Module,
    state_dict: Mapping[str, Any],
    strict: bool = False,
    logger: logging.Logger | None = None,
    tell_unexpected: bool = True,
) -> dict[str, Any]:
    """Load weights into a model, telling what did not fit.

    Args:
        module: the model; parallel wrappers are looked through at any depth.
        state_dict: tensors by name.
        strict: refuse a state that does not fit exactly. Otherwise what fits is loaded.
        logger: hears of what was left out; the logger ``mmhooks`` by default.
        tell_unexpected: it hears of tensors that the model has no place for, too; False where the caller may yet find
            a place for them. A strict load refuses them in any case.

    Returns:
        The tensors that the model has no place for, by name.

    Raises:
        CheckpointError: something does not fit and ``strict`` is set. The model is as before then.
        ConfigError: another argument that cannot be used.
        ModelError: ``module`` is no model.
    """
    check_module("load_state_dict", "module", module)
    check_flag("load_state_dict", "strict", strict)
    check_logger("load_state_dict", "logger", logger)
    if not isinstance(state_dict, Mapping) or not all(isinstance(key, str) for key in state_dict):
        raise ConfigError(f"load_state_dict's state_dict must be a dict of tensors by name, not {state_dict!r:.100}")
    state = OrderedDict(state_dict)  # a module may rename keys of older versions in it
    fit = _Fit(state, getattr(state_dict, "_metadata", {}))
    state._metadata = fit.metadata  # type: ignore[attr-defined]
    before = {key: value.clone() for key, value in get_state_dict(module).items()} if strict else {}
    fit.load(module)

    own = get_state_dict(module)
    unexpected = [key for key in fit.unexpected if key not in own]  # MMCV's files name buffers that do not persist
    averages = set() if strict else {f"ema_{key.replace('.', '_')}" for key in own}  # beside the weights of an EMAHook
    unknown = [key for key in unexpected if key not in averages]
    missing = [key for key in fit.missing if "num_batches_tracked" not in key]  # as files before torch 0.4.1 do
    complaints = [
        *([f"not in the model: {', '.join(unknown)}"] if unknown and (strict or tell_unexpected) else []),
        *([f"not in the file: {', '.join(missing)}"] if missing else []),
        *fit.errors,
    ]
    if complaints and strict:
        with torch.no_grad():
            for key, value in own.items():
                value.copy_(before[key])
        raise CheckpointError("the weights do not fit the model; " + "; ".join(complaints))
    if complaints:
        (logger or get_logger()).warning("the weights do not fit the model exactly; %s", "; ".join(complaints))
    return {key: state[key] for key in unexpected if key in state}


class _Fit:
    """One state dict on its way into a model, module by module, and what did not fit."""

    def __init__(self, state: OrderedDict[str, Any], metadata: Mapping[str, Any]) -> None:
        self.state = state
        self.metadata = metadata
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.errors: list[str] = []

    def load(self, module: nn.Module, prefix: str = "") -> None:
        module = unwrap(module)
        # this method of a module, not load_state_dict, is where versions are dealt with
        module._load_from_state_dict(
            self.state, prefix, self.metadata.get(prefix[:-1], {}), True, self.missing, self.unexpected, self.errors
        )
        for name, child in module._modules.items():
            if child is not None:
                self.load(child, f"{prefix}{name}.")

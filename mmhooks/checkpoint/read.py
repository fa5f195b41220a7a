"""Reading without running anything that a file holds."""

from __future__ import annotations

import logging
import os
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mmhooks.distributed import unwrap
from mmhooks.errors import CheckpointError, nearest

_SCALAR: Any = np.float64(0).__reduce__()[0]

#: NumPy scalars are all that MMCV's own files hold besides plain Python and tensors (a best score, say).
_NUMPY: list[Any] = [
    np.dtype,
    (_SCALAR, "numpy.core.multiarray.scalar"),  # the name before NumPy 2, and the one since
    (_SCALAR, "numpy._core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
]


def read_checkpoint(path: str | os.PathLike[str], map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint of ours, of MMCV or of Lightning.

    Args:
        path: the file.
        map_location: see ``torch.load``.

    Returns:
        The content of the file. A bare state dict is given back as ``{"state_dict": ...}``.

    Raises:
        CheckpointError: the file is missing, broken, or holds objects that would have to be unpickled.
    """
    file = Path(path)
    if not file.is_file():
        files = [other.name for other in file.parent.glob("*.pth")] if file.parent.is_dir() else []
        there = f"; {file.parent} holds {', '.join(sorted(files))}" if files else ""
        raise CheckpointError(f"there is no checkpoint {file}{nearest(file.name, files) or there}")
    try:
        with torch.serialization.safe_globals(_NUMPY):
            content = torch.load(file, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} is broken, or holds objects that only unpickling could make, and unpickling runs code. "
            f"If you trust it, load it once with torch.load(..., weights_only=False) and save its tensors "
            f"and plain values again. What stood in the way: {_first_line(error)}"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        raise CheckpointError(f"{file} is no checkpoint, or a broken one: {_first_line(error)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} holds a {type(content).__name__}, not the dict of a checkpoint")
    return content if "state_dict" in content else {"state_dict": content}


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (telling or lines or [type(error).__name__])[0]


def load_state_dict(
    module: nn.Module, state: Mapping[str, Any], *, strict: bool, logger: logging.Logger
) -> dict[str, Any]:
    """Load weights into a model, telling what did not fit.

    Args:
        module: the model, in a parallel wrapper or not.
        state: tensors by name; a leading ``module.`` is taken off.
        strict: refuse a state that does not fit exactly. Otherwise what fits is loaded.
        logger: hears of what was left out.

    Returns:
        The tensors that the model has no place for, by name.

    Raises:
        CheckpointError: something does not fit and ``strict`` is set. The model is untouched then.
    """
    model = unwrap(module)
    given = OrderedDict((key.removeprefix("module."), value) for key, value in state.items())
    given._metadata = getattr(state, "_metadata", OrderedDict())  # type: ignore[attr-defined]
    own = model.state_dict(keep_vars=True)
    extra = dict(model.named_buffers())  # MMCV's files name buffers that are not persistent as well
    unclaimed = {key: value for key, value in given.items() if key not in own and key not in extra}
    missing = [key for key in own if key not in given]
    misshapen = [
        f"{key} is {tuple(value.shape)} in the file and {tuple(own[key].shape)} in the model"
        for key, value in given.items()
        if key in own and isinstance(value, torch.Tensor) and value.shape != own[key].shape
    ]
    complaints = [
        *([f"not in the model: {', '.join(unclaimed)}"] if unclaimed else []),
        *([f"not in the file: {', '.join(missing)}"] if missing else []),
        *misshapen,
    ]
    if complaints and strict:
        raise CheckpointError("the weights do not fit the model; " + "; ".join(complaints))
    if complaints:
        logger.warning("the weights do not fit the model exactly; %s", "; ".join(complaints))
    skipped = {line.split(" is ", 1)[0] for line in misshapen}
    fitting = OrderedDict((key, given[key]) for key in given if key in own and key not in skipped)
    fitting._metadata = given._metadata  # type: ignore[attr-defined]
    model.load_state_dict(fitting, strict=False)
    return unclaimed

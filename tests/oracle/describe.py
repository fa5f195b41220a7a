"""Write values, weights and checkpoints down as text that is equal only where every bit is."""

from __future__ import annotations

import hashlib
import json
import numbers
import re
from pathlib import Path
from typing import Any

import torch

#: what differs from one run to the next, or says which library it was
NOT_COMPARED = ("time", "data_time", "memory", "mmcv_version", "mmhooks_version")


def describe(value: Any, folder: Path | None = None) -> str:
    """Write a value down exactly: numbers in hex, tensors by the sum of their bytes, paths from the folder on."""
    if isinstance(value, torch.Tensor):
        return f"{value.dtype}{tuple(value.shape)}:{sha(value)}"
    if isinstance(value, (str, Path)):
        return short(value, folder)
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, numbers.Real):
        return float(value).hex()
    if isinstance(value, dict):
        kept = {
            key: item for key, item in value.items() if key not in NOT_COMPARED and (key, item) != ("hook_msgs", {})
        }
        return "{" + ", ".join(f"{key}: {describe(item, folder)}" for key, item in kept.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(describe(item, folder) for item in value) + "]"
    return repr(value)


def weights(model: torch.nn.Module) -> str:
    """The sum of the bytes of all parameters and buffers."""
    digest = hashlib.blake2b(digest_size=6)
    for tensor in (*model.parameters(), *model.buffers()):
        digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()


def contents(path: Path, folder: Path) -> list[str]:
    """What a checkpoint holds, a line a part."""
    name, held = short(path, folder), torch.load(path, map_location="cpu", weights_only=False)
    held.pop("mmhooks", None)
    lines = [f"{name} {' '.join(held)}", f"{name} meta {describe(_sorted(held['meta']), folder)}"]
    lines += [f"{name} {key} {describe(value)}" for key, value in held["state_dict"].items()]
    return [*lines, f"{name} optimizer {describe(held.get('optimizer'))}"]


def _sorted(values: dict[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in sorted(values)}


def state_of(optimizer: Any) -> Any:
    if isinstance(optimizer, dict):
        return {name: one.state_dict() for name, one in optimizer.items()}
    return optimizer.state_dict()


def log_line(text: str, folder: Path) -> str:
    return describe(json.loads(text), folder)


def sha(tensor: torch.Tensor) -> str:
    return hashlib.blake2b(tensor.detach().contiguous().numpy().tobytes(), digest_size=6).hexdigest()


def sha_of(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def short(path: str | Path, folder: Path | None) -> str:
    """A path from the run's folder on; one in the folder of the run before it is said to be there."""
    if folder is None:
        return str(path)
    before = re.escape(f"{folder.parent}/") + "(theirs|ours)/"
    return re.sub(before, "before:", str(path).replace(f"{folder}/", ""))

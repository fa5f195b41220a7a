"""What is in a checkpoint, told without running anything that it holds and without reading its numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from math import prod
from typing import IO, Any

import numpy as np
import torch

from mmhooks.checkpoint.archive import has_archive
from mmhooks.checkpoint.pickled import Made, Named, Stored, foreign_names, read_as_data
from mmhooks.checkpoint.read import opened
from mmhooks.checkpoint.safetensors_files import is_safetensors, read_header
from mmhooks.checkpoint.storage import StorageOptions

_DTYPES = {name: str(dtype) for dtype, name in torch.storage._dtype_to_storage_type_map().items()}
_REBUILT = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3")
_WRAPPED = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
#: Of safetensors: its short names of number types.
_SHORT = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool", "U8": "uint8"}
_SHORT |= {f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}
_WRITERS = {"mmcv_version": "mmcv", "mmengine_version": "mmengine", "mmhooks_version": "mmhooks"}
_CONFIGS = ("config", "cfg")


def describe(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> dict[str, Any]:
    """Tell what is in a checkpoint. Nothing that it names is imported or called.

    Args:
        path: a file of MMCV, MMEngine, Lightning, safetensors or ours, local or in a store that fsspec reaches.
        storage_options: arguments of the store.

    Returns:
        Plain values: ``kind``, ``format``, ``written_by``, ``epoch``, ``iter``, ``weights``, ``modules``,
        ``optimizers``, ``hooks``, ``position``, ``callbacks``, ``meta``, ``config`` and ``refused`` (what the
        safe reader would not make), as far as the file has them.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointError: it is broken, or no checkpoint.
    """
    with opened(path, storage_options) as file:
        size = os.fstat(file.fileno()).st_size
        if is_safetensors(file, path):
            found = _of_safetensors(file, path)
        else:
            found = _of_content(read_as_data(file, path))
            found["format"] = "zip archive with checksums" if has_archive(file) else "before torch 1.6, no checksums"
            found["refused"] = foreign_names(file)
    return {"file": os.fspath(path), "bytes": size} | {
        key: value for key, value in found.items() if value not in ({}, [])
    }


def kind_of(content: Any) -> str:
    """Tell by its keys who wrote a checkpoint.

    Args:
        content: what the file holds.
    """
    if not isinstance(content, Mapping):
        return "no checkpoint"
    meta = content.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    if "pytorch-lightning_version" in content:
        return "mmhooks under a Trainer" if "mmhooks" in content else "Lightning"
    if "mmhooks" in content or "mmhooks_version" in meta:
        return "mmhooks"
    if "message_hub" in content or "mmengine_version" in meta:
        return "MMEngine"
    if "state_dict" in content:
        return "MMCV" if "meta" in content else "weights"
    return "weights"


def _of_safetensors(file: IO[bytes], path: str | os.PathLike[str]) -> dict[str, Any]:
    header, metadata = read_header(file, path)
    tensors = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        tensors[name] = (_SHORT.get(entry["dtype"], entry["dtype"].lower()), tuple(entry["shape"]), end - start)
    sums = any("crc32" in key for key in metadata)
    return {
        "kind": "safetensors",
        "format": f"safetensors, {'with' if sums else 'no'} checksums",
        **_weights(tensors),
        "meta": {key: _brief(value) for key, value in metadata.items() if "crc32" not in key},
    }


def _of_content(content: Any) -> dict[str, Any]:
    kind = kind_of(content)
    if not isinstance(content, dict):
        return {"kind": kind, "content": _brief(content)}
    meta = content.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    state = content.get("state_dict", content if kind == "weights" else {})
    state = state if isinstance(state, dict) else {}
    exact = content.get("mmhooks")
    exact = exact if isinstance(exact, dict) else {}
    counts = {
        key: value for key in ("epoch", "iter", "global_step") if (value := _number(meta, content, key)) is not None
    }
    callbacks = content.get("callbacks")
    known = ("state_dict", "meta", "mmhooks", "optimizer", "optimizer_states", "callbacks", "epoch", "global_step")
    return {
        "kind": kind,
        "written_by": _writers(content, meta),
        **counts,
        **_weights({str(name): tensor for name, value in state.items() if (tensor := tensor_of(value))}),
        "optimizers": _optimizers(content),
        "hooks": {str(name): _brief(states) for name, states in _items(exact.get("hooks"))},
        "position": {str(name): _brief(value) for name, value in _items(exact.get("position"))},
        "callbacks": [str(name) for name, _ in _items(callbacks)],
        "meta": {str(key): _brief(value) for key, value in meta.items() if key not in _CONFIGS},
        "config": _config(meta),
        "other": {} if kind == "weights" else {str(k): _brief(v) for k, v in content.items() if k not in known},
    }


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _number(meta: Mapping[Any, Any], content: Mapping[Any, Any], key: str) -> Any:
    value = _scalar(meta.get(key, content.get(key)))
    return value if isinstance(value, (int, float)) else None


def _writers(content: Mapping[Any, Any], meta: Mapping[Any, Any]) -> str:
    found = [f"{name} {meta[key]}" for key, name in _WRITERS.items() if isinstance(meta.get(key), str)]
    version = content.get("pytorch-lightning_version")
    return ", ".join([*found, *([f"lightning {version}"] if isinstance(version, str) else [])]) or "not said"


# tensors ------------------------------------------------------------------------------------------------------


def tensor_of(value: Any) -> tuple[str, tuple[int, ...], int] | None:
    """Give the number type, shape and size in bytes of what a pickle would make, where that is a tensor."""
    while isinstance(value, Made) and value.name in _WRAPPED and value.args:
        value = value.args[0]
    if not isinstance(value, Made) or value.name not in _REBUILT:
        return None
    try:
        storage, _, shape, *_ = value.args
        _, kind, *_ = storage.identity if isinstance(storage, Stored) else (None, None)
        named = value.args[6] if value.name.endswith("_v3") else kind
        dtype = named.name.removeprefix("torch.") if isinstance(named, Named) else "unknown"
        dtype = _DTYPES.get(dtype, dtype).removeprefix("torch.")
        sizes = tuple(int(size) for size in shape)
        return dtype, sizes, prod(sizes) * _width(dtype)
    except (TypeError, ValueError, IndexError):
        return None


def _width(dtype: str) -> int:
    found = getattr(torch, dtype, None)
    return found.itemsize if isinstance(found, torch.dtype) else 0


def _weights(tensors: Mapping[str, tuple[str, tuple[int, ...], int]]) -> dict[str, Any]:
    modules: dict[str, dict[str, int]] = {}
    dtypes: dict[str, int] = {}
    for name, (dtype, shape, size) in tensors.items():
        row = modules.setdefault(name.partition(".")[0], {"tensors": 0, "numbers": 0, "bytes": 0})
        for key, value in (("tensors", 1), ("numbers", prod(shape)), ("bytes", size)):
            row[key] += value
        dtypes[dtype] = dtypes.get(dtype, 0) + 1
    total = {key: sum(row[key] for row in modules.values()) for key in ("tensors", "numbers", "bytes")}
    return {"weights": {**total, "types": dtypes}, "modules": modules}


def _optimizers(content: Mapping[Any, Any]) -> dict[str, Any]:
    one, several = content.get("optimizer"), content.get("optimizer_states")
    if isinstance(one, dict):
        named = {"optimizer": one} if "param_groups" in one else {str(key): value for key, value in one.items()}
    else:
        named = {
            f"optimizer {index}": state for index, state in enumerate(several if isinstance(several, list) else [])
        }
    return {name: _optimizer(state) for name, state in named.items() if isinstance(state, dict)}


def _optimizer(state: Mapping[Any, Any]) -> dict[str, Any]:
    groups = [group for group in state.get("param_groups") or [] if isinstance(group, dict)]
    tensors = list(_tensors(state.get("state")))
    rates = sorted({rate for group in groups if isinstance(rate := _scalar(group.get("lr")), (int, float))})
    return {
        "groups": len(groups),
        "parameters": sum(len(group["params"]) for group in groups if isinstance(group.get("params"), list)),
        "lr": rates[:10],
        "tensors": len(tensors),
        "bytes": sum(size for _, _, size in tensors),
    }


def _tensors(state: Any) -> Iterator[tuple[str, tuple[int, ...], int]]:
    for _, values in _items(state):
        for _, value in _items(values):
            tensor = tensor_of(value)
            if tensor is not None:
                yield tensor


# values -------------------------------------------------------------------------------------------------------


def _scalar(value: Any) -> Any:
    """Give a number of NumPy as the number; anything else stays what it is."""
    if not isinstance(value, Made) or not value.name.endswith("multiarray.scalar"):
        return value
    try:
        dtype, data = value.args
        data = data.args[0].encode("latin1") if isinstance(data, Made) else data
        return np.frombuffer(data, np.dtype(str(dtype.args[0])), 1)[0].item()
    except (TypeError, ValueError, IndexError, AttributeError):
        return value


def _brief(value: Any, depth: int = 3) -> Any:
    """Give a value so that it can be printed and be JSON: short, whatever the file nests."""
    value = _scalar(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (str, bytes)):
        text = value if isinstance(value, str) else repr(value)
        return text if len(text) <= 200 else text[:200] + "..."
    if isinstance(value, dict):
        if depth == 0:
            return f"{len(value)} values"
        pairs = islice(value.items(), 30)
        return {str(_brief(key, 0)): _brief(item, depth - 1) for key, item in pairs} | _rest(value)
    if isinstance(value, (list, tuple)):
        if depth == 0 or len(value) > 30:
            return f"{len(value)} values"
        return [_brief(item, depth - 1) for item in value]
    tensor = tensor_of(value)
    if tensor is not None:
        return f"tensor {tensor[0]} {list(tensor[1])}"
    return f"<{value.name}>" if isinstance(value, (Made, Named)) else "<storage>"


def _rest(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {"...": f"{len(value) - 30} more"} if len(value) > 30 else {}


def _config(meta: Mapping[Any, Any]) -> dict[str, Any]:
    """Tell what the text of a config says; it is read by the static reader, and never run."""
    from mmhooks.config.evaluate import evaluate
    from mmhooks.config.limits import Budget, Refusal
    from mmhooks.errors import ConfigError

    text = next((meta[key] for key in _CONFIGS if isinstance(meta.get(key), str)), None)
    if text is None:
        return {}
    try:
        values = evaluate(text, "meta['config']", Budget()).values
        return {str(key): _brief(value, 2) for key, value in values.items()}
    except (ConfigError, Refusal, RecursionError, OverflowError, TypeError) as error:
        return {"not read": _brief(str(error))}

"""From one kind of checkpoint to another."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping
from typing import Any, Literal

import torch

from mmhooks.checkpoint.content import check_content, plain, weights_of
from mmhooks.checkpoint.inspect import kind_of
from mmhooks.checkpoint.read import read_file
from mmhooks.checkpoint.safetensors_files import SUFFIX
from mmhooks.checkpoint.storage import is_remote, local_path
from mmhooks.checkpoint.write import write_checkpoint, write_weights
from mmhooks.errors import ConfigError

Kind = Literal["mmcv", "lightning", "safetensors"]
_SUFFIXES: dict[str, Kind] = {".pth": "mmcv", ".pt": "mmcv", ".ckpt": "lightning", SUFFIX: "safetensors"}


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str], to: Kind | None = None) -> list[str]:
    """Write the content of a checkpoint as a file of another kind.

    The names of the weights stay what they are; `load_checkpoint` renames them by its ``revise_keys``.

    Args:
        source: a file of MMCV, MMEngine, Lightning, safetensors or ours. It is read without running anything.
        target: the new file, written whole or not at all.
        to: its kind; by its suffix otherwise: ``.pth`` is MMCV's, ``.ckpt`` Lightning's.

    Returns:
        What could not be carried over, one line each.

    Raises:
        CheckpointError: the source cannot be read, or the target not written.
        ConfigError: a kind that is not known, or both are the same file.

    Example:
        >>> convert("epoch_12.pth", "weights.safetensors")
        ['optimizer: a file of safetensors holds weights alone', 'meta: a file of safetensors holds weights alone']
    """
    suffix = os.path.splitext(os.fspath(target))[1]  # noqa: PTH122  (it may be a place in a store)
    to = to or _SUFFIXES.get(suffix)
    if to not in _SUFFIXES.values():
        raise ConfigError(f"what should {os.fspath(target)} be? Say --to mmcv, lightning or safetensors")
    if not is_remote(source) and not is_remote(target) and local_path(source).resolve() == local_path(target).resolve():
        raise ConfigError(f"{os.fspath(source)} would be replaced by its own conversion: name another file")
    content = read_file(source, "cpu")
    state = weights_of(content, source)
    content = {"state_dict": content} if state is content else content
    check_content(content, source)
    if to == "safetensors":
        return _to_safetensors(content, target)
    converted, left = _to_mmcv(content) if to == "mmcv" else _to_lightning(content)
    write_checkpoint(converted, target)
    return left


def _to_safetensors(content: Mapping[str, Any], target: str | os.PathLike[str]) -> list[str]:
    state = content["state_dict"]
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    left = [f"{key}: a file of safetensors holds weights alone" for key in content if key != "state_dict"]
    left += [f"state_dict[{name!r}]: no tensor" for name in state if name not in tensors]
    write_weights(tensors, target)
    return left


def _to_mmcv(content: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    kept = {key: content[key] for key in ("meta", "state_dict", "optimizer", "mmhooks") if key in content}
    left = [f"{key}: MMCV's files have no place for it" for key in content if key not in (*kept, "optimizer_states")]
    meta = dict(content.get("meta") or {})
    if kind_of(content) == "Lightning":
        meta |= _progress(content)
        states = content.get("optimizer_states") or []
        if len(states) == 1:
            kept["optimizer"] = states[0]
        elif states:
            left.append(f"optimizer_states: {len(states)} of them, which MMCV's files name, and Lightning's do not")
        if "iter" not in meta:
            left.append("the position: the file does not say how many iterations were done, so it cannot be resumed")
        left = [line for line in left if line.partition(":")[0] not in ("epoch", "pytorch-lightning_version")]
    elif not meta:
        left.append("the position: the file does not say it, so it holds weights to start from")
    return {**kept, "meta": plain(meta)}, left


def _progress(content: Mapping[str, Any]) -> dict[str, int]:
    """Count finished epochs and iterations as MMCV does, by what a Trainer saves of its loops."""
    try:
        loop = content["loops"]["fit_loop"]
        batches = loop["epoch_loop.batch_progress"]
        epochs = loop["epoch_progress"]["current"]["ready"]
        if not batches["is_last_batch"]:
            epochs -= 1  # the epoch that it is in
        return {"epoch": int(epochs), "iter": int(batches["total"]["processed"])}
    except (KeyError, TypeError):
        return {}


def _to_lightning(content: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    if "pytorch-lightning_version" in content:
        return dict(content), []
    meta = content.get("meta") or {}
    optimizer = content.get("optimizer")
    several = isinstance(optimizer, Mapping) and "param_groups" not in optimizer
    states = [] if optimizer is None else list(optimizer.values()) if several else [optimizer]
    carried = {key: content[key] for key in ("state_dict", "meta", "mmhooks", "optimizer") if key in content}
    converted = {
        **carried,
        "pytorch-lightning_version": _lightning(),
        "epoch": int(meta.get("epoch", 0)),
        "global_step": int(meta.get("iter", 0)),
        "callbacks": {},
        "optimizer_states": states,
        "lr_schedulers": [],
    }
    left = [f"{key}: Lightning's files have no place for it" for key in content if key not in carried]
    left.append(
        "loops: a Trainer begins to count at 0; with a HookCallback it goes on where the file was saved"
        if "iter" in meta
        else "the position: the file does not say it, so it holds weights to start from"
    )
    return converted, left


def _lightning() -> str:
    for package in ("lightning", "pytorch-lightning"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "2.6.0"

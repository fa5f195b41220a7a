"""Writing so that a file is there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from mmhooks.checkpoint import durable
from mmhooks.checkpoint.content import model_state, plain
from mmhooks.checkpoint.durable import atomic_write, flush, put_in_place, temporary_beside
from mmhooks.checkpoint.optimizers import optimizer_state
from mmhooks.checkpoint.safetensors_files import SUFFIX, write_safetensors
from mmhooks.checkpoint.storage import (
    StorageOptions,
    check_storage_options,
    is_remote,
    local_path,
    located,
    storage_options_of,
    upload,
)
from mmhooks.checks import check_file, check_module
from mmhooks.distributed import unwrap
from mmhooks.errors import CheckpointError, ConfigError, MMHooksError


@contextlib.contextmanager
def place_for(
    path: str | os.PathLike[str], storage_options: StorageOptions = None
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Give a local name for somebody who writes files by name, and what makes the finished file the one at ``path``.

    Args:
        path: the final name, local or in a store that fsspec reaches.
        storage_options: arguments of the store.

    Yields:
        The temporary name, and a function to call when the file is finished. What is left there in the end is removed.
    """
    check_storage_options(storage_options)
    if is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            spooled = str(Path(folder) / "checkpoint")
            yield spooled, lambda: upload(spooled, os.fspath(path), storage_options)
        return
    target = local_path(path)
    with temporary_beside(target) as temporary:

        def finish() -> None:
            flush(temporary)
            put_in_place(temporary, target)

        yield str(temporary), finish


def write_checkpoint(
    content: Mapping[str, Any], path: str | os.PathLike[str], storage_options: StorageOptions = None
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        content: ``meta``, ``state_dict``, ``optimizer`` and what else the file is to hold.
        path: the final name, local or in a store that fsspec reaches.
        storage_options: arguments of the store.

    Raises:
        CheckpointError: it could not be written; a file of that name is as before.
        ConfigError: storage_options that are no dict, or a store that cannot be used.
    """
    check_storage_options(storage_options)
    if is_remote(path):
        with telling_failures(path), place_for(path, storage_options) as (temporary, finish):
            torch.save(dict(content), temporary)
            finish()
        return
    with telling_failures(path), atomic_write(local_path(path)) as file:
        torch.save(dict(content), file)


def write_weights(
    state_dict: Mapping[str, Any], path: str | os.PathLike[str], storage_options: StorageOptions = None
) -> None:
    """Write weights, and nothing else, as a file of safetensors, whole or not at all.

    Args:
        state_dict: tensors by name.
        path: the final name, local or in a store that fsspec reaches.
        storage_options: arguments of the store.

    Raises:
        CheckpointError: it could not be written (a file of that name is as before), or holds something else than
            dense tensors.
        ConfigError: storage_options that are no dict, a store that cannot be used, or the package ``safetensors`` is
            not installed.
    """
    with telling_failures(path), place_for(path, storage_options) as (temporary, finish):
        write_safetensors(state_dict, temporary)
        finish()


def save_checkpoint(
    model: nn.Module,
    filename: str,
    optimizer: Optimizer | Mapping[str, Optimizer] | None = None,
    meta: dict[str, Any] | None = None,
    file_client_args: Mapping[str, Any] | None = None,
) -> None:
    """Write a model's weights with MMCV's keys, outside a run.

    Args:
        model: the model, in a parallel wrapper or not.
        filename: the file, local or in a store. One that ends with ``.safetensors`` holds the weights alone, and
            takes the package of that name: ``pip install 'mmhooks[safetensors]'``.
        optimizer: one or several by name, whose state goes into the file too.
        meta: values for the file's ``meta``.
        file_client_args: see `storage_options_of`.

    Raises:
        CheckpointError: it could not be written.
        ConfigError: a filename that is no path, file_client_args that cannot be used, or an optimizer or meta for a
            file of safetensors.
        ModelError: ``model`` is no model.
        TypeError: a meta that is no dict, an optimizer that is none.
    """
    check_module("save_checkpoint", "model", model)
    if meta is not None and not isinstance(meta, dict):
        raise TypeError(f"meta must be a dict or None, not {type(meta).__name__}")
    for one in optimizer.values() if isinstance(optimizer, Mapping) else [optimizer]:
        if one is not None and not hasattr(one, "state_dict"):
            raise TypeError(f"optimizer must be an Optimizer, a dict of them or None, not {type(one).__name__}")
    options = storage_options_of(file_client_args)
    path = located(check_file("save_checkpoint", "filename", filename), file_client_args)
    if path.endswith(SUFFIX):
        if optimizer is not None or meta:
            raise ConfigError(
                f"{path}: a file of safetensors holds weights alone: leave optimizer and meta out, or name it .pth"
            )
        write_weights(model_state(model), path, options)
        return
    full = {**(meta or {}), "time": time.asctime()}
    classes = getattr(unwrap(model), "CLASSES", None)
    if classes is not None:
        full["CLASSES"] = classes
    content: dict[str, Any] = {"meta": plain(full), "state_dict": model_state(model)}
    if optimizer is not None:
        content["optimizer"] = optimizer_state(optimizer)
    write_checkpoint(content, path, options)


@contextlib.contextmanager
def telling_failures(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn the failure to write a checkpoint into an error that says what is left.

    Args:
        path: the final name of the checkpoint.

    Raises:
        CheckpointError: the block could not write.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        # on a full disk the closing of torch's archive fails as well, and its RuntimeError hides the OSError
        if isinstance(error, RuntimeError) and (
            "inline_container" not in str(error) or isinstance(error, MMHooksError)
        ):
            raise
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise CheckpointError(
            f"{os.fspath(path)} could not be written ({cause}); what was there before is untouched. {_advice(cause)}"
        ) from error


def _advice(cause: BaseException) -> str:
    code = cause.errno if isinstance(cause, OSError) else None
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "Give this user the right to write there, or choose another work_dir"
    if code in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
        return "Its folder has gone while it was written: see what removes it, or choose another work_dir"
    return "Free some space or choose another work_dir"


def point_latest_at(path: str | os.PathLike[str], folder: str | os.PathLike[str] | None = None) -> None:
    """Make ``latest.pth`` stand for a checkpoint: a link, or a copy where there are no links.

    Args:
        path: the checkpoint.
        folder: where ``latest.pth`` is, above the checkpoint; beside it by default.

    Raises:
        CheckpointError: it could not be made; one that was there is as before.
    """
    target = local_path(path)
    place = target.parent if folder is None else local_path(folder)
    with telling_failures(place / "latest.pth"):
        durable.point_latest_at(target, place)

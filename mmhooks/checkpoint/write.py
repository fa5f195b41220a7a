"""Writing so that a file is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import torch

from mmhooks.errors import CheckpointError


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a file for writing that appears under its name only when it is complete and on the disk.

    Args:
        path: the final name. Its folder is made when missing; a file of that name is replaced at the end.

    Yields:
        A binary file in the same folder. When the block raises, it is removed and ``path`` is as before.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(temporary).chmod(0o666 & ~_umask())  # mkstemp makes private files
        commit(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def commit(temporary: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Give a finished file its final name, in the same folder, once its content is on the disk.

    Args:
        temporary: the finished file.
        path: the final name; a file of that name is replaced.
    """
    with Path(temporary).open("rb") as file:
        os.fsync(file.fileno())
    Path(temporary).replace(path)
    _sync_folder(Path(path).parent)


def write_checkpoint(content: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        content: ``meta``, ``state_dict``, ``optimizer`` and what else the file is to hold.
        path: the final name.

    Raises:
        CheckpointError: it could not be written; a file of that name is as before.
    """
    with telling_failures(path), atomic_write(path) as file:
        torch.save(dict(content), file)


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
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):
            raise
        cause = error.__context__ if isinstance(error.__context__, OSError) else error
        raise CheckpointError(
            f"{os.fspath(path)} could not be written ({cause}); what was there before is untouched. "
            "Free some space or choose another work_dir"
        ) from error


def point_latest_at(path: str | os.PathLike[str]) -> None:
    """Make ``latest.pth`` beside a checkpoint stand for it: a link, or a copy where there are no links."""
    target = Path(path)
    latest = target.with_name("latest.pth")
    temporary = target.with_name(f".latest.pth.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(target.name)
    except (OSError, NotImplementedError):
        shutil.copyfile(target, temporary)
    temporary.replace(latest)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

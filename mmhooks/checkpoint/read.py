"""Reading without running anything that a file holds."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch

from mmhooks.checkpoint.allowed import ALLOWED
from mmhooks.checkpoint.archive import check_archive, has_archive
from mmhooks.checkpoint.pickled import foreign_names
from mmhooks.checkpoint.safetensors_files import is_safetensors, read_safetensors
from mmhooks.checkpoint.storage import StorageOptions, is_remote, local_path, open_to_read
from mmhooks.errors import CheckpointError, CheckpointNotFound, MMHooksError, nearest
from mmhooks.log import get_logger


def read_file(
    path: str | os.PathLike[str],
    map_location: Any = None,
    *,
    weights_only: bool = True,
    storage_options: StorageOptions = None,
    logger: logging.Logger | None = None,
) -> Any:
    """Read what ``torch.save`` wrote, checking that it is what was written.

    Args:
        path: the file, local or in a store that fsspec reaches.
        map_location: see ``torch.load``.
        weights_only: False unpickles whatever the file holds, which runs code that the file names.
        storage_options: arguments of the store.
        logger: hears of an unpickling.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointError: the file is broken, or holds objects that would have to be unpickled.
    """
    if not weights_only:
        (logger or get_logger()).warning(
            "%s is unpickled because of weights_only=False: whatever code it names is run now", path
        )
    try:
        with opened(path, storage_options) as file:
            return _read(file, path, map_location, weights_only, logger)
    except CheckpointError:
        raise
    except (RuntimeError, EOFError, OSError) as error:
        if "deserialize object on" in str(error):
            raise CheckpointError(
                f"{path} holds tensors of a device that is not here: read it with map_location='cpu'"
            ) from error
        raise CheckpointError(f"{path} is no checkpoint, or a broken one: {_first_line(error)}") from error
    except MMHooksError:
        raise
    except MemoryError as error:
        raise CheckpointError(f"{path} asks for more memory than there is") from error
    except Exception as error:  # whatever a broken pickle makes torch stumble over
        if not weights_only:
            raise  # of a class that the file names
        cause = f"{type(error).__name__}: {_first_line(error)}"
        raise CheckpointError(f"{path} is no checkpoint, or a broken one: {cause}") from error


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], storage_options: StorageOptions = None) -> Iterator[IO[bytes]]:
    """Open a checkpoint for reading.

    Args:
        path: the file, local or in a store that fsspec reaches.
        storage_options: arguments of the store.

    Yields:
        A file on the disk.

    Raises:
        CheckpointNotFound: there is no such file.
    """
    try:
        with open_to_read(path, storage_options) as file:
            yield file
    except IsADirectoryError:
        files = sorted(file.name for file in local_path(path).glob("*.pth"))
        holds = f"it holds {', '.join(files)}" if files else "it holds no .pth file"
        raise CheckpointNotFound(f"{path} is a folder, not a checkpoint: name a file in it; {holds}") from None
    except (FileNotFoundError, NotADirectoryError) as error:
        if isinstance(error, CheckpointNotFound):
            raise
        raise CheckpointNotFound(f"there is no checkpoint {path}{_others(path)}") from None


def verify_file(path: str | os.PathLike[str], *, logger: logging.Logger | None = None) -> None:
    """See that the parts of a local file are what was written, before somebody else reads it.

    Args:
        path: the file.
        logger: hears that a file holds nothing to compare with.

    Raises:
        CheckpointNotFound: there is no such file.
        CheckpointError: it is damaged, or an archive that ``torch.save`` would not write.
    """
    with opened(path) as file:
        _tell(path, _verify(file, path), logger)


def _verify(file: IO[bytes], path: str | os.PathLike[str]) -> str:
    """Compare a file with its checksums; give the reason where it has none."""
    if not has_archive(file):
        return "files of this older format hold no checksums"
    return "" if check_archive(file, path) else "it was saved without checksums"


def _tell(path: str | os.PathLike[str], reason: str, logger: logging.Logger | None) -> None:
    if reason:
        (logger or get_logger()).warning(
            "%s cannot be verified: %s, so damage to its values would not be seen", path, reason
        )


def _read(
    file: IO[bytes], path: str | os.PathLike[str], map_location: Any, weights_only: bool, logger: logging.Logger | None
) -> Any:
    if is_safetensors(file, path):
        return read_safetensors(file, path, map_location)
    unverified = _verify(file, path)
    if weights_only and unverified and _is_tar(file):
        raise CheckpointError(f"{path} is an archive of tar, as torch 0.1 wrote it; it would have to be unpacked first")
    with torch.serialization.safe_globals(ALLOWED):
        try:
            content = torch.load(file, map_location=map_location, weights_only=weights_only)
        except pickle.UnpicklingError as error:
            raise _refused(file, path, error) from error
    _tell(path, unverified, logger)
    return content


def _is_tar(file: IO[bytes]) -> bool:
    try:
        tarfile.open(fileobj=file, mode="r:").close()
    except tarfile.TarError:
        return False
    finally:
        file.seek(0)
    return True


def _refused(file: IO[bytes], path: str | os.PathLike[str], error: Exception) -> CheckpointError:
    names = foreign_names(file)
    if not names:
        return CheckpointError(f"{path} is no checkpoint, or a broken one: {_first_line(error)}")
    return CheckpointError(
        f"{path} holds objects that only unpickling could make, and unpickling runs code: {', '.join(names)}. "
        "If you trust it, load it with weights_only=False, which runs whatever it names, or name the classes that "
        "may be made: torch.serialization.add_safe_globals([...])"
    )


def _others(path: str | os.PathLike[str]) -> str:
    if is_remote(path):
        return ""
    file: Path = local_path(path)
    files = [other.name for other in file.parent.glob("*.pth")] if file.parent.is_dir() else []
    there = f"; {file.parent} holds {', '.join(sorted(files))}" if files else ""
    return nearest(file.name, files) or there


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (telling or lines or [type(error).__name__])[0]

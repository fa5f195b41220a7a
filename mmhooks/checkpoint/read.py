"""Reading without running anything that a file holds."""

from __future__ import annotations

import logging
import os
import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from mmhooks.checkpoint.storage import StorageOptions, is_remote, local_path, open_to_read
from mmhooks.errors import CheckpointError, CheckpointNotFound, MMHooksError, nearest
from mmhooks.log import get_logger

_SCALAR: Any = np.float64(0).__reduce__()[0]

#: NumPy scalars are all that MMCV's own files hold besides plain Python and tensors (a best score, say).
_NUMPY: list[Any] = [
    np.dtype,
    (_SCALAR, "numpy.core.multiarray.scalar"),  # the name before NumPy 2, and the one since
    (_SCALAR, "numpy._core.multiarray.scalar"),
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)),
]


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
        with open_to_read(path, storage_options) as file:
            _check_sums(file, path)
            with torch.serialization.safe_globals(_NUMPY):
                return torch.load(file, map_location=map_location, weights_only=weights_only)
    except IsADirectoryError:
        files = sorted(file.name for file in local_path(path).glob("*.pth"))
        holds = f"it holds {', '.join(files)}" if files else "it holds no .pth file"
        raise CheckpointNotFound(f"{path} is a folder, not a checkpoint: name a file in it; {holds}") from None
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointNotFound(f"there is no checkpoint {path}{_others(path)}") from None
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is broken, or holds objects that only unpickling could make, and unpickling runs code. "
            f"If you trust it, read it once with torch.load(..., weights_only=False) and save its tensors "
            f"and plain values again, or load it with weights_only=False. "
            f"What stood in the way: {_first_line(error)}"
        ) from error
    except (RuntimeError, EOFError, OSError) as error:
        if "deserialize object on" in str(error):
            raise CheckpointError(
                f"{path} holds tensors of a device that is not here: read it with map_location='cpu'"
            ) from error
        raise CheckpointError(f"{path} is no checkpoint, or a broken one: {_first_line(error)}") from error
    except (MMHooksError, MemoryError):
        raise
    except Exception as error:  # whatever a broken pickle makes torch stumble over
        if not weights_only:
            raise  # of a class that the file names
        cause = f"{type(error).__name__}: {_first_line(error)}"
        raise CheckpointError(f"{path} is no checkpoint, or a broken one: {cause}") from error


def _check_sums(file: IO[bytes], path: str | os.PathLike[str]) -> None:
    """Compare every part of the archive with its checksum: torch does not look, and a flipped bit is a wrong weight."""
    try:
        if not zipfile.is_zipfile(file):
            file.seek(0)
            return  # the format before torch 1.6, which has no checksums, or no checkpoint: torch will tell
        with zipfile.ZipFile(file) as archive:
            recorded = any(part.CRC for part in archive.infolist())  # torch can be told to record none
            damaged = archive.testzip() if recorded else None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(f"{path} is broken: {_first_line(error)}") from error
    if damaged is not None:
        raise CheckpointError(
            f"{path} is damaged: its part {damaged!r} is not what was written. Copy it again, or use an older one"
        )
    file.seek(0)


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

"""The short list of what a checkpoint may hold besides plain Python and tensors, and what it is read as.

Nothing on it runs code of the file's choice, and nothing of MMCV, MMEngine or Lightning is imported for it. Where the
real class would be too powerful in the hands of a hostile file, another one is made in its place.
"""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import numpy as np

#: Kinds of numbers: NumPy's own dtype takes flags from a pickle that make it read addresses from it.
_KINDS = frozenset(f"{kind}{size}" for kind, sizes in {"f": "248", "i": "1248", "u": "1248"}.items() for size in sizes)


class DType:
    """A number type of NumPy, read from a pickle."""

    def __init__(self, kind: Any, align: Any = False, copy: Any = False) -> None:
        if kind not in _KINDS and kind != "b1":
            raise ValueError(f"NumPy values of the type {kind!r:.50} are not read from a checkpoint")
        self.real = np.dtype(kind)

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or state[3:5] != (None, None) or state[2] is not None:
            raise ValueError("NumPy values with fields are not read from a checkpoint")
        self.real = self.real.newbyteorder(state[1] if state[1] in ("<", ">") else "=")


class Array(np.ndarray[Any, Any]):
    """An array of numbers, read from a pickle."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        state = (1, shape, _real(dtype), bool(fortran), data)
        super().__setstate__(state)


class Unread:
    """Stands for an object that only the library that wrote the file can use; what it held are its attributes."""


def _real(dtype: Any) -> np.dtype[Any]:
    real = dtype.real if type(dtype) is DType else dtype  # a user's add_safe_globals may have brought NumPy's own
    if not isinstance(real, np.dtype) or real.hasobject or real.names or real.kind not in "fiub":
        raise ValueError("NumPy values other than numbers are not read from a checkpoint")
    return np.dtype(real.str)  # a fresh one, with no flags of the file's


def _scalar(dtype: Any, data: bytes = b"") -> Any:
    return np.frombuffer(data, _real(dtype), 1)[0]


def _array(kind: Any, shape: Any, code: Any) -> Array:
    return np.empty(0, np.int8).view(Array)  # its __setstate__ brings the rest


def _no_bytes() -> bytes:
    return b""  # an empty array's; others are written as text


def _path(*parts: str) -> pathlib.Path:
    return pathlib.Path(*parts)


def _attribute(owner: Any, name: str) -> str:
    return str(name)  # of MMEngine's buffers: the name of a statistic, in place of the function


def _numpy() -> list[Any]:
    """NumPy's numbers and arrays (a best score, say), under the names before NumPy 2 and since."""
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    made = [(_scalar, f"{module}.scalar") for module in modules]
    return [*made, *((_array, f"{module}._reconstruct") for module in modules), (Unread, "numpy.ndarray")]


#: For `torch.serialization.safe_globals`: what is made, and the name in the file that it is made for.
ALLOWED: list[Any] = [
    (DType, "numpy.dtype"),
    (Array, "mmhooks.checkpoint.allowed.Array"),  # for its __setstate__
    *_numpy(),
    (_no_bytes, "builtins.bytes"),
    (_path, "pathlib.PosixPath"),  # Lightning's hyper-parameters
    (_path, "pathlib.WindowsPath"),
    (_path, "pathlib._local.PosixPath"),  # Python 3.13 and later
    (_path, "pathlib._local.WindowsPath"),
    argparse.Namespace,
    (dict, "lightning.fabric.utilities.data.AttributeDict"),
    (dict, "pytorch_lightning.utilities.parsing.AttributeDict"),
    (dict, "lightning.pytorch.utilities.parsing.AttributeDict"),
    (Unread, "mmengine.logging.history_buffer.HistoryBuffer"),
    (_attribute, "builtins.getattr"),
]

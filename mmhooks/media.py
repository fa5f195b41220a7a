"""Pictures, histograms and texts that a run logs beside its numbers."""

from __future__ import annotations

import json
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmhooks.errors import ConfigError, nearest

if TYPE_CHECKING:
    from mmhooks.runner.base import BaseRunner

#: The kinds of media.
KINDS = ("image", "figure", "histogram", "text")
_CHANNELS = (1, 3, 4)
_KIND_HELP = (
    "an image (a tensor, an array or a picture of Pillow), a figure of matplotlib, the values of a histogram (a tensor "
    "or an array), or a text"
)


@dataclass(frozen=True)
class Media:
    """One thing to log, as loggers receive it.

    Attributes:
        kind: ``"image"``, ``"figure"``, ``"histogram"`` or ``"text"``.
        name: its tag.
        value: an image: an array of uint8, height x width x 1, 3 or 4 channels; a figure: the one of matplotlib; a
            histogram: its values, an array of float64 in one dimension, all finite; a text: the str.
        step: the iteration, counted from 1.
    """

    kind: str
    name: str
    value: Any
    step: int


def as_media(name: str, value: Any, kind: str | None, step: int) -> Media:
    """Bring what is to be logged into the form that loggers receive.

    Args:
        name: its tag.
        value: see `BaseRunner.log_media`.
        kind: one of `KINDS`; None: told by the value.
        step: the iteration, counted from 1.

    Raises:
        ConfigError: an unknown kind, or a value that is not of that kind.
    """
    check_kind(name, kind)
    where = f"log_media({name!r})"
    if kind is None:
        kind = _told_by(value)
    if kind is None:
        raise ConfigError(f"{where} takes {_KIND_HELP}, not {_shown(value)}; name its kind: {', '.join(KINDS)}")
    if kind == "image":
        value = _image(where, value)
    elif kind == "histogram":
        value = _histogram(where, value)
    elif kind == "figure" and not _is_figure(value):
        raise ConfigError(f"{where} as a figure takes a matplotlib.figure.Figure, not {_shown(value)}")
    elif kind == "text" and not isinstance(value, str):
        raise ConfigError(f"{where} as a text takes a str, not {_shown(value)}")
    return Media(kind, name, value, step)


def check_kind(name: Any, kind: Any) -> None:
    """Check the name and the kind of what is to be logged.

    Raises:
        ConfigError: no name, or an unknown kind.
    """
    if not isinstance(name, str) or not name:
        raise ConfigError(f"log_media takes the name first, a str such as 'val/prediction', not {name!r}")
    if kind is not None and kind not in KINDS:
        hint = nearest(kind, KINDS) if isinstance(kind, str) else ""
        raise ConfigError(f"log_media({name!r}): kind must be {' or '.join(map(repr, KINDS))}, not {kind!r}{hint}")


def keep_media(folder: str | Path, media: Media) -> Path:
    """Write one thing into a folder: ``<name>/<step>.png``, a histogram as ``.json`` (counts and edges), ``.txt``.

    Returns:
        The file.
    """
    place = Path(folder, *(re.sub(r"[^\w.-]", "_", part) for part in media.name.split("/") if part.strip(".")))
    place.mkdir(parents=True, exist_ok=True)
    suffix = {"histogram": ".json", "text": ".txt"}.get(media.kind, ".png")
    path = place / f"{media.step}{suffix}"
    if media.kind == "image":
        path.write_bytes(png(media.value))
    elif media.kind == "figure":
        media.value.savefig(path)
    elif media.kind == "histogram":
        counts, edges = np.histogram(media.value, bins=64)
        path.write_text(json.dumps({"counts": counts.tolist(), "edges": edges.tolist()}))
    else:
        path.write_text(media.value, encoding="utf-8")
    return path


def png(image: np.ndarray) -> bytes:
    """Write an image of a `Media` as a PNG file; Pillow need not be installed for it."""
    height, width, channels = image.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with the kind of its filter, 0: none
    rows[:, 1:] = image.reshape(height, -1)
    colours = {1: 0, 3: 2, 4: 6}[channels]
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows.tobytes())),
        (b"IEND", b""),
    ]
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _told_by(value: Any) -> str | None:
    if isinstance(value, str):
        return "text"
    if _is_figure(value):
        return "figure"
    if _is_picture(value):
        return "image"
    if isinstance(value, (torch.Tensor, np.ndarray)):
        in_bytes = value.dtype in (torch.uint8, np.uint8)
        flat = value.ndim == 2 and in_bytes
        layered = value.ndim == 3 and (value.shape[0] in _CHANNELS or value.shape[-1] in _CHANNELS)
        return "image" if flat or layered else "histogram"
    return None


def _is_figure(value: Any) -> bool:
    return any(cls.__module__ == "matplotlib.figure" and cls.__name__ == "Figure" for cls in type(value).__mro__)


def _is_picture(value: Any) -> bool:
    return any(cls.__module__ == "PIL.Image" and cls.__name__ == "Image" for cls in type(value).__mro__)


def _image(where: str, value: Any) -> np.ndarray:
    is_tensor = isinstance(value, torch.Tensor)
    if _is_picture(value) and value.mode not in ("L", "RGB", "RGBA"):
        value = value.convert("RGBA" if "transparency" in value.info or value.mode in ("LA", "PA") else "RGB")
    if is_tensor:
        array = value.detach().cpu()
        array = (array.float() if array.is_floating_point() else array).numpy()
    else:
        array = np.asarray(value)
    if array.ndim == 2:
        array = array[:, :, None]
    shape = array.shape
    if len(shape) != 3 or 0 in shape or (shape[0] not in _CHANNELS and shape[2] not in _CHANNELS):
        raise ConfigError(
            f"{where} as an image takes height x width, or with 1, 3 or 4 channels first or last, not {_shown(value)}"
        )
    if shape[0] in _CHANNELS and (is_tensor or shape[2] not in _CHANNELS) and (value.ndim == 3):
        array = array.transpose(1, 2, 0)
    return np.ascontiguousarray(_in_bytes(where, array))


def _in_bytes(where: str, array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    highest = 1.0 if array.dtype.kind == "f" else 255
    if array.dtype.kind not in "fiu" or not (array.min() >= 0 and array.max() <= highest):  # no NaN either
        values = f"{array.min()} to {array.max()}" if array.dtype.kind in "fiu" else f"of {array.dtype}"
        raise ConfigError(
            f"{where} as an image takes floats from 0 to 1 or integers from 0 to 255, not values {values}: "
            "take back a normalization first"
        )
    return (array * 255).round().astype(np.uint8) if array.dtype.kind == "f" else array.astype(np.uint8)


def _histogram(where: str, value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().double().cpu().numpy()
    try:
        array = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        raise ConfigError(f"{where} as a histogram takes numbers, not {_shown(value)}") from None
    finite = array[np.isfinite(array)]
    if not len(finite):
        raise ConfigError(f"{where} as a histogram takes at least one finite number, not {_shown(value)}")
    return finite


def _shown(value: Any) -> str:
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return f"a {type(value).__name__} of shape {tuple(value.shape)} and {value.dtype}"
    return f"a {type(value).__name__}"


def log_media(runner: BaseRunner, name: str, value: Any, kind: str | None, step: int | None) -> None:
    """Do what `BaseRunner.log_media` says."""
    check_kind(name, kind)
    if runner.rank != 0:
        return
    media = as_media(name, value, kind, runner.iter + 1 if step is None else step)
    taken = False
    for hook in runner.hooks:
        take = getattr(hook, "log_media", None)
        if take is not None and take(runner, media):
            taken = True
    if taken:
        return
    if runner.work_dir is None or not runner.writes_files:
        runner.logger.debug("log_media(%r): no logger takes it, and there is no work_dir to keep it in", name)
        return
    try:
        path = keep_media(Path(runner.work_dir, "media"), media)
    except OSError as error:  # a full disk: nothing to stop a training for
        runner.logger.warning("log_media(%r): no logger takes it, and it cannot be kept: %s", name, error)
        return
    runner.logger.debug("log_media(%r): no logger takes it, so it is kept in %s", name, path)

"""Handwritten digits in the files of CIFAR-10, as mmcls reads them."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits


def write(folder: Path, size: int) -> dict[str, Any]:
    """Write five batches of training digits and one for tests, ``size`` digits each.

    Returns:
        The class attributes of mmcls's CIFAR10 that hold the names and checksums of its files.
    """
    digits = load_digits()
    grey = np.kron(digits.images, np.ones((4, 4))) * (255 / 16)  # of 8 x 8, drawn on 32 x 32
    rows = np.repeat(grey.reshape(len(grey), 1, -1), 3, axis=1).reshape(len(grey), -1).astype(np.uint8)
    place = folder / "cifar-10-batches-py"
    place.mkdir(parents=True)
    files: list[list[str]] = []
    for i, name in enumerate([*(f"data_batch_{part}" for part in range(1, 6)), "test_batch"]):
        part = slice(i * size, (i + 1) * size)
        files.append([name, _put(place / name, {"data": rows[part], "labels": digits.target[part].tolist()})])
    checksum = _put(place / "batches.meta", {"label_names": [f"digit {label}" for label in range(10)]})
    meta = {"filename": "batches.meta", "key": "label_names", "md5": checksum}
    return {"train_list": files[:5], "test_list": files[5:], "meta": meta}


def _put(path: Path, content: dict[str, Any]) -> str:
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes()).hexdigest()

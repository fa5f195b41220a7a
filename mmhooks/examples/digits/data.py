"""The 1,797 handwritten digits of 8x8 pixels that come with scikit-learn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from mmhooks.registry import DATASETS

VAL_SHARE = 0.2
SPLIT_SEED = 0


@DATASETS.register_module()
class Digits(Dataset[dict[str, Tensor]]):
    """Handwritten digits, split once and for all into images to train on and images to judge by.

    Every class gives the same share to both splits, and nothing but this file decides which image goes where.
    Training images are shifted by up to a pixel each way; the shift is drawn from torch's global generator.

    Args:
        split: ``"train"`` (about 80 % of the images) or ``"val"``.

    Raises:
        ValueError: there is no such split.
        ImportError: scikit-learn, which holds the images, is not installed.

    Example:
        >>> item = Digits(split="val")[0]
        >>> item["img"].shape, item["label"].dtype
        (torch.Size([1, 8, 8]), torch.int64)
    """

    CLASSES: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def __init__(self, split: Literal["train", "val"] = "train") -> None:
        if split not in ("train", "val"):
            raise ValueError(f"split must be 'train' or 'val', not {split!r}")
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise ImportError(
                'the digits come with scikit-learn, which is not installed: pip install "mmhooks[demo]"'
            ) from error
        images, labels = load_digits(return_X_y=True)
        chosen = np.flatnonzero(_in_val(labels) == (split == "val"))
        self.shifts = split == "train"
        self.labels = torch.from_numpy(labels[chosen]).long()
        pixels = torch.from_numpy(images[chosen]).float() / 16
        # A border of one pixel: a shift by one is then the choice of a window, which copies nothing.
        self.padded = F.pad(pixels.view(-1, 1, 8, 8), (1, 1, 1, 1))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """The image, float32 of [1, 8, 8] within 0..1, and its label, an int64."""
        top, left = torch.randint(3, (2,)).tolist() if self.shifts else (1, 1)
        img = self.padded[index, :, top : top + 8, left : left + 8]
        return {"img": img, "label": self.labels[index]}

    def evaluate(
        self,
        results: Sequence[npt.ArrayLike],
        logger: logging.Logger | None = None,
        metric: str = "accuracy",
        **kwargs: Any,
    ) -> dict[str, float]:
        """Judge what the model said about every image of this split, as MMCV's EvalHook asks.

        Args:
            results: the scores of the ten classes, image by image in the order of the data set.
            logger: taken because evaluation hooks pass it; whoever calls logs what is returned.
            metric: ``"accuracy"``, the share of images whose highest score is that of their label.
            **kwargs: the further keys of a config's ``evaluation``, none of which matters here.

        Raises:
            ValueError: another metric, or not one result an image.
        """
        if metric != "accuracy":
            raise ValueError(f"Digits knows metric='accuracy', not {metric!r}")
        if len(results) != len(self):
            raise ValueError(f"{len(results)} results for {len(self)} images")
        predicted = np.stack([np.asarray(scores) for scores in results]).argmax(axis=1)
        return {"accuracy": float((predicted == self.labels.numpy()).mean())}


def _in_val(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Mark the images of the val split: the same share of each class, drawn by a generator of our own."""
    generator = np.random.RandomState(SPLIT_SEED)  # the one whose numbers NumPy promises never to change
    in_val = np.zeros(len(labels), dtype=np.bool_)
    for digit in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == digit))
        in_val[members[: round(len(members) * VAL_SHARE)]] = True
    return in_val

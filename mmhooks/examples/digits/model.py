"""A small convolutional network with the methods that an MMCV 1.x runner calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch.nn.functional as F
from torch import Tensor, nn

from mmhooks.registry import MODELS


@MODELS.register_module()
class DigitsNet(nn.Module):
    """Two convolutions and a linear layer, with batch norm and dropout, for images of 8x8 pixels.

    Args:
        channels: channels of the first convolution; the second has twice as many.
        num_classes: how many scores an image gets.
        dropout: share of the features that is dropped in training.

    Example:
        >>> net = DigitsNet(channels=8)
        >>> net.train_step({"img": torch.rand(4, 1, 8, 8), "label": torch.arange(4)})["num_samples"]
        4
    """

    def __init__(self, channels: int = 32, num_classes: int = 10, dropout: float = 0.2) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            _conv_block(1, channels), nn.MaxPool2d(2), _conv_block(channels, 2 * channels), nn.MaxPool2d(2)
        )
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(8 * channels, num_classes))

    def forward(
        self, img: Tensor, label: Tensor | None = None, return_loss: bool = True
    ) -> dict[str, Tensor] | list[npt.NDArray[np.float32]]:
        """Score a batch, or compare its scores with the labels.

        Args:
            img: the images, [N, 1, 8, 8].
            label: their classes, [N]; needed for the loss alone.
            return_loss: which of the two.

        Returns:
            With ``return_loss`` the dict of ``loss`` and ``acc``, else one array of scores an image.
        """
        scores = self.head(self.backbone(img))
        if not return_loss:
            return list(scores.softmax(dim=1).detach().cpu().numpy())
        if label is None:
            raise ValueError("the loss needs labels: forward(img, label), or forward(img, return_loss=False)")
        hits = scores.argmax(dim=1) == label
        return {"loss": F.cross_entropy(scores, label), "acc": hits.float().mean()}

    def train_step(self, data: dict[str, Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Compute the loss of a batch; the optimizer hook goes on from there.

        Returns:
            ``loss`` to call backward on, ``log_vars`` for the log, and ``num_samples``, the weight that an
            average gives them. The values of ``log_vars`` stay tensors: a number would make an accelerator
            wait in every iteration, and only a logger needs it.
        """
        losses = self(**data)
        log_vars = {name: value.detach() for name, value in losses.items()}
        return {"loss": losses["loss"], "log_vars": log_vars, "num_samples": len(data["img"])}

    def val_step(self, data: dict[str, Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        """The same as `train_step`, called in eval mode and without gradients by a ``('val', 1)`` flow."""
        return self.train_step(data, optimizer, **kwargs)


def _conv_block(inputs: int, outputs: int) -> nn.Sequential:
    # No bias: the batch norm behind it takes any constant away again.
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

"""The digits without a config: the objects themselves, the same hooks, the native runner.

Run it with ``python -m mmhooks.examples.digits.script [work_dir]``.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from mmhooks import EMAHook, EpochBasedRunner, EvalHook
from mmhooks.examples.digits.data import Digits
from mmhooks.examples.digits.model import DigitsNet


def predict(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Any, Tensor]:
    """Give the scores of a batch, on the model's device, and what they should be."""
    assert isinstance(model, DigitsNet)
    return model.head(model.backbone(batch["img"])), batch["label"]


def train(work_dir: str, max_epochs: int = 6) -> EpochBasedRunner:
    """Train the network.

    Args:
        work_dir: the folder of checkpoints and logs.
        max_epochs: how long.

    Returns:
        The runner at the end of the run.
    """
    torch.manual_seed(0)
    model = DigitsNet().to("cuda" if torch.cuda.is_available() else "cpu")
    train_loader = DataLoader(Digits("train"), batch_size=32, shuffle=True)
    val_loader = DataLoader(Digits("val"), batch_size=32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    runner = EpochBasedRunner(model, optimizer=optimizer, work_dir=work_dir, max_epochs=max_epochs)
    runner.register_training_hooks(
        lr_config={"policy": "step", "step": [4, 5], "warmup": "linear", "warmup_iters": 20},
        optimizer_config={"grad_clip": {"max_norm": 5.0}},
        checkpoint_config={"interval": 1, "max_keep_ckpts": 2},
        log_config={"interval": 10, "hooks": [{"type": "TextLoggerHook"}]},
    )
    runner.register_hook(EMAHook(momentum=0.05), priority="ABOVE_NORMAL")  # checkpoints then hold the averages
    metrics: Any = MetricCollection({"accuracy": MulticlassAccuracy(10, average="micro")})
    runner.register_hook(EvalHook(val_loader, save_best="accuracy", metrics=metrics, predict=predict), priority="LOW")
    runner.run([train_loader], [("train", 1)])
    return runner


def main() -> None:
    """Train into the folder that the command line names."""
    train(sys.argv[1] if len(sys.argv) > 1 else "work_dirs/digits_script")


if __name__ == "__main__":
    main()

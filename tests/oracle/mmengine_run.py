"""Record tests/golden/exchanged/mmengine.pth: a file of a real run of MMEngine 0.10.7.

``python tests/oracle/mmengine_run.py FILE``, where mmengine is installed; its own dependencies are enough.
"""

import shutil
import sys
from pathlib import Path

import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset


class Points(Dataset):
    METAINFO = {"classes": ("cat", "dog")}  # noqa: RUF012
    metainfo = METAINFO

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.full((3,), float(index)), index % 2


class Net(BaseModel):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, points, labels, mode="tensor"):
        scores = self.head(self.backbone(torch.stack(list(points)) if isinstance(points, (list, tuple)) else points))
        return {"loss": nn.functional.cross_entropy(scores, torch.as_tensor(labels))} if mode == "loss" else scores


torch.manual_seed(0)
folder = "/tmp/work"  # the file names it
loader = {
    "batch_size": 4,
    "dataset": Points(),
    "sampler": {"type": "DefaultSampler", "shuffle": False},
    "num_workers": 0,
}
runner = Runner(
    Net(),
    work_dir=folder,
    train_dataloader=loader,
    train_cfg={"by_epoch": True, "max_epochs": 2},
    optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
    param_scheduler=[{"type": "MultiStepLR", "milestones": [1]}],
    default_hooks={
        "checkpoint": {"type": "CheckpointHook", "interval": 1},
        "logger": {"type": "LoggerHook", "interval": 1},
    },
    default_scope="mmengine",
    randomness={"seed": 0},
)
runner.train()
shutil.copy(Path(folder) / "epoch_2.pth", sys.argv[1])

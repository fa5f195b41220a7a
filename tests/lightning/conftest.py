"""What the tests of the bridge share."""

import logging
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Lit(L.LightningModule):
    """An ordinary module with automatic optimization."""

    def __init__(self, manual=False, scheduler=False):
        super().__init__()
        self.net = nn.Linear(4, 2)
        self.automatic_optimization = not manual
        self.scheduler = scheduler

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch, batch_idx):
        self.log("v", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        if not self.scheduler:
            return optimizer
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


class Model(nn.Module):
    """An MMCV-style model."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 2)

    def train_step(self, data, optimizer=None, **kwargs):
        loss = nn.functional.cross_entropy(self.net(data[0]), data[1])
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data[0])}

    val_step = train_step


@pytest.fixture
def kit(tmp_path):
    """Modules, a loader of five batches, and a quiet Trainer."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 4, generator=generator)
    loader = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 8)

    def trainer(*callbacks, **kwargs):
        settings = {
            "max_epochs": 2,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "default_root_dir": tmp_path,
        }
        return L.Trainer(callbacks=list(callbacks), **{**settings, **kwargs})

    logger = logging.getLogger("quiet")
    logger.propagate = False
    return SimpleNamespace(Lit=Lit, Model=Model, loader=loader, trainer=trainer, folder=tmp_path, logger=logger)

"""What the tests of the bridge share."""

import contextlib
import logging
from functools import partial
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mmhooks import Hook, OptimizerHook
from mmhooks.hook import POINTS
from mmhooks_lightning import HookCallback, HookedModule


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


class Points(Hook):
    """Records which points were called, with the counters, and what loader was seen where training goes on."""

    def __init__(self):
        self.seen, self.lengths, self.batches = [], [], []
        for point in POINTS:
            setattr(self, point, partial(self._record, point))

    def _record(self, point, runner):
        self.seen.append((point, runner.epoch, runner.iter))
        if point == "before_train_iter":
            with contextlib.suppress(TypeError):  # not all loaders have one
                self.lengths.append(len(runner.data_loader))
            self.batches.append(runner.data_batch[0].sum().item())

    def count(self, point):
        return sum(entry[0] == point for entry in self.seen)

    def names(self):
        return [entry[0] for entry in self.seen]


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

    def setup(kind, by_epoch=True, hooks=(), callbacks=(), module=None, bridge=None, **settings):
        """A module of either kind with a Trainer, and hooks that record; five batches an epoch, two epochs."""
        points = Points()
        stepping = [OptimizerHook()] if kind == "hooked" else []
        length = {} if by_epoch else {"by_epoch": False, "max_iters": 12}
        bridge = HookCallback([*stepping, *hooks, points], logger=logger, **{**length, **(bridge or {})})
        if not by_epoch:
            settings.setdefault("max_epochs", -1)
        torch.manual_seed(0)
        if module is None:
            module = Lit() if kind == "ordinary" else HookedModule(Model(), {"type": "SGD", "lr": 0.1})
        return SimpleNamespace(
            points=points, bridge=bridge, runner=bridge.runner, module=module,
            trainer=trainer(bridge, *callbacks, **settings),
        )  # fmt: skip

    return SimpleNamespace(
        Lit=Lit, Model=Model, loader=loader, trainer=trainer, folder=tmp_path, logger=logger, setup=setup
    )


def pytest_generate_tests(metafunc):
    """Try what these files say with both kinds of modules, and by epochs and by iterations, where a test takes that."""
    if not metafunc.module.__name__.rpartition(".")[2].startswith(("test_settings", "test_misuse")):
        return
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", ["hooked", "ordinary"])
    if "by_epoch" in metafunc.fixturenames:
        metafunc.parametrize("by_epoch", [True, False], ids=["epochs", "iters"])

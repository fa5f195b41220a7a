"""Progress under a Trainer: one bar, the Trainer's own where it has one."""

import io

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from rich.console import Console

from mmhooks import EvalHook, ProgressBarHook
from mmhooks_lightning import HookCallback, HookedModule


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x, return_loss=False):
        return list(self.layer(x))

    def train_step(self, data, optimizer, **kwargs):
        loss = self.layer(data["x"]).square().mean()
        return {"loss": loss, "log_vars": {"loss": loss, "loss_cls": loss, "acc": 0.5}, "num_samples": 2}


class Loader(list):
    class dataset:
        @staticmethod
        def evaluate(results, logger=None):
            return {"AP": 0.25, "AP50": 0.5, "AP75": 0.125}


def fit(tmp_path, *callbacks, **options):
    model = Model()
    loader = torch.utils.data.DataLoader([{"x": torch.ones(2)} for _ in range(8)], batch_size=2)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    bridge = HookCallback(work_dir=tmp_path)
    bridge.register_training_hooks(
        lr_config={"policy": "step", "step": [9]},
        optimizer_config={},
        log_config={"interval": 2, "hooks": [{"type": "TextLoggerHook"}]},
    )
    bridge.register_hook(EvalHook(Loader(loader)), "LOW")
    bridge.register_hook(ProgressBarHook(console=console, interval=0), "LOWEST")
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", callbacks=[bridge, *callbacks], logger=False, enable_checkpointing=False,
        enable_model_summary=False, **options,
    )  # fmt: skip
    trainer.fit(HookedModule(model, torch.optim.SGD(model.parameters(), lr=0.125)), loader)
    return trainer, screen.getvalue()


def test_the_trainers_own_bar_has_losses_and_learning_rate(tmp_path):
    trainer, drawn = fit(tmp_path, TQDMProgressBar())
    assert drawn == ""
    shown = trainer.progress_bar_callback.get_metrics(trainer, trainer.lightning_module)
    assert {"loss", "loss_cls", "lr", "AP", "AP50"} <= set(shown)  # as much of an evaluation as there is room for
    assert not {"acc", "AP75", "time"} & set(shown)
    assert shown["lr"] == 0.125


def test_without_it_the_hook_draws(tmp_path):
    trainer, drawn = fit(tmp_path, enable_progress_bar=False)
    assert trainer.progress_bar_callback is None
    assert "train epoch 2/2" in drawn
    assert "evaluation" in drawn


@pytest.mark.parametrize("enabled", [True, False])
def test_a_bar_that_is_switched_off_is_none(tmp_path, enabled):
    bar = TQDMProgressBar()
    if not enabled:
        bar.disable()
    assert (fit(tmp_path, bar)[1] == "") == enabled

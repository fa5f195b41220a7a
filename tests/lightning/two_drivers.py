"""One small run under either driver, with the hooks that a test gives."""

from typing import Any

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmhooks import EpochBasedRunner, Hook, IterBasedRunner, IterTimerHook, OptimizerHook, StepLrUpdaterHook
from mmhooks.log import get_logger
from mmhooks_lightning import HookCallback, HookedModule

DRIVERS = ("native", "lightning")


class Net(nn.Module):
    """A linear layer in the manner of MMCV."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 2)

    def train_step(self, data, optimizer=None, **kwargs):
        loss = nn.functional.cross_entropy(self.layer(data["x"]), data["y"])
        return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": len(data["y"])}

    val_step = train_step


class Score(Hook):
    """Leaves what an evaluation leaves: after each train epoch, the score of the epoch."""

    def after_train_epoch(self, runner):
        runner.log_buffer.output["acc"] = 0.5 + runner.epoch / 10
        runner.log_buffer.output["eval_iter_num"] = 2
        runner.log_buffer.ready = True


def batches(count=4):
    source = torch.Generator().manual_seed(1)
    found: list[Any] = [
        {"x": torch.randn(5, 3, generator=source), "y": torch.randint(2, (5,), generator=source)} for _ in range(count)
    ]
    return DataLoader(found, batch_size=None)


def train(driver, folder, hooks, *, by_epoch=True, val=True, trainer=None, meta=None):
    """Train for two epochs, or eight iterations, of four batches each, and give the runner that the hooks saw."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    logger = get_logger()
    registered = [
        (StepLrUpdaterHook(step=[1], by_epoch=by_epoch), "VERY_HIGH"),
        (OptimizerHook(), "ABOVE_NORMAL"),
        (IterTimerHook(), "LOW"),
        *((hook, "VERY_LOW") for hook in hooks),
    ]
    if by_epoch and val:
        registered.insert(3, (Score(), "LOW"))
    workflow = [("train", 1), ("val", 1)] if val and by_epoch else [("train", 1)]
    meta = {"seed": 3, "exp_name": "digits"} if meta is None else meta
    common = {"work_dir": folder, "logger": logger, "meta": meta}
    if driver == "native":
        length = {"max_epochs": 2} if by_epoch else {"max_iters": 8}
        runner = (EpochBasedRunner if by_epoch else IterBasedRunner)(model, optimizer=optimizer, **common, **length)
        for hook, priority in registered:
            runner.register_hook(hook, priority)
        runner.run([batches(), batches(2)][: len(workflow)], workflow)
        return runner
    length = {} if by_epoch else {"by_epoch": False, "max_iters": 8}
    bridge = HookCallback(registered, workflow=workflow, **common, **length)
    settings = {
        "max_epochs": 2 if by_epoch else -1,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
    }
    fitted = L.Trainer(callbacks=[bridge], **{**settings, **(trainer or {})})
    fitted.fit(HookedModule(model, optimizer), batches(), batches(2) if len(workflow) > 1 else None)
    return bridge.runner

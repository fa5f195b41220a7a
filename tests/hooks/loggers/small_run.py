"""One small training under either driver, and what is known of its values."""

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmhooks import EpochBasedRunner, Hook, OptimizerHook
from mmhooks_lightning import HookCallback, HookedModule

DRIVERS = ("native", "lightning")
#: What a run of two epochs of four iterations, each followed by a val epoch, logs at an interval of 2.
TRAIN_STEPS, VAL_STEPS = [2, 4, 6, 8], [5, 9]
META = {
    "seed": 3,
    "exp_name": "small.py",
    "config": "model = dict(type='Small', depths=[1, 2])\nlog = [dict(interval=2)]\n",
}


class Small(nn.Module):
    """An MMCV-style model."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

    def forward(self, x):
        return self.net(x)

    def train_step(self, data, optimizer=None, **kwargs):
        loss = nn.functional.cross_entropy(self.net(data["x"]), data["y"])
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data["y"])}

    val_step = train_step


class Shows(Hook):
    """Logs one thing of each kind at the end of the first epoch's iterations."""

    def after_train_iter(self, runner):
        if runner.iter == 3:
            image = torch.zeros(3, 4, 6)
            image[0] = 1.0  # red
            runner.log_media("shown/image", image)
            runner.log_media("shown/figure", figure())
            runner.log_media("shown/weight", torch.arange(12.0), "histogram")
            runner.log_media("shown/text", "2 < 3")


def figure():
    from matplotlib.figure import Figure

    one = Figure(figsize=(1, 1))
    one.subplots().plot([1, 2])
    return one


def loader():
    source = torch.Generator().manual_seed(1)
    sizes = (5, 5, 5, 2)
    batches = [{"x": torch.randn(n, 3, generator=source), "y": torch.randint(2, (n,), generator=source)} for n in sizes]
    return DataLoader(batches, batch_size=None)


def train(driver, folder, *hooks, logger=None, meta=META, max_epochs=2):
    """Train for two epochs, each with a val epoch.

    Returns:
        The weights.
    """
    model = Small()
    if driver == "native":
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        runner = EpochBasedRunner(
            model, optimizer=optimizer, work_dir=folder, logger=logger, meta=meta, max_epochs=max_epochs
        )
        registration = runner
    else:
        callback = HookCallback(work_dir=folder, logger=logger, meta=meta)
        registration = callback
    registration.register_training_hooks(None, OptimizerHook())
    for hook in hooks:
        registration.register_hook(hook, "VERY_LOW" if "Logger" in type(hook).__name__ else "NORMAL")
    if driver == "native":
        runner.run([loader(), loader()], [("train", 1), ("val", 1)])
    else:
        trainer = L.Trainer(
            max_epochs=max_epochs, callbacks=[callback], logger=False, enable_checkpointing=False, accelerator="cpu",
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(HookedModule(model, {"type": "SGD", "lr": 0.1, "momentum": 0.9}), loader(), loader())
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(weights, others):
    return all(torch.equal(weights[name], others[name]) for name in weights)


def check_values(steps, other=None):
    """Check values by tag, each a list of (step, value), of the run of `train`; and that another driver's are equal."""
    assert [step for step, _ in steps["train/loss"]] == TRAIN_STEPS
    assert [step for step, _ in steps["val/loss"]] == VAL_STEPS
    both = sorted(TRAIN_STEPS + VAL_STEPS)
    for tag, number in (("learning_rate", 0.1), ("momentum", 0.9)):
        assert [step for step, _ in steps[tag]] == both
        assert [value for _, value in steps[tag]] == pytest.approx([number] * 6)
    if other is not None:
        assert steps == other


def is_red(pixels):
    """Tell whether an image of Pillow, or an array, is the one that `Shows` shows."""
    array = np.asarray(pixels)
    return array.shape == (4, 6, 3) and (array == [255, 0, 0]).all()

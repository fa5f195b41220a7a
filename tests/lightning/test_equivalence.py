"""A run that is resumed, by either driver from either driver's file: the weights of a run without a break."""

import logging

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mmhooks import EMAHook, EpochBasedRunner, IterBasedRunner
from mmhooks_lightning import HookCallback, HookedModule

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
        self.register_buffer("scratch", torch.zeros(1), persistent=False)

    def forward(self, x):
        return self.body(x)

    def train_step(self, data, optimizer=None, **kwargs):
        x, y = data
        loss = nn.functional.cross_entropy(self(x), y)
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(x)}

    val_step = train_step


def data(batches=5, **kwargs):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batches * 8 - 3, 4, generator=generator)
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=8, **kwargs)


TRAINING = {
    "lr_config": {"policy": "step", "step": [1, 2], "warmup": "linear", "warmup_iters": 3},
    "optimizer_config": {"grad_clip": {"max_norm": 1.0}},
    "checkpoint_config": {"interval": 1, "max_keep_ckpts": 2},
    "log_config": {"interval": 2, "hooks": [{"type": "TextLoggerHook"}]},
}


def assert_same_weights(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert list(one) == list(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("origin", ["native", "lightning"])
@pytest.mark.parametrize("way", ["native", "resume", "ckpt_path"])
@pytest.mark.parametrize("by_epoch", [True, False])
def test_a_resumed_run_is_the_run_that_would_have_been(tmp_path, origin, way, by_epoch):
    """Any driver goes on from any driver's file; the data order does not depend on the generator here."""
    if way == "ckpt_path" and origin == "native":
        pytest.skip("a native file holds no state of a Trainer; HookCallback.resume takes it")
    workflow = [("train", 1)] if by_epoch else [("train", 2)]
    length = 4 if by_epoch else 12

    class Plain(Net):
        def __init__(self):
            super().__init__()
            self.body[3] = nn.Identity()  # no dropout: nothing is drawn

    def run(driver, folder, until, resume=None, ckpt_path=None):
        torch.manual_seed(0)
        model = Plain()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        limit = {"max_epochs": until} if by_epoch else {"max_iters": until}
        training = dict(TRAINING, lr_config={"policy": "step", "step": [1, 3] if by_epoch else [3, 6]})
        training["checkpoint_config"] = {"interval": 1, "max_keep_ckpts": 3}
        if driver == "native":
            cls = EpochBasedRunner if by_epoch else IterBasedRunner
            runner = cls(model, optimizer=optimizer, work_dir=folder, logger=QUIET, **limit)
            runner.register_training_hooks(**training)
            runner.register_hook(EMAHook(momentum=0.05), "ABOVE_NORMAL")
            if resume:
                runner.resume(resume)
            runner.run([data(10)], workflow)
        else:
            bridge = HookCallback(work_dir=folder, by_epoch=by_epoch, max_iters=None if by_epoch else until,
                                  workflow=workflow, logger=QUIET)  # fmt: skip
            bridge.register_training_hooks(**training)
            bridge.register_hook(EMAHook(momentum=0.05), "ABOVE_NORMAL")
            if resume:
                bridge.resume(resume)
            trainer = L.Trainer(max_epochs=until if by_epoch else -1, callbacks=[bridge], logger=False,
                                enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
                                accelerator="cpu")  # fmt: skip
            trainer.fit(HookedModule(model, optimizer), data(10), ckpt_path=ckpt_path)
            assert trainer.global_step == (40 if by_epoch else until)
        return model

    whole = run("native", tmp_path / "whole", length)
    run(origin, tmp_path / "half", length)
    # iteration-based, a loader begins anew after a resume, as in MMCV: so take the file from the end of a pass
    kept = tmp_path / "half" / ("epoch_3.pth" if by_epoch else "iter_10.pth")
    if way == "ckpt_path":
        resumed = run("lightning", tmp_path / "half", length, ckpt_path=kept)
    else:
        resumed = run("native" if way == "native" else "lightning", tmp_path / "half", length, resume=kept)
    assert_same_weights(resumed, whole)

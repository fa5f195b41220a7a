"""Mixed precision of the hooks' own under a Trainer: the same weights, files and steps as natively."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mmhooks import (
    ConfigError,
    EpochBasedRunner,
    Fp16OptimizerHook,
    GradientCumulativeFp16OptimizerHook,
    GradientCumulativeOptimizerHook,
    HookError,
    IterBasedRunner,
    OptimizerHook,
    auto_fp16,
)
from mmhooks.checkpoint import read_checkpoint
from mmhooks_lightning import HookCallback, HookedModule

CLIP = {"max_norm": 0.5}
GROWING = {"init_scale": 64.0, "growth_factor": 1.7, "growth_interval": 3}


class Mixed(nn.Module):
    """A model in fp16 in which the gradients of a step now and then overflow."""

    def __init__(self, overflow=True):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        self.fp16_enabled = False
        self.seen = set()
        self.overflow = overflow
        self.steps = 0

    @auto_fp16()
    def forward(self, x):
        out = self.net(x)
        self.seen.add(out.dtype)
        return out

    def train_step(self, data, optimizer=None, **kwargs):
        loss = nn.functional.cross_entropy(self(data[0]).float(), data[1])
        if self.overflow and self.steps % 5 == 2:
            loss = loss * 1e36
        self.steps += 1
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data[0])}


def loader():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(37, 4, generator=generator)
    return DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 8)


def sgd(model, **arguments):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, **arguments)


def native(hook, folder, logger, by_epoch=True):
    model = Mixed(overflow=hook.loss_scaler is not None)
    kind, limit = (EpochBasedRunner, {"max_epochs": 3}) if by_epoch else (IterBasedRunner, {"max_iters": 13})
    runner = kind(model, optimizer=sgd(model), work_dir=folder, logger=logger, **limit)
    runner.register_hook(hook, "ABOVE_NORMAL")
    runner.register_checkpoint_hook({"interval": 1 if by_epoch else 5, "by_epoch": by_epoch})
    steps = []
    runner.optimizer.register_step_post_hook(lambda *_: steps.append(1))
    runner.run([loader()], [("train", 1)])
    return runner, len(steps)


def bridged(hook, folder, kit, by_epoch=True, **settings):
    model = Mixed(overflow=hook.loss_scaler is not None)
    bridge = HookCallback(
        work_dir=folder,
        by_epoch=by_epoch,
        max_iters=None if by_epoch else 13,
        logger=kit.logger,
        workflow=[("train", 1)],
    )
    bridge.register_hook(hook, "ABOVE_NORMAL")
    bridge.register_checkpoint_hook({"interval": 1 if by_epoch else 5, "by_epoch": by_epoch})
    trainer = kit.trainer(bridge, max_epochs=3 if by_epoch else -1, **settings)
    trainer.fit(HookedModule(model, sgd(model)), loader())
    return bridge.runner, trainer


@pytest.mark.parametrize("by_epoch", [True, False], ids=["epochs", "iterations"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: Fp16OptimizerHook(),
        lambda: Fp16OptimizerHook(CLIP, loss_scale="dynamic"),
        lambda: Fp16OptimizerHook(CLIP, loss_scale=GROWING),
        lambda: Fp16OptimizerHook(CLIP, dtype="bf16"),
        lambda: GradientCumulativeFp16OptimizerHook(3, grad_clip=CLIP, loss_scale=GROWING),
        lambda: GradientCumulativeFp16OptimizerHook(3, dtype="bf16", skip_exchange=True),
        lambda: GradientCumulativeOptimizerHook(3, grad_clip=CLIP),
        lambda: OptimizerHook(CLIP, detect_anomalous_params=True),
    ],
    ids=["fixed", "dynamic", "dict", "bf16", "groups", "groups-bf16", "groups-fp32", "fp32"],
)
def test_the_weights_of_a_native_run(kit, tmp_path, make, by_epoch):
    runner, steps = native(make(), tmp_path / "native", kit.logger, by_epoch)
    bridge, trainer = bridged(make(), tmp_path / "bridge", kit, by_epoch)
    ours, theirs = runner.model.state_dict(), bridge.model.state_dict()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name
        assert ours[name].isfinite().all()
    assert bridge.model.seen == runner.model.seen
    assert trainer.global_step == steps  # a step that the scaler leaves out is none
    assert bridge.iter == runner.iter
    assert str(bridge.log_buffer.val_history) == str(runner.log_buffer.val_history)
    assert (bridge.meta or {}).get("fp16") == (runner.meta or {}).get("fp16")


def test_a_file_holds_the_scale_and_a_resume_goes_on_with_it(kit, tmp_path):
    def make():
        return Fp16OptimizerHook(loss_scale=GROWING)

    whole, _ = bridged(make(), tmp_path / "whole", kit)
    path = tmp_path / "whole" / "epoch_1.pth"
    assert read_checkpoint(path)["meta"]["fp16"]["loss_scaler"]["_growth_tracker"] == 2
    for how in ("ckpt_path", "resume", "native"):
        model = Mixed()
        if how == "native":
            runner = EpochBasedRunner(model, optimizer=sgd(model), logger=kit.logger, max_epochs=3)
            runner.register_hook(make())
            runner.resume(path)
            runner.run([loader()], [("train", 1)])
        else:
            bridge = HookCallback([make()], work_dir=tmp_path / how, logger=kit.logger)
            if how == "resume":
                bridge.resume(path)
            trainer = kit.trainer(bridge, max_epochs=3)
            trainer.fit(HookedModule(model, sgd(model)), loader(), ckpt_path=path if how == "ckpt_path" else None)
            runner = bridge.runner
        assert runner.meta["fp16"]["loss_scaler"] == whole.meta["fp16"]["loss_scaler"], how
        for name, value in whole.model.state_dict().items():
            assert torch.equal(model.state_dict()[name], value), (how, name)


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_two_kinds_of_mixed_precision(kit, tmp_path, precision):
    message = rf"Fp16OptimizerHook and Trainer\(precision='{precision}'\) would both bring mixed precision: keep"
    with pytest.raises(HookError, match=message):
        bridged(Fp16OptimizerHook(), tmp_path, kit, precision=precision)


def test_a_fused_optimizer(kit, tmp_path):
    model = Mixed()
    for hook, refused in ((Fp16OptimizerHook(), True), (Fp16OptimizerHook(dtype="bf16"), False)):
        bridge = HookCallback([hook], work_dir=tmp_path, logger=kit.logger)
        fit = kit.trainer(bridge, max_epochs=1).fit
        if refused:
            with pytest.raises(HookError, match=r"cannot tell a fused optimizer under a Trainer .*fused=False"):
                fit(HookedModule(model, sgd(model, fused=True)), loader())
        else:
            fit(HookedModule(model, sgd(model, fused=True)), loader())


@pytest.mark.parametrize("make", [OptimizerHook, GradientCumulativeOptimizerHook])
def test_automatic_optimization_looks_for_no_anomalous_params(kit, make):
    bridge = HookCallback([make(detect_anomalous_params=True)], logger=kit.logger)
    with pytest.raises(ConfigError, match=rf"{make.__name__}\(detect_anomalous_params=True\) looks at the graph"):
        kit.trainer(bridge).fit(kit.Lit(), kit.loader)


def test_an_error_leaves_no_exchange_paused(kit, tmp_path):
    left = []

    class Context:
        def __enter__(self):
            left.append("paused")

        def __exit__(self, *error):
            left.append("resumed")

    model = Mixed()
    model.train_step = lambda data, optimizer: 1 / 0
    bridge = HookCallback(
        [GradientCumulativeOptimizerHook(4, skip_exchange=True)], work_dir=tmp_path, logger=kit.logger
    )
    trainer = kit.trainer(bridge)
    bridge.runner.no_sync = Context
    with pytest.raises(ZeroDivisionError):
        trainer.fit(HookedModule(model, sgd(model)), loader())
    assert left == ["paused", "resumed"]

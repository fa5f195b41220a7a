"""The bridge on a CUDA device: the numbers of a native run there, files of both drivers, no waiting."""

import logging

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmhooks import EMAHook, EpochBasedRunner, Hook, auto_fp16
from mmhooks_lightning import HookCallback, HookedModule

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fp16_enabled = False
        self.body = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))

    @auto_fp16()
    def forward(self, x):
        return self.body(x)

    def train_step(self, data, optimizer=None, **kwargs):
        loss = nn.functional.cross_entropy(self(data[0]).float(), data[1])
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data[0])}

    val_step = train_step


def batches(count=6):
    generator = torch.Generator().manual_seed(3)
    found = []
    for _ in range(count):
        x = torch.randn(16, 8, generator=generator)
        found.append((x.pin_memory(), (x.sum(1) > 0).long().pin_memory()))
    return DataLoader(found, batch_size=None)  # a list would be several loaders to a Trainer


class Cut(Exception):
    pass


class SaveAndCut(Hook):
    def __init__(self, at):
        self.at = at

    def after_train_iter(self, runner):
        if runner.iter == self.at:
            runner.save_checkpoint(runner.work_dir, "cut.pth", create_symlink=False)
            raise Cut


OPTIMIZERS = {
    "plain": {"grad_clip": {"max_norm": 1.0}},
    "fp16": {"type": "Fp16OptimizerHook", "loss_scale": {"init_scale": 2.0**12, "growth_interval": 3}},
    "bf16": {"type": "Fp16OptimizerHook", "dtype": "bf16"},
    "accumulating fp16": {"type": "GradientCumulativeFp16OptimizerHook", "cumulative_iters": 4, "loss_scale": 256.0},
}


def train(driver, folder, optimizer, *hooks, file=None, device="cuda", interval=2):
    torch.manual_seed(0)
    model = Net()
    if driver == "native":
        model = model.to(device)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    if driver == "native":
        target = runner = EpochBasedRunner(model, optimizer=sgd, work_dir=folder, logger=QUIET, max_epochs=3)
    else:
        target = HookCallback(work_dir=folder, logger=QUIET, workflow=[("train", 1)])
        runner = target.runner
    target.register_training_hooks(
        {"policy": "CosineAnnealing", "min_lr": 0.001, "by_epoch": False},
        OPTIMIZERS[optimizer],
        log_config={"interval": interval, "hooks": [{"type": "TextLoggerHook"}]},
    )
    target.register_hook(EMAHook(momentum=0.05), "ABOVE_NORMAL")
    for hook in hooks:
        target.register_hook(hook, "LOWEST")
    try:
        if driver == "native":
            if file is not None:
                runner.resume(file)
            runner.run([batches()], [("train", 1)])
        else:
            trainer = L.Trainer(max_epochs=3, accelerator="cpu" if device == "cpu" else "gpu", devices=1, logger=False,
                                callbacks=[target], enable_checkpointing=False, enable_progress_bar=False,
                                enable_model_summary=False)  # fmt: skip
            trainer.fit(HookedModule(model, sgd), batches(), ckpt_path=file)
    except Cut:
        pass
    return {name: value.cpu() for name, value in model.state_dict().items()}, runner


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_the_numbers_are_those_of_a_native_run(tmp_path, optimizer):
    native, runner = train("native", tmp_path / "native", optimizer)
    bridge, other = train("lightning", tmp_path / "lightning", optimizer)
    assert_equal(native, bridge)
    assert runner.current_lr() == other.current_lr()
    scalers = [dict((one.meta or {}).get("fp16", {})).get("loss_scaler") for one in (runner, other)]
    assert scalers[0] == scalers[1]


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
@pytest.mark.parametrize("order", [("native", "lightning", "native"), ("lightning", "native", "lightning")])
def test_three_legs_end_as_one_run(tmp_path, optimizer, order):
    whole, _ = train("native", tmp_path / "whole", optimizer)
    file = None
    for driver, at in zip(order, (4, 9, None), strict=True):
        end, _ = train(driver, tmp_path, optimizer, *([SaveAndCut(at)] if at else []), file=file)
        file = tmp_path / "cut.pth"
    assert_equal(end, whole)


@pytest.mark.parametrize("driver", ["native", "lightning"])
def test_a_file_of_the_gpu_goes_on_on_the_cpu(tmp_path, driver):
    train("lightning", tmp_path, "plain", SaveAndCut(7))
    end, runner = train(driver, tmp_path, "plain", file=tmp_path / "cut.pth", device="cpu")
    assert runner.iter == 18
    assert all(value.isfinite().all() for value in end.values())


@pytest.mark.parametrize("optimizer", ["plain", "bf16"])
def test_no_wait_between_log_intervals(tmp_path, optimizer):
    class Strict(Hook):
        """The first epoch sets things up; of the second, an iteration's rest is the Trainer's own."""

        def before_train_iter(self, runner):
            if runner.epoch == 1:
                torch.cuda.set_sync_debug_mode("error")

    try:
        _, runner = train("lightning", tmp_path, optimizer, Strict(), interval=1000)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert runner.iter == 18


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_hooks_beside_the_trainers_mixed_precision(tmp_path, precision):
    class Lit(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def training_step(self, batch, batch_idx):
            return self.net.train_step(batch)["loss"]

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def fit(*callbacks):
        torch.manual_seed(0)
        module = Lit()
        trainer = L.Trainer(max_epochs=2, accelerator="gpu", devices=1, precision=precision, callbacks=list(callbacks),
                            logger=False, enable_checkpointing=False, enable_progress_bar=False,
                            enable_model_summary=False)  # fmt: skip
        trainer.fit(module, batches())
        return {name: value.cpu() for name, value in module.net.state_dict().items()}

    hooks = [{"type": "TextLoggerHook", "interval": 2}, {"type": "IterTimerHook"}]
    assert_equal(fit(), fit(HookCallback(hooks, work_dir=tmp_path, logger=QUIET)))

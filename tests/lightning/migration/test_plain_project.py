"""The generated project for the digits, really run; and its callbacks beside the hooks."""

import csv
import json

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from mmhooks import EMAHook, EpochBasedRunner, OptimizerHook
from mmhooks.config import Config
from mmhooks.examples import digits
from mmhooks.plan import plan_run
from mmhooks_lightning.migration import plain
from mmhooks_lightning.migration.plain.settings import config_values
from tests.lightning.migration.projects import planned, run, written
from tests.lightning.migration.test_plain_schedules import recorded

EPOCH_LEN = 45
DIGITS = f"{digits.__path__[0]}/configs/digits_cnn.py"

#: Trains as train.py does, and notes what the optimizer has in every iteration.
RECORD = """
import json
from pathlib import Path

import lightning as L

from builders import build_model, import_modules
from module import Data, Model
from train import build_trainer, read_config


class Recorder(L.Callback):
    lrs, momenta = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        groups = trainer.optimizers[0].param_groups
        self.lrs.append([group["lr"] for group in groups])
        self.momenta.append([group["momentum"] for group in groups])


L.seed_everything(0)
cfg = read_config(Path("configs/one.py"), [])
import_modules(cfg)
trainer = build_trainer(cfg, Path("work"), 1, False)
recorder = Recorder()
trainer.callbacks.append(recorder)
trainer.fit(Model(build_model(cfg), cfg), datamodule=Data(cfg))
Path("recorded.json").write_text(json.dumps([recorder.lrs, recorder.momenta]))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project of the digits, trained for two epochs by its own command."""
    plan = plan_run(Config.fromfile(DIGITS), "mmcv")
    folder = written(tmp_path_factory.mktemp("digits"), [plan], ["digits_cnn"])
    run(folder, "train.py", "configs/digits_cnn.py", "--work-dir", "work", "trainer.max_epochs=2")
    return folder


def test_the_digits_are_learned(project):
    rows = list(csv.DictReader((project / "work/csv/version_0/metrics.csv").open()))
    accuracies = [float(row["accuracy"]) for row in rows if row["accuracy"]]
    assert len(accuracies) == 2
    assert accuracies[-1] > 0.85
    assert any(row["val/loss"] for row in rows)
    assert any(row["lr-SGD"] for row in rows)


def test_the_files_are_those_that_the_row_says(project):
    names = {file.name for file in (project / "work").glob("*.ckpt")}
    assert {"epoch_0.ckpt", "epoch_1.ckpt", "last.ckpt"} <= names
    assert len([name for name in names if name.startswith("best_accuracy_epoch_")]) == 1


@pytest.mark.slow
def test_a_checkpoint_is_judged_and_resumed(project):
    rows = list(csv.DictReader((project / "work/csv/version_0/metrics.csv").open()))
    told = run(project, "test.py", "configs/digits_cnn.py", "work/epoch_1.ckpt")
    assert f"accuracy: {float([row['accuracy'] for row in rows if row['accuracy']][-1]):.5f}" in told
    command = ["train.py", "configs/digits_cnn.py", "--work-dir", "work", "--resume", "work/epoch_1.ckpt"]
    run(project, *command, "trainer.max_epochs=3")
    names = {file.name for file in (project / "work").glob("epoch_*.ckpt")}
    assert names == {"epoch_1.ckpt", "epoch_2.ckpt"}  # max_keep_ckpts=2
    rows = list(csv.DictReader((project / "work/csv/version_1/metrics.csv").open()))
    assert min(int(row["step"]) for row in rows) >= 2 * EPOCH_LEN


@pytest.mark.parametrize("by_epoch", [pytest.param(True, marks=pytest.mark.slow), False])
def test_lr_and_momentum_are_those_of_the_hooks_in_every_iteration(tmp_path, by_epoch):
    cfg = Config.fromfile(DIGITS).to_dict()
    runner = {"type": "EpochBasedRunner", "max_epochs": 2} if by_epoch else {"type": "IterBasedRunner", "max_iters": 60}
    warmup = {"warmup": "exp", "warmup_iters": 7, "warmup_ratio": 0.01}
    changes = {
        "runner": runner,
        "workflow": [("train", 1)],
        "lr_config": {"policy": "poly", "min_lr": 1e-4, "power": 0.9, "by_epoch": False, **warmup},
        "momentum_config": {"policy": "CosineAnnealing", "min_momentum": 0.5, "by_epoch": False},
        "optimizer": {**cfg["optimizer"], "paramwise_cfg": {"norm_decay_mult": 0.0, "bias_lr_mult": 2.0}},
        "evaluation": {"interval": 1 if by_epoch else 25, "metric": "accuracy"},
        "checkpoint_config": {"interval": 1 if by_epoch else 25, "max_keep_ckpts": 1},
    }
    plan = plan_run({**cfg, **changes}, "mmcv")
    folder = written(tmp_path, [plan], ["one"])
    (folder / "record.py").write_text(RECORD)
    run(folder, "record.py")
    lrs, momenta = json.loads((folder / "recorded.json").read_text())
    wanted = recorded(plan, EPOCH_LEN, lrs_at_the_start(plan), by_epoch)
    assert lrs == wanted.lrs
    assert momenta == wanted.momenta
    kept = plain.kept_checkpoints(plan, EPOCH_LEN)
    names = {file.name for file in (folder / "work").glob("*_*.ckpt")}
    assert names == {f"epoch_{epoch - 1}.ckpt" if by_epoch else f"iter_{epoch}.ckpt" for epoch in kept}


def lrs_at_the_start(plan):
    from mmhooks import build_optimizer
    from mmhooks.examples.digits.model import DigitsNet

    return [group["lr"] for group in build_optimizer(DigitsNet(), plan.optimizer).param_groups]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    def train_step(self, data, optimizer):
        return {"loss": self.layers(data[0]).square().mean(), "log_vars": {}, "num_samples": len(data[0])}


class Lit(L.LightningModule):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def training_step(self, batch, batch_idx):
        return self.model.train_step(batch, None)["loss"]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("ema", [{"momentum": 0.3}, {"momentum": 0.3, "interval": 2}, {"momentum": 0.5, "warm_up": 3}])
def test_the_averages_are_those_of_the_hook(tmp_path, ema):
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.randn(12, 3)), batch_size=4)
    start = Net().state_dict()
    native, ours = Net(), Net()
    native.load_state_dict(start)
    ours.load_state_dict(start)

    runner = EpochBasedRunner(native, optimizer=torch.optim.SGD(native.parameters(), lr=0.1), max_epochs=3)
    runner.register_hook(OptimizerHook())
    runner.register_hook(EMAHook(**ema))
    runner.run([loader], [("train", 1)])

    plan = planned(custom_hooks=[{"type": "EMAHook", **ema}])
    names = {"__name__": "callbacks"}
    exec(
        compile(plain.project_files([plan], ["one"])["callbacks.py"], "callbacks.py", "exec", dont_inherit=True), names
    )
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        callbacks=[names["EMA"](**config_values(plan)["ema"])],
        default_root_dir=tmp_path,
    )
    trainer.fit(Lit(ours), loader)
    averaged = dict(native.named_parameters())  # swapped in after the last epoch
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, averaged[name]), name

"""``mmhooks train --launcher pytorch`` in two real processes, against one process with both batches."""

import json
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from mmhooks import EpochBasedRunner, build_optimizer
from mmhooks.checkpoint import read_checkpoint
from mmhooks.cli import app

pytest.importorskip("torchmetrics")
sys.path.insert(0, str(Path(__file__).parents[1]))
from processes import run_ranks

PROJECT = """
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from mmhooks import DATASETS, HOOKS, MODELS, DistEvalHook, get_dist_info

@MODELS.register_module(force=True)
class LaunchedNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, x, y=None, return_loss=True):
        scores = self.body(x)
        return nn.functional.cross_entropy(scores, y) if return_loss else list(scores)

    def train_step(self, data, optimizer=None, **kwargs):
        loss = self(**data)
        return dict(loss=loss, log_vars=dict(loss=loss.detach()), num_samples=len(data["x"]))

    val_step = train_step

@DATASETS.register_module(force=True)
class LaunchedSet(torch.utils.data.Dataset):
    def __init__(self, size, seed=0):
        source = torch.Generator().manual_seed(seed)
        self.x = torch.randn(size, 3, generator=source)
        self.y = self.x.argmax(1)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, index):
        return dict(x=self.x[index], y=self.y[index])

    def evaluate(self, results, logger=None, metric="hits"):
        assert len(results) == len(self)
        return {metric: float((torch.stack(results).argmax(1) == self.y).float().mean())}

@HOOKS.register_module(force=True)
class MeasuredHook(DistEvalHook):
    def __init__(self, **kwargs):
        rank, world_size = get_dist_info()
        loader = DataLoader(LaunchedSet(13, seed=1), batch_size=4, sampler=range(rank, 13, world_size))
        super().__init__(
            loader,
            metrics=MetricCollection({"measured": MulticlassAccuracy(3, average="micro")}),
            predict=lambda model, batch: (model.body(batch["x"]), batch["y"]),
            **kwargs,
        )
"""

CONFIG = """
custom_imports = dict(imports=["launched_project"])
model = dict(type="LaunchedNet")
data = dict(
    samples_per_gpu=4,
    train=dict(type="LaunchedSet", size=24),
    val=dict(type="LaunchedSet", size=13, seed=1),
)
optimizer = dict(type="SGD", lr=0.5, momentum=0.9, weight_decay=0.01, paramwise_cfg=dict(bias_lr_mult=2.0))
optimizer_config = dict(grad_clip=dict(max_norm=0.5))
lr_config = dict(policy="step", step=[2])
checkpoint_config = dict(interval=1)
evaluation = dict(metric="hits")
custom_hooks = [dict(type="MeasuredHook", save_best="measured", rule="greater", priority="LOW")]
log_config = dict(interval=1, hooks=[dict(type="TextLoggerHook")])
dist_params = dict(backend="gloo")
runner = dict(type="EpochBasedRunner", max_epochs=3)
seed = 4
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder for each of two ranks, in which it finds the project and writes what it writes."""
    folders = [tmp_path_factory.mktemp("rank") for _ in range(2)]
    for folder in folders:
        (folder / "launched_project.py").write_text(PROJECT)
        (folder / "config.py").write_text(CONFIG)
    return folders


@pytest.fixture(scope="module")
def trained(folders):
    """What two ranks printed, which have trained in their folders."""
    words = ("train", "config.py", "--work-dir", "work", "--launcher", "pytorch", "--local_rank=0")
    return run_ranks(folders, "-m", "mmhooks", *words)


@pytest.fixture
def project(folders, monkeypatch):
    """The module of the project, imported here."""
    monkeypatch.syspath_prepend(str(folders[0]))
    import launched_project

    yield launched_project
    del sys.modules["launched_project"]


def work(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


class BothBatches:
    """What two ranks load together: batches of 4 from each share of a shuffled order, of another one every epoch."""

    def __init__(self, dataset):
        self.dataset, self.epoch = dataset, -1

    def __len__(self):
        return 3

    def __iter__(self):
        self.epoch += 1
        order = torch.randperm(24, generator=torch.Generator().manual_seed(4 + self.epoch))
        for i in range(0, 12, 4):
            chosen = torch.cat([order[rank::2][i : i + 4] for rank in range(2)])
            yield {"x": self.dataset.x[chosen], "y": self.dataset.y[chosen]}


def test_two_ranks_train_as_one_process_with_both_batches(trained, folders, project):
    torch.manual_seed(4)
    model = project.LaunchedNet()
    cfg = {"type": "SGD", "lr": 0.5, "momentum": 0.9, "weight_decay": 0.01, "paramwise_cfg": {"bias_lr_mult": 2.0}}
    runner = EpochBasedRunner(model, optimizer=build_optimizer(model, cfg), max_epochs=3)
    runner.register_training_hooks({"policy": "step", "step": [2]}, optimizer_config={"grad_clip": {"max_norm": 0.5}})
    runner.run([BothBatches(project.LaunchedSet(24))], [("train", 1)])
    saved = read_checkpoint(folders[0] / "work" / "epoch_3.pth")
    assert saved["meta"]["epoch"] == 3
    for name, value in model.state_dict().items():
        assert torch.allclose(saved["state_dict"][name], value, rtol=0, atol=1e-6)


def test_the_evaluations_are_those_of_one_process(trained, folders, project):
    log = (folders[0] / "work").glob("*.log.json")
    lines = [json.loads(line) for line in next(log).read_text().splitlines()]
    values = [line for line in lines if "hits" in line]
    assert [line["epoch"] for line in values] == [1, 2, 3]
    val = project.LaunchedSet(13, seed=1)
    for line in values:
        model = project.LaunchedNet()
        model.load_state_dict(read_checkpoint(folders[0] / "work" / f"epoch_{line['epoch']}.pth")["state_dict"])
        hits = (model.body(val.x).argmax(1) == val.y).float().mean().item()
        assert (line["hits"], line["measured"]) == pytest.approx((hits, hits), abs=1e-4)


def test_only_rank_0_writes(trained, folders):
    files = work(folders[0])
    assert {"epoch_1.pth", "epoch_2.pth", "epoch_3.pth", "latest.pth"} < set(files)
    assert len([name for name in files if name.startswith("best_measured_epoch_")]) == 1
    assert len([name for name in files if name.endswith(".log")]) == 1
    assert work(folders[1]) == ["config.py", "launched_project.py"]
    assert "Start running" in trained[0]
    assert "Trained for 3 epochs" in trained[0]
    assert trained[1] == ""


def test_the_lightning_driver_trains_as_the_native_one(trained, folders, tmp_path):
    ranks = [tmp_path / "0", tmp_path / "1"]
    for folder in ranks:
        folder.mkdir()
        (folder / "launched_project.py").write_text(PROJECT)
        (folder / "config.py").write_text(CONFIG)
    words = ("train", "config.py", "--driver", "lightning", "--work-dir", "work", "--launcher", "pytorch")
    printed = run_ranks(ranks, "-m", "mmhooks", *words)
    assert "Trained for 3 epochs" in printed[0]
    assert work(ranks[1]) == ["config.py", "launched_project.py"]
    files = [name for name in work(folders[0]) if name.endswith(".pth")]
    assert [name for name in work(ranks[0]) if name.endswith(".pth")] == files
    for name in files:
        native, bridge = (read_checkpoint(folder / "work" / name)["state_dict"] for folder in (folders[0], ranks[0]))
        assert native.keys() == bridge.keys()
        assert all(native[key].equal(bridge[key]) for key in native), name


@pytest.fixture
def alone(folders, monkeypatch, project):
    """Call the command here, as the only process of a launcher."""
    monkeypatch.chdir(folders[0])
    given = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 0}
    for name, value in given.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    return lambda *words: CliRunner().invoke(app, ["train", "config.py", "--launcher", *map(str, words)])


def test_one_process_of_a_launcher_trains_as_without(alone, tmp_path):
    for name, launcher in (("a", "pytorch"), ("b", "none")):
        result = alone(launcher, "--work-dir", tmp_path / name, "--cfg-options", "custom_hooks=None")
        assert result.exit_code == 0, result.output
    first, second = (read_checkpoint(tmp_path / name / "latest.pth")["state_dict"] for name in "ab")
    assert all(first[key].equal(second[key]) for key in second)
    assert not torch.distributed.is_initialized()


def test_seeds_and_determinism_are_options(alone, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    options = ("--seed", 6, "--diff-seed", "--deterministic", "--work-dir", tmp_path)
    result = alone("none", *options, "--cfg-options", "custom_hooks=None")
    assert result.exit_code == 0, result.output
    assert read_checkpoint(tmp_path / "latest.pth")["meta"]["seed"] == 6
    assert torch.backends.cudnn.deterministic


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["pytroch"], 2, "pytroch"),
        (["pytorch", "--cfg-options", "dist_params=nccl"], 1, "dist_params must be a dict such as"),
        (["pytorch", "--cfg-options", "optimizer.type=SDG"], 1, "did you mean 'SGD'"),
        (["mpi"], 1, "reads OMPI_COMM_WORLD_RANK"),
        (["slurm"], 1, "reads SLURM_PROCID"),
        (["pytorch", "--cfg-options", "dist_params.backend=glo"], 1, "did you mean 'gloo'"),
    ],
)
def test_mistakes_say_what_to_write(alone, words, code, says):
    result = alone(*words)
    assert result.exit_code == code
    assert says in result.output
    assert not torch.distributed.is_initialized()

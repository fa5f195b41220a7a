"""``mmhooks checkpoint``: show, verify, convert."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from mmhooks import CheckpointHook, EpochBasedRunner
from mmhooks.checkpoint import load_checkpoint, read_checkpoint, save_checkpoint, write_checkpoint
from mmhooks.cli import app

RECORDED = Path(__file__).parents[1] / "golden" / "exchanged"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def train_step(self, data, optimizer=None, **kwargs):
        return {"loss": self.head(self.body(data)).square().sum(), "log_vars": {}, "num_samples": 1}


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def call(*words, status=0):
    result = CliRunner().invoke(app, ["checkpoint", *map(str, words)])
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.output


def shown(file):
    return json.loads(call(file, "--json"))


def trained(folder, config="model = dict(type='Net')\nlr = 0.1 * 2\n"):
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    runner = EpochBasedRunner(net, optimizer=optimizer, work_dir=str(folder), max_epochs=2, meta={"config": config})
    runner.register_optimizer_hook({})
    runner.register_hook(CheckpointHook(1, max_keep_ckpts=1))
    runner.run([[torch.ones(2, 3)] * 3], [("train", 1)])
    return folder / "epoch_2.pth"


# show ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "writer"),
    [
        ("epochs.pth", "MMCV", "mmcv 1.7.2"),
        ("two_optimizers.pth", "MMCV", "mmcv 1.7.2"),
        ("mmengine.pth", "MMEngine", "mmengine 0.10.7"),
    ],
)
def test_recorded_files(name, kind, writer):
    found = shown(RECORDED / name)
    content = read_checkpoint(RECORDED / name)
    assert (found["kind"], found["written_by"]) == (kind, writer)
    assert (found["epoch"], found["iter"]) == (content["meta"]["epoch"], content["meta"]["iter"])
    assert found["weights"]["tensors"] == len(content["state_dict"])
    assert found["weights"]["numbers"] == sum(value.numel() for value in content["state_dict"].values())
    assert found["weights"]["bytes"] == sum(value.nbytes for value in content["state_dict"].values())
    assert "refused" not in found


def test_a_file_of_ours(tmp_path):
    found = shown(trained(tmp_path))
    assert found["kind"] == "mmhooks"
    assert found["modules"]["body"] == {"tensors": 2, "numbers": 16, "bytes": 64}
    assert found["optimizers"]["optimizer"] == {"groups": 1, "parameters": 4, "lr": [0.1], "tensors": 4, "bytes": 104}
    assert found["hooks"]["CheckpointHook"] == [{"kept": ["epoch_2.pth"], "folder": str(tmp_path)}]
    assert found["position"]["iters"] == 6
    assert found["config"] == {"model": {"type": "Net"}, "lr": 0.2}


def test_the_table_says_the_same(tmp_path):
    file = trained(tmp_path)
    output = call("show", file)
    assert output == call(file)
    for word in ("mmhooks", "epoch_2.pth", "body", "optimizer", "position", "config"):
        assert word in output


def test_a_config_is_not_run(tmp_path):
    found = shown(trained(tmp_path, f"__import__('os').mkdir({str(tmp_path / 'ran')!r})"))
    assert "not read" in found["config"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("legacy", [True, False])
def test_what_would_run_is_named_and_not_run(tmp_path, legacy):
    content = {"meta": {"epoch": 1, "x": Evil()}, "state_dict": {"w": torch.ones(2)}}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    found = shown(tmp_path / "a.pth")
    assert found["refused"] == ["builtins.exec"]
    assert found["meta"]["x"] == "<builtins.exec>"
    assert "refused because of builtins.exec" in call(tmp_path / "a.pth")
    assert found["format"].startswith("before torch 1.6" if legacy else "zip")


@pytest.mark.parametrize(
    "dtype", [torch.bfloat16, torch.float16, torch.int64, torch.bool, torch.complex64, torch.uint16]
)
def test_types_of_numbers(tmp_path, dtype):
    write_checkpoint({"a.w": torch.ones(2, 3).to(dtype), "a.p": nn.Parameter(torch.ones(2))}, tmp_path / "a.pth")
    found = shown(tmp_path / "a.pth")
    assert found["kind"] == "weights"
    assert found["weights"]["types"][str(dtype).removeprefix("torch.")] == 1
    assert found["weights"]["bytes"] == 6 * dtype.itemsize + 8


def test_no_file_and_no_checkpoint(tmp_path):
    assert "there is no checkpoint" in call(tmp_path / "a.pth", status=2)
    (tmp_path / "a.pth").write_bytes(b"no checkpoint")
    assert "is no checkpoint, or a broken one" in call(tmp_path / "a.pth", status=1)


# verify -------------------------------------------------------------------------------------------------------


def test_verify_a_folder(tmp_path):
    shutil.copytree(RECORDED, tmp_path / "sub")
    rows = json.loads(call("verify", tmp_path, "--json"))
    assert [(Path(row["file"]).name, row["ok"], row["checksums"]) for row in rows] == [
        (name, True, "right") for name in ("epochs.pth", "iters.pth", "mmengine.pth", "two_optimizers.pth")
    ]
    whole = bytearray((tmp_path / "sub" / "epochs.pth").read_bytes())
    whole[
        whole.index(read_checkpoint(tmp_path / "sub" / "epochs.pth")["state_dict"]["first.weight"].numpy().tobytes())
    ] ^= 1
    (tmp_path / "sub" / "epochs.pth").write_bytes(whole)
    torch.save({"meta": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "latest.pth").symlink_to("gone.pth")
    torch.save({"w": torch.ones(1)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    rows = {Path(row["file"]).name: row for row in json.loads(call("verify", tmp_path, "--json", status=1))}
    assert "is damaged" in rows["epochs.pth"]["result"]
    assert "builtins.exec" in rows["evil.pth"]["result"]
    assert "there is no checkpoint" in rows["latest.pth"]["result"]
    assert (rows["old.pt"]["ok"], rows["old.pt"]["checksums"]) == (True, "none")
    assert "is damaged" in call("verify", tmp_path / "sub" / "epochs.pth", status=1).replace("\n", " ")


def test_an_empty_folder(tmp_path):
    assert "holds no checkpoint" in call("verify", tmp_path, status=1)


# convert ------------------------------------------------------------------------------------------------------


def test_to_safetensors_and_back(tmp_path):
    pytest.importorskip("safetensors")
    output = call("convert", RECORDED / "epochs.pth", tmp_path / "w.safetensors")
    assert "not carried optimizer: a file of safetensors holds weights alone" in output
    output = call("convert", tmp_path / "w.safetensors", tmp_path / "w.pth")
    assert "not carried the position" in output
    before, after = (
        read_checkpoint(RECORDED / "epochs.pth")["state_dict"],
        read_checkpoint(tmp_path / "w.pth")["state_dict"],
    )
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert shown(tmp_path / "w.safetensors")["weights"] == shown(RECORDED / "epochs.pth")["weights"] | {
        "types": {"int64": 1, "float32": 8}
    }


@pytest.mark.parametrize("name", ["epochs.pth", "two_optimizers.pth"])
def test_mmcv_to_lightning_and_back(tmp_path, name):
    output = call("convert", RECORDED / name, tmp_path / "a.ckpt")
    assert "not carried loops" in output
    found = shown(tmp_path / "a.ckpt")
    assert found["kind"] == "Lightning"
    call("convert", tmp_path / "a.ckpt", tmp_path / "b.pth")
    before, after = read_checkpoint(RECORDED / name), read_checkpoint(tmp_path / "b.pth")
    assert before["meta"] == after["meta"]
    assert str(before["optimizer"]) == str(after["optimizer"])


@pytest.mark.parametrize("every", [{"every_n_epochs": 1}, {"every_n_train_steps": 4}])
def test_a_file_of_lightning_is_resumed_natively(tmp_path, every):
    """ModelCheckpoint's file of an ordinary module, at the end of an epoch and in the middle of one."""
    pl = pytest.importorskip("lightning")
    from lightning.pytorch.callbacks import ModelCheckpoint

    class Lit(pl.LightningModule):
        def __init__(self, folder):
            super().__init__()
            self.save_hyperparameters()
            self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

        def training_step(self, batch, index):
            return self.head(self.body(batch)).square().sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9)

    saver = ModelCheckpoint(tmp_path, filename="{epoch}-{step}", save_top_k=-1, **every)
    trainer = pl.Trainer(
        max_epochs=2,
        callbacks=[saver],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    data = torch.utils.data.DataLoader(torch.ones(3, 3), batch_size=1)
    trainer.fit(Lit(Path("a")), data)
    files = sorted(tmp_path.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
    first = files[0]
    assert shown(first)["kind"] == "Lightning"
    output = call("convert", first, tmp_path / "a.pth")
    assert "not carried loops" in output
    assert "not carried hyper_parameters" in output

    net = Net()
    runner = EpochBasedRunner(
        net,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9),
        work_dir=str(tmp_path / "work"),
        max_epochs=2,
    )
    runner.register_optimizer_hook({})
    runner.resume(tmp_path / "a.pth")
    assert (runner.epoch, runner.iter) == ((1, 3) if "every_n_epochs" in every else (1, 4))
    runner.run([[torch.ones(1, 3)] * 3], [("train", 1)])
    if "every_n_epochs" in every:
        trained = read_checkpoint(files[-1])["state_dict"]
        assert all(torch.equal(trained[name], value) for name, value in net.state_dict().items())


def test_what_is_refused(tmp_path):
    save_checkpoint(Net(), str(tmp_path / "a.pth"))
    assert "--to mmcv, lightning or safetensors" in call("convert", tmp_path / "a.pth", tmp_path / "b", status=1)
    misuse = call("convert", tmp_path / "a.pth", tmp_path / "b.pth", "--to", "mmvc", status=2)
    assert "'mmvc' is not one of 'mmcv', 'lightning', 'safetensors'; did you mean 'mmcv'?" in misuse
    assert "is there already; --force replaces it" in call("convert", tmp_path / "a.pth", tmp_path / "a.pth", status=1)
    assert "by its own conversion" in call("convert", tmp_path / "a.pth", tmp_path / "a.pth", "--force", status=1)
    torch.save({"meta": Evil(), "state_dict": {}}, tmp_path / "evil.pth")
    assert "builtins.exec" in call("convert", tmp_path / "evil.pth", tmp_path / "b.ckpt", status=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth", "evil.pth"]
    call("convert", tmp_path / "a.pth", tmp_path / "b", "--to", "lightning")
    load_checkpoint(Net(), tmp_path / "b", strict=True)

"""CheckpointHook(async_save=True) under a Trainer writes the Trainer's own files, beside the run."""

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from mmhooks import CheckpointError, CheckpointHook, OptimizerHook
from mmhooks.checkpoint import read_checkpoint
from mmhooks_lightning import HookCallback, HookedModule


class Own(TorchCheckpointIO):
    """A way to write files of somebody's own."""

    written = 0

    def save_checkpoint(self, *args, **kwargs):
        Own.written += 1
        super().save_checkpoint(*args, **kwargs)


def train(kit, folder, until=3, hooked=True, plugins=None, ckpt_path=None, **arguments):
    torch.manual_seed(0)
    module, hooks = kit.Lit(), []
    if hooked:
        model = kit.Model()
        module = HookedModule(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
        hooks = [OptimizerHook()]
    callback = HookCallback([*hooks, CheckpointHook(1, max_keep_ckpts=2, **arguments)], work_dir=folder)
    kit.trainer(callback, max_epochs=until, plugins=plugins).fit(module, kit.loader, ckpt_path=ckpt_path)
    return {path.name: read_checkpoint(path) for path in sorted(folder.glob("*.pth"))}


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            same(value, other[key]) for key, value in one.items() if key not in ("time", "folder", "last_ckpt")
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@pytest.mark.parametrize("hooked", [True, False])
def test_the_files_are_the_same(kit, hooked):
    sync = train(kit, kit.folder / "sync", hooked=hooked)
    beside = train(kit, kit.folder / "async", hooked=hooked, async_save=True)
    assert list(sync) == ["epoch_2.pth", "epoch_3.pth", "latest.pth"]
    assert same(sync, beside)
    assert "pytorch-lightning_version" in beside["epoch_2.pth"]


def test_a_trainer_goes_on_from_such_a_file(kit):
    whole = train(kit, kit.folder / "whole", until=4)
    train(kit, kit.folder / "half", until=2, async_save=True)
    rest = train(kit, kit.folder / "half", until=4, async_save=True, ckpt_path=kit.folder / "half" / "epoch_2.pth")
    assert list(rest) == ["epoch_2.pth", "epoch_3.pth", "epoch_4.pth", "latest.pth"]
    assert same(whole["epoch_4.pth"]["state_dict"], rest["epoch_4.pth"]["state_dict"])


def test_somebodys_own_way_to_write_is_kept(kit):
    Own.written = 0
    found = train(kit, kit.folder / "own", plugins=Own(), async_save=True)
    assert Own.written == 3
    assert list(found) == ["epoch_2.pth", "epoch_3.pth", "latest.pth"]


@pytest.mark.parametrize("async_save", [True, False])
@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_a_file_that_cannot_be_written(kit, async_save, on_error, caplog):
    (kit.folder / "work" / "epoch_2.pth" / "x").mkdir(parents=True)
    if on_error == "raise":
        with pytest.raises(
            CheckpointError, match=r"epoch_2\.pth could not be written.*newest checkpoint is .*epoch_1\.pth"
        ):
            train(kit, kit.folder / "work", async_save=async_save)
        return
    torch.manual_seed(0)
    callback = HookCallback([CheckpointHook(1, async_save=async_save, on_error="warn")], work_dir=kit.folder / "work")
    kit.trainer(callback, max_epochs=3).fit(kit.Lit(), kit.loader)
    assert (kit.folder / "work" / "epoch_3.pth").is_file()
    assert "the run goes on, since on_error='warn'" in caplog.text

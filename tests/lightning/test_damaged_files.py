"""What ``trainer.fit(ckpt_path=...)`` reads is compared with its checksums, and nothing in it is run."""

import pytest
import torch
from lightning.fabric.plugins import TorchCheckpointIO

from mmhooks import CheckpointError, CheckpointHook
from mmhooks_lightning import HookCallback


class Named(TorchCheckpointIO):
    """A way to read files of somebody's own."""


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


@pytest.fixture
def saved(kit):
    callback = HookCallback([CheckpointHook(1)], work_dir=kit.folder)
    kit.trainer(callback, max_epochs=1).fit(kit.Lit(), kit.loader)
    return kit.folder / "epoch_1.pth"


def go_on(kit, file, **arguments):
    plugins = arguments.pop("plugins", None)
    trainer = kit.trainer(HookCallback([], work_dir=kit.folder), max_epochs=2, plugins=plugins)
    trainer.fit(kit.Lit(), kit.loader, ckpt_path=file, **arguments)
    return trainer


@pytest.mark.parametrize("plugins", [None, Named()])
def test_a_flipped_bit(kit, saved, plugins):
    whole = bytearray(saved.read_bytes())
    weight = torch.load(saved, weights_only=True)["state_dict"]["net.weight"].numpy().tobytes()
    assert go_on(kit, saved, plugins=plugins).current_epoch == 2
    whole[whole.index(weight) + 3] ^= 64
    saved.write_bytes(whole)
    with pytest.raises(CheckpointError, match=r"epoch_1\.pth is damaged: its part .* is not what was written"):
        go_on(kit, saved, plugins=plugins)
    assert torch.load(saved, weights_only=True)["state_dict"]["net.weight"].numpy().tobytes() != weight


@pytest.mark.parametrize("legacy", [True, False])
def test_code_is_refused(kit, saved, legacy):
    content = torch.load(saved, weights_only=True)
    torch.save({**content, "evil": Evil()}, saved, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"unpickling runs code: builtins\.exec\."):
        go_on(kit, saved)
    with pytest.raises(SystemExit):  # asked for by name
        go_on(kit, saved, weights_only=False)


def test_a_legacy_file_is_read_with_a_warning(kit, saved, caplog):
    torch.save(torch.load(saved, weights_only=True), saved, _use_new_zipfile_serialization=False)
    assert go_on(kit, saved).current_epoch == 2
    assert caplog.text.count("epoch_1.pth cannot be verified") == 1

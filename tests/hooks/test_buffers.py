"""SyncBuffersHook in two real processes; what they do is in buffers_worker.py."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from mmhooks import ConfigError, EpochBasedRunner, SyncBuffersHook

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from processes import run_ranks  # noqa: E402


@pytest.mark.parametrize("distributed", [True, False])
def test_two_ranks(tmp_path, distributed):
    folders = [tmp_path / "0", tmp_path / "1"]
    for folder in folders:
        folder.mkdir()
    run_ranks(folders, HERE / "buffers_worker.py", distributed)
    one, other = (torch.load(folder / "buffers.pt") for folder in folders)
    for before, after in ((0, 1), (2, 3)):  # of both epochs
        for name in ("norm.running_mean", "norm.running_var"):
            mean = (one[before][name] + other[before][name]) / 2
            assert not torch.equal(one[before][name], other[before][name])
            if distributed:
                assert torch.allclose(one[after][name], mean)
                assert torch.equal(one[after][name], other[after][name])
            else:
                assert torch.equal(one[after][name], one[before][name])
        assert one[after]["norm.num_batches_tracked"] == one[before]["norm.num_batches_tracked"]


def test_a_single_process_keeps_its_buffers():
    class Norm(nn.BatchNorm1d):
        def train_step(self, data, optimizer=None):
            return {"loss": self(data).sum()}

    models = [Norm(3), Norm(3)]
    for model, hooks in zip(models, ([], [SyncBuffersHook()]), strict=True):
        runner = EpochBasedRunner(model, max_epochs=1)
        for hook in hooks:
            runner.register_hook(hook)
        runner.run([[torch.arange(6.0).view(2, 3)]], [("train", 1)])
    assert all(map(torch.equal, models[0].buffers(), models[1].buffers()))
    assert models[0].running_mean.tolist() != [0, 0, 0]


def test_only_true_or_false():
    with pytest.raises(ConfigError, match="SyncBuffersHook's distributed must be True or False, not None"):
        SyncBuffersHook(distributed=None)

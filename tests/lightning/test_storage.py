"""Checkpoints of a run under a Trainer, in a store that fsspec reaches."""

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from mmhooks import CheckpointError, CheckpointHook, EpochBasedRunner
from mmhooks.checkpoint import read_checkpoint
from mmhooks_lightning import HookCallback, HookedModule

HOOKS = [({"type": "OptimizerHook"}, "ABOVE_NORMAL")]


@pytest.fixture
def store():
    MemoryFileSystem.store.clear()
    return MemoryFileSystem.store


def module(kit):
    torch.manual_seed(0)
    model = kit.Model()
    return HookedModule(model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))


def bridge(kit, *hooks):
    return HookCallback([*HOOKS, *hooks], work_dir=kit.folder / "run", logger=kit.logger)


def test_written_to_a_store_and_resumed_from_it(kit, store):
    hook = CheckpointHook(1, out_dir="memory://bucket", max_keep_ckpts=1)
    kit.trainer(bridge(kit, hook), max_epochs=2).fit(module(kit), kit.loader)
    assert list(store) == ["/bucket/run/epoch_2.pth"]
    assert list((kit.folder / "run").iterdir()) == []

    whole = module(kit)
    kit.trainer(bridge(kit), max_epochs=4).fit(whole, kit.loader)
    again, callback = module(kit), bridge(kit)
    callback.resume("memory://bucket/run/epoch_2.pth")
    kit.trainer(callback, max_epochs=4).fit(again, kit.loader)
    assert (callback.runner.epoch, callback.runner.iter) == (4, 20)
    assert torch.equal(again.model.net.weight, whole.model.net.weight)

    model = kit.Model()
    native = EpochBasedRunner(model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    native.resume("memory://bucket/run/epoch_2.pth")
    assert (native.epoch, native.iter) == (2, 10)


def test_a_failing_upload_leaves_the_old_file(kit, store):
    class Full(MemoryFileSystem):
        protocol = "full"

        def put_file(self, lpath, rpath, **kwargs):
            if self.store:
                raise OSError("quota")
            super().put_file(lpath, rpath, **kwargs)

        @classmethod
        def _strip_protocol(cls, path):
            return MemoryFileSystem._strip_protocol(path.replace("full://", "memory://"))

    fsspec.register_implementation("full", Full, clobber=True)
    callback = bridge(kit, CheckpointHook(1, out_dir="full://b", max_keep_ckpts=1))
    with pytest.raises(CheckpointError, match=r"full://b/run/epoch_2\.pth could not be written"):
        kit.trainer(callback).fit(module(kit), kit.loader)
    assert list(store) == ["/b/run/epoch_1.pth"]
    assert read_checkpoint("full://b/run/epoch_1.pth")["meta"]["epoch"] == 1

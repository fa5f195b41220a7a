"""Hooks of mmcv in two real processes; what they do is in ranks_worker.py."""

import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from processes import run_ranks  # noqa: E402


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks([folder, folder], HERE / "ranks_worker.py", timeout=300)
    return [torch.load(folder / f"seen{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize(
    "run", ["native, theirs", "native, ours", "native, replaced", "trainer, replaced", "trainer, ours"]
)
def test_ranks_agree(ranks, run):
    one, other = (rank[run] for rank in ranks)
    assert one["iter"] == other["iter"] == 8
    assert torch.equal(one["weights"], other["weights"])


def test_natively_a_step_of_a_projects_own_is_right(ranks):
    theirs, ours = ranks[0]["native, theirs"], ranks[0]["native, ours"]
    assert torch.equal(theirs["weights"], ours["weights"])
    assert theirs["files"] == ours["files"] == ["epoch_1.pth", "epoch_2.pth", "latest.pth"]


def test_under_a_trainer_it_is_refused_since_ranks_would_drift(ranks):
    assert torch.equal(ranks[0]["trainer, ours"]["weights"], ranks[0]["native, ours"]["weights"])
    one, other = (rank["not refused"]["weights"] for rank in ranks)
    assert not torch.equal(one, other)
    for rank in ranks:
        step, save, best = rank["refused"]
        assert "Theirs calls loss.backward()" in step
        assert "derive it from mmhooks.OptimizerHook" in step
        assert "Kept may save a checkpoint on some ranks alone" in save
        assert "derive it from mmhooks.CheckpointHook" in save
        assert "derive it from mmhooks.EvalHook" in best


def test_mmcvs_own_are_replaced(ranks):
    native, trainer = ranks[0]["native, replaced"], ranks[0]["trainer, replaced"]
    assert torch.equal(native["weights"], trainer["weights"])
    assert native["files"] == trainer["files"]
    assert any(name.startswith("best_loss_epoch_") for name in native["files"])
    assert {rank[run]["best"] for rank in ranks for run in ("native, replaced", "trainer, replaced")} == {
        native["best"]
    }


def test_buffers_are_averaged(ranks):
    """mmcv's own SyncBuffersHook fails at the counter of a BatchNorm."""
    assert torch.equal(ranks[0]["native, replaced"]["mean"], ranks[1]["native, replaced"]["mean"])
    assert not torch.equal(ranks[0]["native, ours"]["mean"], ranks[1]["native, ours"]["mean"])

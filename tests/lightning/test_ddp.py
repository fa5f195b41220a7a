"""Two real processes of a Trainer; what they do is in ddp_worker.py."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmhooks.checkpoint import read_checkpoint

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from processes import run_ranks  # noqa: E402


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two ranks has seen, in a folder of its own."""
    folders = [tmp_path_factory.mktemp("rank") for _ in range(2)]
    run_ranks(folders, HERE / "ddp_worker.py", folders[0] / "seen", timeout=300)
    return [torch.load(folders[0] / f"seen{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("run", ["epochs", "iterations", "unused"])
def test_a_hooked_module_has_the_weights_of_a_native_run(ranks, run):
    """Bit for bit, averages and buffers too, under the same policy of exchange; rank 0 alone writes."""
    for rank, seen in enumerate(ranks):
        native, bridge = seen["same"][run]
        assert native["weights"].keys() == bridge["weights"].keys()
        assert any(name.startswith("ema_") for name in native["weights"])
        assert all(value.equal(bridge["weights"][name]) for name, value in native["weights"].items())
        assert native["files"] == bridge["files"]
        assert bool(bridge["files"]) == (rank == 0)
        assert bridge["place"] == (rank, 2, 9 if run == "iterations" else 12)
    parameters = [{k: v for k, v in seen["same"][run][1]["weights"].items() if "running" not in k} for seen in ranks]
    assert all(value.equal(parameters[1][name]) for name, value in parameters[0].items())


def test_an_ordinary_module_with_hooks(ranks):
    """Ranks stay equal, each sees its own part of the data, and rank 0 alone writes."""
    first, second = (seen["ordinary"] for seen in ranks)
    for name, value in first["weights"].items():
        assert "running" in name or value.equal(second["weights"][name])
    assert first["files"][-3:] == ["epoch_1.pth", "epoch_2.pth", "latest.pth"]
    assert len(first["files"]) == 4  # and the log
    assert second["files"] == []
    assert (first["place"], second["place"]) == ((0, 2, 12), (1, 2, 12))
    assert len(first["losses"]) == 12
    assert first["losses"] != second["losses"]
    assert first["v"] == second["v"]
    assert [line["iter"] for line in first["lines"] if line.get("mode") == "train"] == [2, 4, 6] * 2
    assert [line["epoch"] for line in first["lines"] if "hits" in line] == [1, 2]


def test_should_stop_on_several_ranks(ranks):
    """At an epoch's end what one rank decides holds for all; in between all have to decide it."""
    for seen in ranks:
        assert seen["all at an end"] == seen["one at an end"] == (1, 6)
        assert seen["all in between"] == (1, 3)


def test_a_sampler_that_shares_the_data_itself(ranks):
    assert all("write Trainer(use_distributed_sampler=False)" in seen["refused"]["sampler"] for seen in ranks)


def test_sync_batchnorm_on_a_cpu(ranks):
    assert all("sync_batchnorm" in seen["refused"]["sync_batchnorm"] for seen in ranks)


def test_hooks_that_need_whole_parameters_under_a_sharded_strategy(ranks):
    for seen in ranks:
        said = seen["refused"]
        assert "write strategy='ddp'" in said["hooked fsdp"]
        for name in ("ema", "ema fsdp"):
            assert "EMAHook averages whole parameters" in said[name]
            assert "EMAWeightAveraging(decay=0.9998)" in said[name]
        assert "let lightning.pytorch.callbacks.ModelCheckpoint save" in said["checkpoint"]


def test_other_hooks_under_a_sharded_strategy(ranks):
    for rank, seen in enumerate(ranks):
        assert len(seen["sharded"]["losses"]) == 12
        assert all(math.isfinite(loss) for loss in seen["sharded"]["losses"])
        assert seen["sharded"]["points"] == ["after_run"]
        assert len(seen["sharded"]["keys"]) == (rank == 0)
        assert all(
            "optimizer" not in keys and {"meta", "optimizer_states"} < set(keys) for keys in seen["sharded"]["keys"]
        )


@pytest.mark.parametrize("strategy", ["ddp_notebook", pytest.param("ddp_spawn", marks=pytest.mark.slow)])
def test_processes_that_the_trainer_starts(tmp_path, strategy):
    """The callback travels to them; the weights come back, and the files are there."""
    subprocess.run(
        [sys.executable, HERE / "spawn_worker.py", strategy, "seen.pt"], cwd=tmp_path, check=True, timeout=300
    )
    seen = torch.load(tmp_path / "seen.pt")
    assert seen["files"] == ["epoch_1.pth", "epoch_2.pth", "latest.pth"]
    saved = read_checkpoint(tmp_path / "work" / "epoch_2.pth")["state_dict"]
    assert set(seen["weights"]) == {"net.weight", "net.bias"}
    assert all(value.equal(saved[name]) for name, value in seen["weights"].items())

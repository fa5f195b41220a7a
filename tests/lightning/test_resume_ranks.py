"""Runs of two real processes, cut and resumed under either driver; what they do is in resume_worker.py."""

import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from processes import run_ranks  # noqa: E402


def test_three_legs_of_two_ranks_end_as_one_run(tmp_path):
    """Cut inside an epoch and a group of accumulated gradients, which DistributedDataParallel has exchanged."""
    run_ranks([tmp_path, tmp_path], HERE / "resume_worker.py")
    for seen in (torch.load(tmp_path / f"seen{rank}.pt") for rank in (0, 1)):
        assert len(seen) == 6
        whole = seen.pop("whole")
        for name, end in seen.items():
            for key, value in whole["weights"].items():
                assert torch.equal(end["weights"][key], value), (name, key)
            for i, state in whole["optimizer"]["state"].items():
                assert torch.equal(end["optimizer"]["state"][i]["momentum_buffer"], state["momentum_buffer"]), name
    assert sorted(path.name for path in (tmp_path / "native-lightning-native").glob("epoch_*")) == ["epoch_3.pth"]

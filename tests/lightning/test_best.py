"""The best checkpoint of two processes of a Trainer that judge differently; what they do is in best_worker.py."""

import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from processes import run_ranks  # noqa: E402


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Give what each rank saw, and the folder of both."""
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks([folder, folder], HERE / "best_worker.py")
    return [torch.load(folder / f"seen{rank}.pt") for rank in (0, 1)], folder


@pytest.mark.parametrize(
    ("case", "score", "file"),
    [
        ("other bests", 3, "best_acc_epoch_2.pth"),
        ("a zero", 2, "best_acc_epoch_3.pth"),
        ("other names", 2, "best_acc_epoch_2.pth"),
    ],
)
def test_rank_0_decides_for_all(seen, case, score, file):
    """Saving takes all ranks, so that one which decided alone would wait for the others without end."""
    ranks, folder = seen
    assert [rank[case] for rank in ranks] == [{"score": score, "file": file, "rule": "greater"}] * 2
    assert [path.name for path in (folder / case).glob("*.pth")] == [file]

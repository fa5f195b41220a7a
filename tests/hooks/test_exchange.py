"""Accumulation in two real processes: what they exchange is counted; what they do is in exchange_worker.py."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from mmhooks import GradientCumulativeOptimizerHook, IterBasedRunner

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from processes import run_ranks  # noqa: E402

WORKER = HERE / "exchange_worker.py"
spec = importlib.util.spec_from_file_location("exchange_worker", WORKER)
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks([folder, folder], WORKER, folder / "seen")
    return [torch.load(folder / f"seen{rank}.pt") for rank in (0, 1)]


def weights_of_one_process(group):
    """Train on both ranks' batches at once, in this process."""
    model = worker.Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    runner = IterBasedRunner(model, optimizer=optimizer, logger=worker.QUIET, max_iters=worker.ITERATIONS)
    runner.register_hook(GradientCumulativeOptimizerHook(group))
    data = worker.batches()
    runner.run([data, data], [("train", 3), ("val", 1)])
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_quarter_of_the_exchanges(seen):
    for rank in seen:
        assert rank["always"]["exchanges"] == 8
        assert rank["skipping"]["exchanges"] == 2
        assert rank["fp16"]["exchanges"] == 2
        assert rank["rest"]["exchanges"] == 3  # 3 + 3 + 2 iterations


@pytest.mark.parametrize(("name", "group"), [("always", 4), ("skipping", 4), ("fp16", 4), ("rest", 3)])
def test_the_weights_of_one_process_with_the_whole_batch(seen, name, group):
    one, other = (rank[name]["weights"] for rank in seen)
    assert torch.equal(one, other)
    assert torch.allclose(one, weights_of_one_process(group), rtol=0, atol=1e-6)
    assert (one - seen[0]["always"]["weights"]).abs().max() < (1e-6 if group == 4 else 1)


@pytest.mark.parametrize("where", ["train_step", "before_train_iter", "after_train_iter"])
def test_an_error_inside_a_group(seen, where):
    """The exchange is on again, and a run from the start exchanges as often as it should."""
    for rank in seen:
        assert rank[where]["message"] == "told to fail"
        assert rank[where]["exchanging after"]
        assert rank[where]["exchanging"]
        assert rank[where]["exchanges"] == 2
    assert torch.equal(*(rank[where]["weights"] for rank in seen))

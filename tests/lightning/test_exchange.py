"""Accumulation in two real processes of a Trainer; what they do is in exchange_worker.py."""

import importlib.util
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from processes import run_ranks  # noqa: E402

WORKER = HERE / "exchange_worker.py"
spec = importlib.util.spec_from_file_location("lightning_exchange_worker", WORKER)
worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(worker)


def test_gradients_are_exchanged_where_a_step_follows(tmp_path, monkeypatch):
    run_ranks([tmp_path, tmp_path], WORKER, tmp_path / "seen")
    ranks = [torch.load(tmp_path / f"seen{rank}.pt") for rank in (0, 1)]
    monkeypatch.chdir(tmp_path)
    alone = worker.train(worker.batches())
    for rank in ranks:
        assert rank[False]["exchanges"] == 8
        assert rank[True]["exchanges"] == 2
        for seen in rank.values():
            assert seen["steps"] == alone["steps"] == 2
            assert torch.allclose(seen["weights"], alone["weights"], rtol=0, atol=1e-6)

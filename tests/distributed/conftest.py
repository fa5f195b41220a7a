"""What two real processes saw in distributed_worker.py."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
from processes import run_ranks


@dataclass
class Seen:
    """What each rank wrote."""

    ranks: list[dict[str, Any]]

    def both(self, *keys: str) -> list[Any]:
        """Give a value of rank 0 and that of rank 1."""
        values: list[Any] = self.ranks
        for key in keys:
            values = [value[key] for value in values]
        return values


@pytest.fixture(scope="session")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_ranks([folder, folder], Path(__file__).with_name("distributed_worker.py"), folder)
    return Seen([torch.load(folder / f"rank{rank}.pt") for rank in range(2)])

"""A model, data and runners small enough to train in milliseconds."""

from typing import Any

import pytest
import torch
from torch import nn

from mmhooks import EpochBasedRunner, Hook


class Net(nn.Module):
    """Two linear layers with the steps that a runner calls; it keeps the keyword arguments that reach them."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.first, self.last = nn.Linear(3, 4), nn.Linear(4, 2)
        self.train_kwargs: list[dict[str, Any]] = []
        self.val_kwargs: list[dict[str, Any]] = []

    def forward(self, x: Any, y: Any = None, return_loss: bool = False) -> Any:
        return list(self.last(torch.tanh(self.first(x))))

    def loss(self, data: dict[str, Any]) -> torch.Tensor:
        return nn.functional.cross_entropy(self.last(torch.tanh(self.first(data["x"]))), data["y"])

    def train_step(self, data: Any, optimizer: Any, **kwargs: Any) -> dict[str, Any]:
        self.train_kwargs.append(kwargs)
        loss = self.loss(data)
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data["y"])}

    def val_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        self.val_kwargs.append(kwargs)
        loss = self.loss(data)
        return {"loss": loss, "log_vars": {"loss": loss}, "num_samples": len(data["y"])}


@pytest.fixture
def make_model():
    return Net


@pytest.fixture
def batches():
    """Four batches; the last one is smaller. A list is a loader."""
    source = torch.Generator().manual_seed(1)
    return [
        {"x": torch.randn(size, 3, generator=source), "y": torch.randint(2, (size,), generator=source)}
        for size in (5, 5, 5, 2)
    ]


@pytest.fixture
def make_runner(tmp_path):
    """Make a runner with SGD in a work_dir of its own: ``make_runner(IterBasedRunner, max_iters=5)``."""

    def make(kind: Any = EpochBasedRunner, *, lr: float = 0.1, model: Any = None, **arguments: Any) -> Any:
        model = model or Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        return kind(model, **{"optimizer": optimizer, "work_dir": tmp_path / "work", **arguments})

    return make


@pytest.fixture
def at():
    """Make a hook of functions: ``at(after_train_iter=lambda runner: ...)``."""

    def make(**points: Any) -> Any:
        return type("At", (Hook,), {name: staticmethod(function) for name, function in points.items()})()

    return make

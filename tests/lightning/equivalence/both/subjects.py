"""The models and the data that the runs train on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from containers import DataContainer
from ending_loader import Loader
from torch import nn
from torch.utils.data import BatchSampler, Dataset, DistributedSampler, IterableDataset, RandomSampler

from mmhooks import auto_fp16


class Net(nn.Module):
    """Draws random numbers, keeps statistics, and has a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(8, 2)
        self.register_buffer("scratch", torch.zeros(1), persistent=False)

    def forward(self, x: torch.Tensor, y: Any = None, return_loss: bool = False) -> torch.Tensor:
        return self.last(self.drop(torch.relu(self.first(x))))

    def train_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        loss = nn.functional.cross_entropy(self(data["x"]).float(), data["y"])
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data["y"])}

    def val_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        outputs = Net.train_step(self, data)
        return {**outputs, "log_vars": {"val_loss": outputs["loss"].item(), "with": len(kwargs)}}


class Mixed(Net):
    """Computes in fp16 or bf16 when a hook says so; now and then the gradients overflow."""

    def __init__(self) -> None:
        super().__init__()
        self.fp16_enabled = False
        self.steps = 0

    @auto_fp16()
    def forward(self, x: torch.Tensor, y: Any = None, return_loss: bool = False) -> torch.Tensor:
        return super().forward(x)

    def train_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        outputs = super().train_step(data)
        self.steps += 1
        overflows = self.steps % 5 == 3 and getattr(self, "amp_dtype", None) is torch.float16
        return {**outputs, "loss": outputs["loss"] * (1e36 if overflows else 1.0)}


class Frozen(Net):
    """Has a part that is not trained, and one that no loss depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.first[0].weight.requires_grad_(False)
        self.unused = nn.Linear(2, 2)


class Stepping(Net):
    """Steps its optimizer, or all of them by name, in train_step."""

    def train_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        outputs = super().train_step(data)
        optimizers = list(optimizer.values()) if isinstance(optimizer, dict) else [optimizer]
        for one in optimizers:
            one.zero_grad()
        outputs["loss"].backward()
        for one in optimizers:
            one.step()
        return outputs


class Normed(Net):
    """Keeps its BatchNorm in eval mode, whatever it is set to."""

    def train(self, mode: bool = True) -> Normed:
        super().train(mode)
        self.first[1].eval()
        return self


class Sparse(Net):
    """Returns the loss alone."""

    def train_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        return {"loss": super().train_step(data)["loss"]}

    val_step = train_step


class Uncounted(Net):
    """Forgets the number of samples."""

    def train_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        outputs = super().train_step(data)
        del outputs["num_samples"]
        return outputs


class Exhausted(Net):
    """Asks an iterator for more than it has."""

    def train_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        return next(iter(()))


class Wrong(Net):
    """Does not return what a runner needs."""

    def train_step(self, data: dict[str, torch.Tensor], optimizer: Any = None, **kwargs: Any) -> Any:
        return super().train_step(data)["loss"]


MODELS: dict[str, type[nn.Module]] = {
    one.__name__.lower(): one for one in (Net, Mixed, Frozen, Stepping, Normed, Sparse, Uncounted, Exhausted, Wrong)
}


class Samples(Dataset[Any]):
    """Points in two classes, with noise that is drawn as they are loaded; a hook may change their shift."""

    def __init__(self, size: int, seed: int, poison: int | None = None) -> None:
        source = torch.Generator().manual_seed(seed)
        self.x = torch.randn(size, 4, generator=source)
        self.y = (self.x.sum(1) > 0).long()
        if poison is not None:
            self.x[poison % size] = float("nan")
        self.shift = 0.0
        self.noise = 0.1

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": self.x[index] + self.noise * torch.randn(4) + self.shift, "y": self.y[index]}

    def evaluate(self, results: list[torch.Tensor], logger: Any = None, **kwargs: Any) -> dict[str, float]:
        scores = torch.stack(results)
        accuracy = (scores.argmax(1) == self.y[: len(scores)]).double().mean().item()
        return {"acc": accuracy, "loss": nn.functional.cross_entropy(scores, self.y[: len(scores)]).item()}


class Stream(IterableDataset[Any]):
    """Samples drawn from the global generator: ``size`` of them, or without an end."""

    def __init__(self, size: int | None) -> None:
        self.size = size

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(self._all(), self.size)

    def _all(self) -> Iterator[Any]:
        while True:
            x = torch.randn(4)
            yield {"x": x, "y": int(x.sum() > 0)}


class Batches:
    """A loader that is no DataLoader: it has a length and an iterator, and draws its order from the global generator.

    Nothing else is known of it.
    """

    def __init__(self, size: int, batch_size: int, seed: int) -> None:
        self.samples, self.batch_size = Samples(size, seed), batch_size

    def __len__(self) -> int:
        return -(-len(self.samples) // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(len(self.samples))
        for indices in order.split(self.batch_size) if len(order) else ():
            yield {"x": self.samples.x[indices], "y": self.samples.y[indices]}


class Contained(Batches):
    """Its batches hold the points in a DataContainer."""

    def __iter__(self) -> Iterator[Any]:
        return ({**batch, "x": DataContainer([batch["x"]])} for batch in super().__iter__())


class Fewer(Batches):
    """Says that there is a batch more than there is."""

    def __len__(self) -> int:
        return super().__len__() + 1


BATCHES: dict[str, type[Batches]] = {one.__name__.lower(): one for one in (Batches, Contained, Fewer)}


def loader(
    kind: str = "samples",
    size: int | None = 37,
    batch_size: int = 8,
    seed: int = 1,
    own_generator: bool = False,
    sampler: str | None = None,
    poison: int | None = None,
    **arguments: Any,
) -> Any:
    """Make a loader.

    Args:
        kind: ``samples`` (a data set), ``stream`` (an iterable one), or one of `BATCHES` (no DataLoader).
        size: the number of samples; of a stream perhaps without an end.
        batch_size: of samples.
        seed: of the samples, and of a generator of the loader's own.
        own_generator: draw the order from a generator of the loader's own.
        sampler: None, ``distributed`` (it has ``set_epoch``), ``random`` or ``batch`` (a batch_sampler).
        poison: the index of a sample that is not a number.
        **arguments: of the DataLoader.
    """
    if kind in BATCHES:
        return BATCHES[kind](size or 0, batch_size, seed)
    generator = torch.Generator().manual_seed(seed) if own_generator else None
    if kind == "stream":
        return Loader(Stream(size), batch_size, generator=generator, **arguments)
    data = Samples(size or 1, seed, poison)
    if sampler == "batch":
        batches = BatchSampler(RandomSampler(data, generator=generator), batch_size, arguments.pop("drop_last", False))
        return Loader(data, batch_sampler=batches, generator=generator, **arguments)
    if sampler == "distributed":
        arguments["sampler"] = DistributedSampler(data, num_replicas=2, rank=1, seed=seed)
    elif sampler == "random":
        arguments["sampler"] = RandomSampler(data, replacement=True, num_samples=len(data), generator=generator)
    return Loader(data, batch_size, generator=generator, **arguments)

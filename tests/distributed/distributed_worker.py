"""One of two processes: ``python distributed_worker.py FOLDER`` writes what it saw to ``FOLDER/rank<n>.pt``."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import Dataset

from mmhooks import DATASETS, MODELS
from mmhooks.build import build_run
from mmhooks.distributed import (
    MMDistributedDataParallel,
    allreduce_grads,
    allreduce_params,
    get_dist_info,
    launched,
    master_only,
    set_random_seed,
    sync_random_seed,
    unwrap,
)
from mmhooks.distributed.reduce import greatest
from mmhooks.drivers import native


class Net(nn.Module):
    """Two branches, of which a step may leave one out."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 2), nn.Linear(3, 2)
        self.register_buffer("seen", torch.tensor(float(get_dist_info()[0] + 1)))
        self.forwards = 0

    def forward(self, x: torch.Tensor, both: bool = True) -> torch.Tensor:
        self.forwards += 1
        return self.first(x) + self.second(x) if both else self.first(x)

    def train_step(self, data: Any, optimizer: Any = None, both: bool = True, **kwargs: Any) -> dict[str, Any]:
        if data is None:
            raise ValueError("no data")
        loss = self(data["x"], both).pow(2).mean()
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data["x"]), "names": None}

    def val_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        return {"scores": self(data["x"]), "kwargs": kwargs}


@MODELS.register_module()
class Scorer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 2))
        self.rows: list[int] = []

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        self.rows += data[:, 0].int().tolist()
        return {"loss": self.body(data).pow(2).mean()}


@DATASETS.register_module()
class Rows(Dataset):
    """So many rows of three numbers, the first of which is that of the row."""

    def __init__(self, size: int) -> None:
        self.x = torch.stack([torch.arange(size), torch.ones(size), torch.zeros(size)], 1)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.x[index]


CONFIG = {
    "model": {"type": "Scorer"},
    "data": {"samples_per_gpu": 2, "train": {"type": "Rows", "size": 9}, "val": {"type": "Rows", "size": 5}},
    "optimizer": {"type": "SGD", "lr": 0.01, "paramwise_cfg": {"bias_lr_mult": 2.0}},
    "optimizer_config": {},
    "workflow": [("train", 1), ("val", 1)],
    "runner": {"type": "EpochBasedRunner", "max_epochs": 2},
    "seed": 3,
}


class DataContainer:
    """As mmcv's, by name and attributes."""

    def __init__(self, data: Any) -> None:
        self.data, self.cpu_only = [data], False


def flat(model: nn.Module, grads: bool = False) -> torch.Tensor:
    return torch.cat([(p.grad if grads else p.detach()).flatten() for p in model.parameters()]).clone()


def batch(rank: int, index: int) -> dict[str, torch.Tensor]:
    return {"x": torch.randn(4, 3, generator=torch.Generator().manual_seed(10 * index + rank))}


def counted(function: Any, *args: Any, **kwargs: Any) -> int:
    """Call a function and count the exchanges in it."""
    calls, exchange = [], dist.all_reduce
    dist.all_reduce = lambda *a, **k: (calls.append(1), exchange(*a, **k))[1]
    try:
        function(*args, **kwargs)
    finally:
        dist.all_reduce = exchange
    return len(calls)


def averages(rank: int) -> dict[str, Any]:
    seen = {}
    for name, options in {
        "coalesced": {},
        "one by one": {"coalesce": False},
        "buckets": {"bucket_size_mb": 24 / 2**20},
    }.items():
        tensors = [
            torch.full((2, 2), rank + 1.0),
            torch.full((3,), rank + 2.0),
            torch.full((2,), rank, dtype=torch.float64),
            torch.tensor([4 + rank, 7]),
            torch.tensor([rank == 0]),
            torch.full((2,), 10.0 * rank),
        ]
        exchanges = counted(allreduce_params, tensors, **options)
        params = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
        params[0].grad = torch.tensor([1.0, 3.0]) * (rank + 1)
        params[2].grad = torch.ones(2) * rank
        params[2].requires_grad_(False)
        grad_exchanges = counted(allreduce_grads, params, **options)
        grads = [p.grad for p in params]
        seen[name] = {"tensors": tensors, "exchanges": exchanges, "grads": grads, "grad_exchanges": grad_exchanges}
    return seen


def wrapped(rank: int) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    inner = Net()
    calls: list[Any] = []
    inner.register_forward_hook(lambda module, args, output: calls.append(type(args[0])))
    model = MMDistributedDataParallel(inner, broadcast_buffers=False)
    seen["buffer at the start"] = inner.seen.item()
    inner.seen.fill_(rank)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for index in range(4):
        optimizer.zero_grad()
        model.train_step(batch(rank, index), optimizer)["loss"].backward()
        optimizer.step()
    seen["weights"], seen["calls"], seen["buffer"] = flat(model), calls, inner.seen.item()
    seen["keys"] = list(model.state_dict())
    with model.no_sync():
        optimizer.zero_grad()
        model.train_step(batch(rank, 9))["loss"].backward()
    seen["own grads"] = flat(model, grads=True)
    model.train_step(batch(rank, 9), optimizer, both=True)["loss"].backward()  # exchanges what has been accumulated
    seen["accumulated grads"] = flat(model, grads=True)
    try:
        model.train_step(None)
    except ValueError as error:
        seen["error"] = str(error)
    seen["module again"] = model.module is inner and unwrap(model) is inner
    with torch.no_grad():
        outputs = model.val_step({"x": DataContainer(batch(rank, 1)["x"])}, optimizer, flag=1)
        seen["val"] = (outputs["scores"].equal(inner(batch(rank, 1)["x"])), outputs["kwargs"])
        seen["forward"] = model(DataContainer(batch(rank, 1)["x"])).equal(inner(batch(rank, 1)["x"]))

    following = MMDistributedDataParallel(Net(), broadcast_buffers=True)
    following.module.seen.fill_(rank + 5.0)
    following.train_step(batch(rank, 0))
    seen["following buffer"] = following.module.seen.item()

    unused = MMDistributedDataParallel(Net(), find_unused_parameters=True)
    optimizer = torch.optim.SGD(unused.parameters(), lr=0.1)
    for index in range(3):
        optimizer.zero_grad()
        unused.train_step(batch(rank, index), optimizer, both=index == 1)["loss"].backward()
        optimizer.step()
    seen["unused weights"] = flat(unused)
    return seen


def runs(rank: int) -> dict[str, Any]:
    set_random_seed(5, use_rank_shift=True)
    seen: dict[str, Any] = {"shifted": torch.rand(1).item(), "PYTHONHASHSEED": os.environ["PYTHONHASHSEED"]}
    seen["greatest"] = [greatest(rank + 3), greatest(5 - rank)]
    seen["agreed"] = [sync_random_seed(), sync_random_seed(rank + 3)]
    spec = build_run({**CONFIG, "find_unused_parameters": True, "evaluation": {"interval": 1, "metric": "hits"}})
    model: Any = spec.model
    seen["model"] = (type(model).__name__, model.find_unused_parameters, model.module.body[0].weight.detach())
    seen["seed"] = spec.meta["seed"]
    train, val = spec.loaders
    seen["indices"] = [list(train.sampler), list(val.sampler), len(val.sampler), train.batch_size]
    train.sampler.set_epoch(1)
    seen["indices of epoch 1"] = list(train.sampler)
    seen["hooks"] = [(hook["type"], priority) for hook, priority in spec.hooks]
    seen["evaluated"] = list(spec.hooks[1][0]["dataloader"].sampler)
    whole = build_run({**CONFIG, "evaluation": {"type": "EvalHook", "metric": "hits"}})
    seen["evaluated by each"] = list(whole.hooks[1][0]["dataloader"].sampler)
    seen["owned"] = [id(p) for group in spec.optimizer.param_groups for p in group["params"]] == [
        id(p) for p in model.module.parameters()
    ]
    seen["level"] = spec.logger.level
    iterations = {"runner": {"type": "IterBasedRunner", "max_iters": 5}}
    by_iteration = build_run({**CONFIG, "workflow": [("train", 1)], "optimizer_config": {}, **iterations})
    seen["hooks by iteration"] = [hook["type"] for hook, _ in by_iteration.hooks]
    seen["without unused"] = by_iteration.model.find_unused_parameters
    runner = native(by_iteration)
    seen["by iteration"] = (runner.iter, unwrap(runner.model).rows, flat(runner.model))
    unseeded = {key: value for key, value in CONFIG.items() if key != "seed"}
    seen["unseeded"] = build_run(unseeded).meta["seed"]
    other = build_run(CONFIG, diff_seed=True)
    seen["diff seed"] = (torch.rand(1).item(), other.meta["seed"], list(other.loaders[0].sampler))
    return seen


@master_only
def only_on_master(value: int) -> int:
    return value


def main(folder: Path) -> None:
    with launched("pytorch", backend="gloo"):
        rank, _ = get_dist_info()
        seen = {"info": get_dist_info(), "master": only_on_master(7), "averages": averages(rank)}
        seen |= {"wrapped": wrapped(rank), "runs": runs(rank)}
    seen["afterwards"] = get_dist_info()
    torch.save(seen, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

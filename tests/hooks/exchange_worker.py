"""One of two processes that accumulate gradients: ``python exchange_worker.py FILE`` writes what it saw."""

import logging
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from mmhooks import (
    GradientCumulativeFp16OptimizerHook,
    GradientCumulativeOptimizerHook,
    Hook,
    IterBasedRunner,
    MMDistributedDataParallel,
)

QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())
ITERATIONS, GROUP = 8, 4


class Net(nn.Module):
    """A model whose train_step fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        self.fail_at: int | None = None
        self.steps = 0

    def forward(self, data: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(self.net(data["x"]), data["y"])

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        if self.steps == self.fail_at:
            raise RuntimeError("told to fail")
        self.steps += 1
        loss = self(data)
        return {"loss": loss, "log_vars": {"loss": loss.detach()}, "num_samples": len(data["y"])}

    val_step = train_step


def batches(rank: int | None = None) -> list[dict[str, torch.Tensor]]:
    """Eight batches of six samples, or one rank's half of each."""
    source = torch.Generator().manual_seed(1)
    whole = [
        {"x": torch.randn(6, 3, generator=source), "y": torch.randint(2, (6,), generator=source)}
        for _ in range(ITERATIONS)
    ]
    return whole if rank is None else [{k: v[3 * rank : 3 * rank + 3] for k, v in batch.items()} for batch in whole]


class Counted:
    """A runner over two processes that counts its exchanges of gradients."""

    def __init__(self, hook: Hook) -> None:
        self.net = Net()
        self.model = MMDistributedDataParallel(self.net, broadcast_buffers=False)
        self.exchanges = 0
        self.model.register_comm_hook(None, self.count)
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.runner = IterBasedRunner(self.model, optimizer=optimizer, logger=QUIET, max_iters=ITERATIONS)
        self.runner.register_hook(hook, "ABOVE_NORMAL")

    def count(self, state: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
        self.exchanges += 1
        return allreduce_hook(dist.group.WORLD, bucket)

    def run(self, loader: Any) -> None:
        # a val flow falls between the iterations of a group
        self.runner.run([loader, loader], [("train", 3), ("val", 1)])

    def seen(self) -> dict[str, Any]:
        return {
            "exchanges": self.exchanges,
            "weights": torch.cat([p.detach().flatten() for p in self.net.parameters()]),
            "exchanging": self.model.require_backward_grad_sync,
        }


def failing(loader: Any, where: str) -> dict[str, Any]:
    """Fail inside a group, look at the switch, and train on from the start."""
    trained = Counted(GradientCumulativeOptimizerHook(GROUP, skip_exchange=True))

    def fail(runner: Any) -> None:
        raise RuntimeError("told to fail")

    breaker = Hook()
    if where == "train_step":
        trained.net.fail_at = 1
    else:
        setattr(breaker, where, fail)
        trained.runner.register_hook(breaker, "LOW" if where == "before_train_iter" else "HIGH")
    try:
        trained.run(loader)
    except RuntimeError as error:
        message = str(error)
    after = {"message": message, "exchanging after": trained.model.require_backward_grad_sync}
    trained.net.fail_at = None
    if where != "train_step":
        trained.runner.hooks.remove(breaker)
    trained.runner._iter = 0
    trained.exchanges = 0
    trained.run(loader)
    return {**after, **trained.seen()}


def main(path: str) -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    loader = batches(rank)
    seen: dict[str, Any] = {}
    hooks = {
        "always": GradientCumulativeOptimizerHook(GROUP),
        "skipping": GradientCumulativeOptimizerHook(GROUP, skip_exchange=True),
        "rest": GradientCumulativeOptimizerHook(3, skip_exchange=True),
        "fp16": GradientCumulativeFp16OptimizerHook(GROUP, skip_exchange=True),
    }
    for name, hook in hooks.items():
        trained = Counted(hook)
        trained.run(loader)
        seen[name] = trained.seen()
    for where in ("train_step", "before_train_iter", "after_train_iter"):
        seen[where] = failing(loader, where)
    torch.save(seen, f"{path}{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])

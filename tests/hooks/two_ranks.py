"""What one of two processes sees of evaluations: ``python two_ranks.py <folder>``, as JSON."""

import json
import logging.handlers
import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

import mmhooks
from mmhooks import DistEvalHook, EpochBasedRunner, EvalHook, IterBasedRunner, collect_results_cpu, multi_gpu_test


class Points(Dataset):
    """``size`` points; evaluation says whether the results are in order, and how often it was asked."""

    def __init__(self, size=7):
        source = torch.Generator().manual_seed(0)
        self.x, self.y = torch.randn(size, 3, generator=source), torch.randint(2, (size,), generator=source)
        self.got = []

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return {"x": self.x[index], "y": self.y[index], "index": index}

    def evaluate(self, results, logger=None):
        self.got.append([int(index) for _, index in results])
        scores = torch.stack([score for score, _ in results])
        return {"acc": (scores.argmax(1) == self.y).double().mean().item() + len(self.got)}


class Fails(Points):
    def evaluate(self, results, logger=None):
        raise KeyError("no such sample")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.layer = nn.BatchNorm1d(3), nn.Linear(3, 2)

    def forward(self, x, y=None, index=None, return_loss=True):
        return list(zip(self.layer(self.norm(x)), index, strict=True))

    def train_step(self, data, optimizer, **kwargs):
        loss = nn.functional.cross_entropy(self.layer(self.norm(data["x"])), data["y"])
        return {"loss": loss, "log_vars": {}, "num_samples": len(data["y"])}


class Dealt:
    """Deals out as DistributedSampler does, but pads nothing."""

    def __init__(self, dataset):
        self.indices = range(dist.get_rank(), len(dataset), 2)

    def __iter__(self):
        return iter(self.indices)

    def __len__(self):
        return len(self.indices)


class RankZero(DistEvalHook):
    """Judges and saves on rank 0 alone, as the code bases of MMCV do."""

    def _do_evaluate(self, runner):
        results = multi_gpu_test(
            runner.model, self.dataloader, tmpdir=f"{runner.work_dir}/.eval_hook", gpu_collect=self.gpu_collect
        )
        if runner.rank == 0:
            runner.log_buffer.output["eval_iter_num"] = len(self.dataloader)
            score = self.evaluate(runner, results)
            if self.save_best and score:
                self._save_ckpt(runner, score)


class Overwrites:
    """When it is unpickled, as rank 0's part, it writes another one in place of rank 1's."""

    def __init__(self, folder):
        self.folder = folder

    def __setstate__(self, state):
        for file in Path(state["folder"]).rglob("part_1*"):
            file.write_bytes(b"cos\nsystem\n(S'true'\ntR.")


def loader(size=7, sampler=DistributedSampler, dataset=Points):
    data = dataset(size)
    dealer = sampler(data, shuffle=False) if sampler is DistributedSampler else sampler and sampler(data)
    return DataLoader(data, batch_size=2, sampler=dealer)


def accuracy():
    metrics = MetricCollection({"acc": MulticlassAccuracy(2, average="micro")})
    return {"metrics": metrics, "predict": lambda model, batch: (model.layer(model.norm(batch["x"])), batch["y"])}


def run(folder, hook, kind=EpochBasedRunner, **length):
    saves = []

    class Counting(kind):
        def save_checkpoint(self, *args, **kwargs):
            saves.append(kwargs["filename_tmpl"])
            return super().save_checkpoint(*args, **kwargs)

    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    runner = Counting(model, optimizer=optimizer, work_dir=folder / str(dist.get_rank()), meta={}, **length)
    runner.register_optimizer_hook({})
    runner.register_hook(hook, "LOW")
    runner.run([DataLoader(Points(8), batch_size=4)], [("train", 1)])
    messages = runner.meta.get("hook_msgs", {})
    return runner, {
        "iter": runner.iter,
        "asked": getattr(hook.dataloader.dataset, "got", None),
        "saves": saves,
        "files": sorted(path.name for path in Path(runner.work_dir).iterdir()),
        "best": [messages.get("best_score"), Path(messages.get("best_ckpt", "")).name],
        "output": dict(runner.log_buffer.output),
    }


def alone(model, size=7):
    """Evaluate the whole data set in this process."""
    data = Points(size)
    return data.evaluate(mmhooks.single_gpu_test(model, DataLoader(data, batch_size=3)))["acc"] - 1


def refusal(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def scenarios(folder, rank):
    runner, seen = run(folder / "memory", DistEvalHook(loader(), save_best="acc"), max_epochs=2)
    yield "memory", {**seen, "alone": alone(runner.model)}
    yield "agreed", {"value": runner.agree("of rank 1") if rank == 1 else None}  # without rank 0
    kept = folder / "kept"
    kept.mkdir(exist_ok=True)
    hook = DistEvalHook(loader(), tmpdir=folder / "made" / "here", save_best="auto")
    yield "files", run(folder / "files", hook, max_epochs=2)[1]
    yield (
        "files in a folder that was there",
        run(folder / "files2", DistEvalHook(loader(), tmpdir=kept), max_epochs=1)[1],
    )
    yield "process group", run(folder / "group", DistEvalHook(loader(), gpu_collect=True), max_epochs=1)[1]
    hook = DistEvalHook(loader(), interval=3, by_epoch=False, save_best="acc", restore_mode=True)
    yield "iterations", run(folder / "iterations", hook, IterBasedRunner, max_iters=7)[1]
    yield "unpadded", run(folder / "unpadded", DistEvalHook(loader(sampler=Dealt)), max_epochs=1)[1]
    yield "one sample", run(folder / "one", DistEvalHook(loader(1)), max_epochs=1)[1]
    yield "rank 0 judges", run(folder / "zero", RankZero(loader(), save_best="auto"), max_epochs=2)[1]

    for name, size, sampler in (
        ("padded", 7, DistributedSampler),
        ("exact", 7, Dealt),
        ("even", 8, DistributedSampler),
    ):
        hook = DistEvalHook(loader(size, sampler), save_best="acc", **accuracy())
        runner, seen = run(folder / f"metrics {name}", hook, max_epochs=1)
        yield f"metrics, {name}", {**seen, "alone": alone(runner.model, size)}

    for name, broadcast in (("statistics", True), ("own statistics", False)):
        hook = DistEvalHook(loader(), broadcast_bn_buffer=broadcast)
        hook.before_train_epoch = lambda runner: runner.model.norm.running_mean.fill_(float(rank + 1))
        runner, _ = run(folder / name, hook, max_epochs=1)
        yield name, {"mean": runner.model.norm.running_mean.tolist(), "var": runner.model.norm.running_var.tolist()}

    told = []
    test = lambda model, loader, **arguments: told.append(arguments) or [[torch.zeros(2), 0]] * 7  # noqa: E731
    for tmpdir in (None, "mine"):
        run(
            folder / "own",
            DistEvalHook(loader(), test_fn=test, tmpdir=tmpdir, gpu_collect=tmpdir is None),
            max_epochs=1,
        )
    yield "own test", {"told": told}

    handler = logging.handlers.BufferingHandler(100)
    mmhooks.log.get_logger().addHandler(handler)
    yield "not shared", run(folder / "not shared", EvalHook(loader(sampler=None)), max_epochs=1)[1]
    yield "warnings", {"said": [record.getMessage() for record in handler.buffer if record.levelname == "WARNING"]}

    hook = DistEvalHook(loader())
    yield "measured", {"values": hook.measure(Net(), mmhooks.log.get_logger()), "alone": alone(Net())}
    yield "not dealt out", {"found": refusal(multi_gpu_test, Net(), loader(sampler=None))}
    for name, kind, save_best in (
        ("plain", DistEvalHook, "acc"),
        ("subclass", RankZero, "acc"),
        ("unsaved", DistEvalHook, None),
    ):
        hook = kind(loader(dataset=Fails), save_best=save_best)
        found = refusal(run, folder / f"failing {name}", hook, max_epochs=1)
        met = torch.ones(())
        dist.all_reduce(met)  # no rank is left inside another exchange
        yield f"failing, {name}", {"found": found, "met": met.item()}
    hook = DistEvalHook(loader(8), save_best="accc", rule="greater", **accuracy())
    yield "failing, metrics", {"found": refusal(run, folder / "failing metrics", hook, max_epochs=1)}
    (folder / "a file").touch()
    yield "no folder", {"found": refusal(collect_results_cpu, [1], 2, str(folder / "a file"))}
    part = [Overwrites(str(folder / "tampered")) if rank == 0 else 1]
    yield "tampered", {"found": refusal(collect_results_cpu, part, 2, folder / "tampered")}


def main():
    folder = Path(sys.argv[1])
    dist.init_process_group("gloo", timeout=timedelta(seconds=40))
    rank = dist.get_rank()
    seen = dict(scenarios(folder, rank))
    dist.barrier()  # neither leaves while the other still talks to it
    dist.destroy_process_group()
    (folder / f"rank_{rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main()

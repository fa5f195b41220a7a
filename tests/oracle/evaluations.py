"""Evaluations that MMCV and mmhooks both do: when they happen, which files stay, what is logged and refused.

`lib` is ``mmcv.runner`` or ``mmhooks``: both have the same names. The data set evaluates to the values of a plan.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

Plan = dict[str, Any]
nan, inf = float("nan"), float("inf")

#: runner, length and EvalHook's arguments; ``values`` are what one evaluation after the other gives, the last one again
#: and again. ``resume``: where an MMCV file says that the run was, and the best so far. ``again``: more epochs (or
#: iterations) by a second run of the same runner. Otherwise an EpochBasedRunner of 4 epochs with 2 iterations each.
PLANS: dict[str, Plan] = {
    "every epoch": {},
    "every second epoch": {"hook": {"interval": 2}, "length": 5},
    "from 3 on": {"hook": {"start": 3}},
    "from 3 on, every second": {"hook": {"start": 3, "interval": 2}, "length": 6},
    "from 1 on, every fourth": {"hook": {"start": 1, "interval": 4}, "length": 6},
    "too late to start": {"hook": {"start": 9}},
    "before training": {"hook": {"start": 0}},
    "before training, every second": {"hook": {"start": 0, "interval": 2}},
    "by iteration": {"hook": {"by_epoch": False, "interval": 3}},
    "by iteration, before training": {"hook": {"by_epoch": False, "interval": 3, "start": 0}},
    "iterations": {"runner": "IterBasedRunner", "length": 9, "hook": {"by_epoch": False, "interval": 3}},
    "iterations, before training": {"runner": "IterBasedRunner", "hook": {"by_epoch": False, "start": 0}},
    "iterations, by epoch": {"runner": "IterBasedRunner", "length": 6},
    "resumed": {"resume": {"epoch": 2}, "hook": {"interval": 2}},
    "resumed after the start": {"resume": {"epoch": 2}, "hook": {"start": 1, "save_best": "acc"}},
    "resumed between two": {"resume": {"epoch": 2}, "hook": {"start": 1, "interval": 3}, "length": 5},
    "resumed before the start": {"resume": {"epoch": 1}, "hook": {"start": 3}, "length": 5},
    "resumed by iteration": {
        "runner": "IterBasedRunner",
        "resume": {"epoch": 1, "iter": 3},
        "hook": {"by_epoch": False, "interval": 2, "start": 2, "save_best": "acc"},
        "length": 7,
    },
    "resumed with a better one": {
        "resume": {"epoch": 2, "best": 0.9},
        "hook": {"save_best": "acc"},
        "values": [{"acc": 0.8}, {"acc": 0.95}],
    },
    "run again": {"again": 2, "hook": {"start": 0, "save_best": "acc"}, "values": [{"acc": n / 10} for n in range(9)]},
    "the best": {"hook": {"save_best": "acc"}, "values": [{"acc": s} for s in (0.1, 0.3, 0.2, 0.4)]},
    "the smallest": {"hook": {"save_best": "loss"}, "values": [{"loss": s} for s in (3.0, 2.0, 2.5, 1.0)]},
    "the smallest accuracy": {
        "hook": {"save_best": "acc", "rule": "less"},
        "values": [{"acc": s} for s in (0.3, 0.2, 0.25, 0.1)],
    },
    "ties": {"hook": {"save_best": "acc"}, "values": [{"acc": s} for s in (0.5, 0.5, 0.6, 0.6)]},
    "zero": {"hook": {"save_best": "acc"}, "values": [{"acc": s} for s in (-1.0, 0.0, -0.5, 0)]},
    "zero is the smallest": {"hook": {"save_best": "loss"}, "values": [{"loss": s} for s in (1.0, 0.0, 0.5, 0.5)]},
    "not a number": {"hook": {"save_best": "acc"}, "values": [{"acc": s} for s in (nan, 0.5, nan, 0.6)]},
    "infinite": {"hook": {"save_best": "acc"}, "values": [{"acc": s} for s in (-inf, 0.5, inf, inf)]},
    "whole numbers": {"hook": {"save_best": "acc"}, "values": [{"acc": s} for s in (1, 3, 2, 3)]},
    "nothing to judge by": {"hook": {"save_best": "acc"}, "values": [{}, {"acc": 0.5}, {}, {"acc": 0.7}]},
    "auto": {"hook": {"save_best": "auto"}, "values": [{"top1": 0.5, "loss": 1.0}, {"loss": 0.5, "top1": 0.4}]},
    "auto, of nothing at first": {"hook": {"save_best": "auto"}, "values": [{}, {"loss": 1.0}, {"loss": 0.5}]},
    "auto with a rule": {"hook": {"save_best": "auto", "rule": "less"}, "values": [{"PCK": 0.5}, {"PCK": 0.4}]},
    "auto without a known key": {"hook": {"save_best": "auto"}, "values": [{"PCK": 0.5}]},
    "a key of a folder": {"hook": {"save_best": "x/mAP"}, "values": [{"x/mAP": 0.5}, {"x/mAP": 0.6}]},
    "own keys": {"hook": {"save_best": "PCK", "greater_keys": "pck"}, "values": [{"PCK": 0.5}, {"PCK": 0.6}]},
    "own keys for less": {"hook": {"save_best": "NME", "less_keys": ["nme"]}, "values": [{"NME": 2.0}, {"NME": 1.0}]},
    "own keys in place of the known": {"hook": {"save_best": "acc", "greater_keys": ["PCK"]}},
    "whole names first": {
        "hook": {"save_best": "loss_acc", "greater_keys": ["acc"], "less_keys": ["LOSS_ACC"]},
        "values": [{"loss_acc": 2.0}, {"loss_acc": 1.0}],
    },
    "another folder": {
        "hook": {"save_best": "acc", "out_dir": "elsewhere"},
        "values": [{"acc": 0.5}, {"acc": 0.6}, {"acc": 0.55}],
    },
    "an unknown metric": {"hook": {"save_best": "PCK"}},
    "a missing metric": {"hook": {"save_best": "mIoU"}, "values": [{"acc": 0.5}]},
    "an unknown rule": {"hook": {"save_best": "acc", "rule": "most"}},
    "an interval of 0": {"hook": {"interval": 0}},
    "a negative start": {"hook": {"start": -1}},
    "by_epoch as a word": {"hook": {"by_epoch": "no"}},
    "save_best as a number": {"hook": {"save_best": 1}},
    "arguments for the data set": {"hook": {"metric": "bbox", "classwise": True, "metrics": ["a", "b"]}, "length": 1},
}


class Told(Dataset):
    """Evaluates to what it was told, and notes when it was asked."""

    def __init__(self, values: list[dict[str, Any]]) -> None:
        self.values, self.asked = values, []
        self.runner: Any = None

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": torch.tensor([float(index)])}

    def evaluate(self, results: list[torch.Tensor], logger: Any = None, **kwargs: Any) -> dict[str, Any]:
        values = self.values[min(len(self.asked), len(self.values) - 1)]
        self.asked.append([self.runner.epoch, self.runner.iter, len(results), kwargs])
        return dict(values)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor, return_loss: bool = True) -> list[torch.Tensor]:
        return list(self.layer(x))

    def train_step(self, data: dict[str, torch.Tensor], optimizer: Any, **kwargs: Any) -> dict[str, Any]:
        loss = self.layer(data["x"]).square().mean()
        return {"loss": loss, "log_vars": {"loss": 1.0}, "num_samples": len(data["x"])}


class Said(logging.Handler):
    """Keeps what is said about the best checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith(("Now best", "Best ", "The previous best")):
            self.lines.append(text)


def play(lib: Any, plan: Plan, folder: Path) -> dict[str, Any]:
    """Carry a plan out in an empty folder, and tell what could be seen of it."""
    work_dir = folder / "work"
    work_dir.mkdir(exist_ok=True)
    said, logger = Said(), logging.getLogger("evaluations")
    logger.propagate = False
    logger.handlers = [said]
    logger.setLevel("INFO")
    told = Told(plan.get("values", [{"acc": 0.5}]))
    arguments = dict(plan.get("hook", {}))
    if "out_dir" in arguments:
        arguments["out_dir"] = str(folder / arguments["out_dir"])
    seen: dict[str, Any] = {}
    modes: list[str] = []
    try:
        hook = lib.EvalHook(DataLoader(told, batch_size=2), **arguments)
    except Exception:
        return {"refused": "when made"}
    runner = told.runner = _runner(lib, plan, work_dir, logger)

    class Watch(lib.Hook):
        def before_train_iter(self, runner: Any) -> None:
            modes.append("train" if runner.model.training else "eval")

    runner.register_optimizer_hook({})
    runner.register_logger_hooks({"interval": 2, "hooks": [{"type": "TextLoggerHook"}]})
    runner.register_hook(hook, priority="LOW")
    runner.register_hook(Watch(), priority="VERY_LOW")
    if "resume" in plan:
        runner.resume(_file(runner.model, plan, work_dir), map_location="cpu")
    loaders = [DataLoader(Told([]), batch_size=2)]
    try:
        runner.run(loaders, [("train", 1)])
        if "again" in plan:
            limit = "_max_epochs" if _by_epoch(plan) else "_max_iters"
            setattr(runner, limit, getattr(runner, limit) + plan["again"])
            runner.run(loaders, [("train", 1)])
    except Exception:
        seen["refused"] = "in the run"
    messages = (runner.meta or {}).get("hook_msgs", {})
    return seen | {
        "asked": told.asked,
        "modes": modes,
        "said": [line.replace(str(folder), "") for line in said.lines],
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("best*/**/*.pth"))
        + sorted(str(path.relative_to(folder)) for path in folder.rglob("best*.pth")),
        "best": [messages.get("best_score"), messages.get("best_ckpt", "").replace(str(folder), "")],
        "log": _log(work_dir),
    }


def same(ours: Any, theirs: Any) -> bool:
    """Compare as JSON, where not a number is equal to itself."""
    return json.dumps(ours) == json.dumps(theirs)


def draw(random: Random) -> Plan:
    """Make a plan up."""
    by_iteration = random.random() < 0.4
    plan: Plan = {"length": random.randint(1, 7)}
    if by_iteration:
        plan["runner"] = "IterBasedRunner"
    hook: dict[str, Any] = {"by_epoch": random.random() < (0.1 if by_iteration else 0.8)}
    if random.random() < 0.6:
        hook["interval"] = random.randint(1, 4)
    if random.random() < 0.5:
        hook["start"] = random.randint(0, 5)
    names = ["acc", "bbox_mAP", "loss", "Top1", "PCK", "AR@100", "decode.loss", "x/mAP"]
    if random.random() < 0.8:
        hook["save_best"] = random.choice([*names, "auto", "auto", "auto"])
        if random.random() < 0.4:
            hook["rule"] = random.choice(["greater", "less", "less", "greater", "best"])
    if random.random() < 0.3:
        hook["greater_keys"] = random.choice(["PCK", ["PCK", "acc"], ("loss",)])
    if random.random() < 0.3:
        hook["less_keys"] = random.choice([["PCK"], ("acc", "x"), ["loss", "top"]])
    if random.random() < 0.2:
        hook["out_dir"] = "elsewhere"
    elif random.random() < 0.2:
        plan["again"] = random.randint(1, 3)
    name = hook.get("save_best", "auto")
    keys = random.sample(names, 2)
    if name != "auto" and random.random() < 0.95:
        keys = [name, *(key for key in keys if key != name)]
    scores = [0, 0.0, 0.25, 0.5, 0.5, 0.75, -1.0, 2, nan, inf, -inf, random.random(), random.random()]
    plan["values"] = [
        {} if random.random() < 0.05 else {key: random.choice(scores) for key in random.sample(keys, len(keys))}
        for _ in range(random.randint(1, 8))
    ]
    if random.random() < 0.3:
        plan["resume"] = {"epoch": random.randint(1, 4), "iter": random.randint(1, 8)}
        if not by_iteration and random.random() < 0.5:
            plan["resume"]["best"] = random.choice([0.5, 0.75, -1.0, 2.0])
    plan["hook"] = hook
    return plan


def _by_epoch(plan: Plan) -> bool:
    return plan.get("runner", "EpochBasedRunner") == "EpochBasedRunner"


def _runner(lib: Any, plan: Plan, work_dir: Path, logger: logging.Logger) -> Any:
    model = Net()
    length = {"max_epochs" if _by_epoch(plan) else "max_iters": plan.get("length", 4)}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kind = getattr(lib, plan.get("runner", "EpochBasedRunner"))
    return kind(model, optimizer=optimizer, work_dir=str(work_dir), logger=logger, meta={}, **length)


def _file(model: nn.Module, plan: Plan, work_dir: Path) -> str:
    """Write what MMCV would have saved, and the best file that it names."""
    resume = plan["resume"]
    meta: dict[str, Any] = {"epoch": resume["epoch"], "iter": resume.get("iter", 2 * resume["epoch"])}
    if "best" in resume:
        best = work_dir / "best_acc_epoch_1.pth"
        best.touch()
        meta["hook_msgs"] = {"best_score": resume["best"], "best_ckpt": str(best)}
    path = work_dir / "resumed.pth"
    torch.save({"meta": meta, "state_dict": model.state_dict()}, path)
    return str(path)


def _log(work_dir: Path) -> list[dict[str, Any]]:
    files = sorted(work_dir.glob("*.log.json"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    dropped = ("time", "data_time", "memory")
    return [{key: value for key, value in line.items() if key not in dropped} for line in lines if "mode" in line]

"""Record into tests/golden/plans what four code bases make of their configs; runs in the environment of the oracle.

The `main()` of each code base's own tools/train.py runs with each config, once as ``python train.py CONFIG --seed 0``
and once on 8 ranks, as on a machine with GPUs. Models and data sets are not there: a small one of each stands in. The
code base, and MMCV, do all else up to `runner.run`, which only notes what there is.
"""

from __future__ import annotations

import functools
import inspect
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import codebases
import mmcv
import mmcv.device
import numpy as np
import packages
import torch
from canonical import digest
from mmcv.runner import BaseRunner, EpochBasedRunner, Hook, IterBasedRunner
from mmcv.runner.optimizer import OPTIMIZERS
from torch import distributed, nn
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.data import DataLoader, Dataset

GOLDEN = packages.ROOT / "tests" / "golden" / "plans"
RANKS = 8
#: run with options, too
EXAMPLES = {
    "mmcls": "resnet/resnet18_8xb16_cifar10.py",
    "mmdet": "faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py",
    "mmpose": "body/2d_kpt_sview_rgb_img/topdown_heatmap/coco/res50_coco_256x192.py",
    "mmsegmentation": "pspnet/pspnet_r50-d8_512x512_20k_voc12aug.py",
}
OPTIONS = [
    "",
    "--no-validate",
    "--resume-from there.pth",
    "--cfg-options load_from=there.pth",
    "--resume-from there.pth --cfg-options load_from=other.pth",
    "--cfg-options workflow=[(train,1),(val,1)]",
    "--cfg-options workflow=[(train,3)]",
    "--cfg-options runner._delete_=True runner.type=IterBasedRunner runner.max_iters=100",
    "--cfg-options runner._delete_=True runner.type=EpochBasedRunner runner.max_epochs=10",
    "--cfg-options runner=None total_epochs=7 total_iters=70",
    "--cfg-options fp16.loss_scale=512.0",
    "--cfg-options fp16.loss_scale=dynamic",
    "--cfg-options fp16.loss_scale=dynamic fp16.mode=static",
    "--cfg-options optimizer_config._delete_=True optimizer_config.grad_clip.max_norm=35",
    "--cfg-options optimizer_config.type=GradientCumulativeOptimizerHook optimizer_config.cumulative_iters=4",
    "--cfg-options optimizer_config.type=OptimizerHook fp16.loss_scale=512.0",
    "--cfg-options momentum_config.policy=step momentum_config.step=[1] momentum_config.gamma=0.5",
    "--cfg-options lr_config.policy=CosineAnnealing lr_config._delete_=True lr_config.min_lr=0",
    "--cfg-options lr_config=None",
    "--cfg-options checkpoint_config=None",
    "--cfg-options evaluation.interval=3 evaluation.start=2 evaluation.save_best=auto evaluation.priority=LOW",
    "--cfg-options evaluation.by_epoch=False",
    "--cfg-options custom_hooks=[]",
    "--cfg-options find_unused_parameters=True",
    "--cfg-options find_unused_parameters=False",
    "--cfg-options cudnn_benchmark=True",
    "--cfg-options data.samples_per_gpu=3 data.workers_per_gpu=5",
    "--cfg-options data.train_dataloader.samples_per_gpu=3 data.val_dataloader.samples_per_gpu=4",
    "--cfg-options data.train_dataloader.shuffle=False data.train_dataloader.drop_last=True",
    "--cfg-options data.val_dataloader.workers_per_gpu=6 data.val_dataloader.pin_memory=False",
    "--cfg-options data.persistent_workers=True data.pin_memory=False data.shuffle=False",
    "--cfg-options seed=3",
    "--gpu-id 1",
    "--deterministic",
]
OWN_OPTIONS = {
    "mmcls": [
        "--cfg-options sampler.type=RepeatAugSampler",
        "--device cpu",
    ],
    "mmdet": [
        "--auto-resume",
        "--auto-scale-lr",
        "--cfg-options auto_scale_lr.enable=True",
        "--cfg-options data.train_dataloader.class_aware_sampler.num_sample_class=1",
        "--cfg-options evaluation.dynamic_intervals=[(8,1)]",
        "--cfg-options data.val_dataloader.samples_per_gpu=4",
    ],
    "mmpose": [
        "--autoscale-lr",
        "--cfg-options use_adversarial_train=True",
        "--cfg-options total_epochs=7",
    ],
    "mmsegmentation": [
        "--auto-resume",
        "--load-from there.pth",
        "--cfg-options evaluation.pre_eval=False",
    ],
}


class Net(nn.Module):
    """Stands in for every model."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def init_weights(self) -> None:
        pass

    def train_step(self, *args: Any) -> None:
        raise AssertionError("nothing is trained here")


class Pictures(Dataset[Any]):
    """Stands in for every data set, and knows from which config."""

    CLASSES = ("one", "other")
    PALETTE = ((0, 0, 0), (1, 1, 1))
    detailed = False

    def __init__(self, config: Any, default_args: dict[str, Any] | None = None) -> None:
        kind = [part["type"] for part in config] if isinstance(config, (list, tuple)) else config["type"]
        self.origin = {"type": kind, **(default_args or {})}
        if self.detailed:
            self.origin["config"] = digest(config)
        self.flag = np.zeros(len(self), dtype=np.uint8)  # all of one group, for mmdet

    def __len__(self) -> int:
        return 640

    def __getitem__(self, index: int) -> Any:
        raise AssertionError("nothing is loaded here")

    def get_cat2imgs(self) -> dict[int, list[int]]:
        return {0: list(range(len(self)))}


class Notes:
    """What one run does."""

    def __init__(self, config: str) -> None:
        self.config = config
        self.made: dict[int, tuple[Any, dict[str, Any]]] = {}
        self.loaders: list[DataLoader[Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.optimizer: Any = None
        self.registered: list[Hook] = []
        self.calls: list[dict[str, Any]] = []
        self.plan: dict[str, Any] | None = None

    def new(self, cls: type, *args: Any, **kwargs: Any) -> Any:
        """Make a hook or runner, and keep what it is made with."""
        made = object.__new__(cls)
        bound = inspect.signature(cls.__init__).bind(made, *args, **kwargs)
        arguments = {}
        for name, value in list(bound.arguments.items())[1:]:
            many = bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
            arguments.update(value if many else {name: value})
        self.made[id(made)] = (made, self.plain(arguments))
        return made

    def wrap(self, wrapper: nn.Module, module: nn.Module, *args: Any, **kwargs: Any) -> None:
        """Be the constructor of a wrapper, without its devices."""
        nn.Module.__init__(wrapper)
        wrapper.module = module
        self.made[id(wrapper)] = (wrapper, self.plain({**({"args": args} if args else {}), **kwargs}))

    def wrappers(self, model: nn.Module) -> list[dict[str, Any]]:
        """Name the wrappers in which the model is, or in which its layers are."""
        found = [module for module in model.modules() if id(module) in self.made]
        kinds = [named(type(model))] if not isinstance(model, Net) else []
        return [{"class": named(type(module)), **self.made[id(module)][1]} for module in found] or kinds

    def build_dataloader(self, real: Callable[..., Any], dataset: Any, *args: Any, **kwargs: Any) -> Any:
        asked = dict(inspect.signature(real).bind(dataset, *args, **kwargs).arguments)
        asked.update(asked.pop("kwargs", {}))
        del asked["dataset"]
        self.asked.append(self.plain(asked))
        self.loaders.append(real(dataset, *args, **kwargs))
        return self.loaders[-1]

    def build_optimizer(self, real: Callable[..., Any], model: Any, config: Any) -> Any:
        self.optimizer = self.plain(config)
        return torch.optim.SGD(model.parameters(), lr=0.1)

    def register_hook(self, real: Callable[..., Any], runner: Any, hook: Hook, *args: Any, **kwargs: Any) -> None:
        real(runner, hook, *args, **kwargs)
        self.registered.append(hook)

    def call(self, name: str, runner: Any, *args: Any, **kwargs: Any) -> None:
        self.calls.append({name: self.plain([*args, *kwargs.items()])})

    def run(self, runner: Any, data_loaders: list[Any], workflow: Any, *args: Any, **kwargs: Any) -> None:
        assert sorted(map(id, runner.hooks)) == sorted(map(id, self.registered))
        self.plan = {
            "runner": {"class": named(type(runner)), **self.made[id(runner)][1]},
            "run": self.plain({"data_loaders": data_loaders, "workflow": workflow, "more": [*args, *kwargs.items()]}),
            "model": self.wrappers(runner.model),
            "optimizer": self.optimizer,
            "optimizer_class": classes(self.optimizer),
            "hooks": [
                {"class": named(type(hook)), "priority": hook.priority, **self.arguments(hook)}
                for hook in self.registered
            ],
            "called": [self.registered.index(hook) for hook in runner.hooks],
            "loaders": [
                {"asked": asked, "made": self.loader(made), "dataset": made.dataset.origin}
                for asked, made in zip(self.asked, self.loaders, strict=True)
            ],
            "calls": self.calls,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        }

    def arguments(self, hook: Hook) -> dict[str, Any]:
        arguments = self.made[id(hook)][1]
        return {"arguments": arguments} if arguments else {}

    def loader(self, loader: DataLoader[Any]) -> dict[str, Any]:
        """Describe a loader as it is in the end."""
        names = ["batch_size", "num_workers", "drop_last", "pin_memory", "persistent_workers"]
        if type(loader.batch_sampler) is not torch.utils.data.BatchSampler:
            names.append("batch_sampler")
        names += ["sampler", "worker_init_fn", "collate_fn"]
        return {name: self.plain(getattr(loader, name)) for name in names}

    def plain(self, value: Any) -> Any:
        """Write a value as data; what is no data is named."""
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, str):
            return "<name of the config>" if value == self.config else value
        if isinstance(value, dict):
            return {str(key): self.plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, range)):
            return [self.plain(item) for item in value]
        if isinstance(value, DataLoader):
            return f"<loader {self.loaders.index(value)}>"
        if isinstance(value, functools.partial):
            return {"function": named(value.func), **self.plain(value.keywords)}
        if isinstance(value, torch.utils.data.Sampler):
            return sampler(value)
        if callable(value) and hasattr(value, "__qualname__"):
            return f"<{named(value)}>"
        return f"<{named(type(value))}>"


def named(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def classes(optimizer: dict[str, Any]) -> Any:
    """Name the class behind `type`, of one optimizer or several."""
    if "type" in optimizer:
        found = OPTIMIZERS.get(optimizer["type"])
        return None if found is None else named(found)
    return {key: classes(value) for key, value in optimizer.items()}


def sampler(given: Any) -> dict[str, Any]:
    """Describe a sampler by the plain values it holds, but not those it works out."""
    worked_out = ("num_samples", "total_size", "size", "_")
    values = {key: value for key, value in vars(given).items() if not key.startswith(worked_out)}
    plain = {key: value for key, value in values.items() if isinstance(value, (bool, int, float, str))}
    return {"class": named(type(given)), **plain}


@contextmanager
def watched(package: str, notes: Notes, ranks: int) -> Iterator[Any]:
    """Put the notes in, and stand-ins for what a config's data and a GPU would be."""
    tool = codebases.tool(package)
    train = sys.modules[f"{codebases.NAMES[package]}.apis.train"]
    with mock.patch.multiple(tool, **{name: value for name, value in STAND_INS.items() if hasattr(tool, name)}):
        patches = [
            mock.patch.object(train, "build_dataset", Pictures),
            mock.patch.object(mmcv.Config, "pretty_text", "the config"),
            mock.patch.object(mmcv.Config, "dump", nothing),
            mock.patch.object(nn.Module, "cuda", lambda self, *args: self),
            mock.patch.object(torch.cuda, "current_device", return_value=0),
            mock.patch.object(nn.DataParallel, "__init__", passing(notes.wrap)),
            mock.patch.object(nn.parallel.DistributedDataParallel, "__init__", passing(notes.wrap)),
            mock.patch.object(torch, "tensor", functools.partial(on_cpu, torch.tensor)),
            mock.patch.object(mmcv.device, "get_device", return_value="cuda"),
            mock.patch.object(time, "sleep", nothing),
            mock.patch.object(Hook, "__new__", notes.new, create=True),
            mock.patch.object(BaseRunner, "__new__", notes.new, create=True),
            mock.patch.object(BaseRunner, "register_hook", passing(notes.register_hook, BaseRunner.register_hook)),
        ]
        for name in ("build_dataloader", "build_optimizer", "build_optimizers"):
            if hasattr(train, name):
                note = getattr(notes, name.removesuffix("s"))
                patches.append(mock.patch.object(train, name, functools.partial(note, getattr(train, name))))
        for runner in (EpochBasedRunner, IterBasedRunner):
            patches.append(mock.patch.object(runner, "run", passing(notes.run)))
        for runner in (BaseRunner, IterBasedRunner):
            patches.append(mock.patch.object(runner, "resume", passing(notes.call, "resume")))
        patches.append(mock.patch.object(BaseRunner, "load_checkpoint", passing(notes.call, "load_checkpoint")))
        torch.backends.cudnn.benchmark = False
        for patch in patches:
            patch.start()
        try:
            if ranks > 1:
                distributed.init_process_group("fake", rank=0, world_size=ranks, store=FakeStore())
            yield tool
        finally:
            if ranks > 1:
                distributed.destroy_process_group()
            for patch in reversed(patches):
                patch.stop()


def passing(note: Callable[..., Any], *first: Any) -> Callable[..., Any]:
    """Make a method of a function that takes the object after other arguments."""
    return lambda self, *args, **kwargs: note(*first, self, *args, **kwargs)


def nothing(*args: Any, **kwargs: Any) -> None:
    pass


def on_cpu(real: Callable[..., Any], *args: Any, device: Any = None, **kwargs: Any) -> Any:
    return real(*args, **kwargs)


STAND_INS: dict[str, Any] = {
    **dict.fromkeys(
        ("build_classifier", "build_detector", "build_segmentor", "build_posenet"), lambda *args, **kwargs: Net()
    ),
    "build_dataset": Pictures,
    "collect_env": dict,
    "init_dist": nothing,  # the group is there
    "setup_multi_processes": nothing,
    "get_device": lambda: "cuda",
    "auto_select_device": lambda: "cuda",
    "get_git_hash": lambda *args, **kwargs: "0000000",
    "init_random_seed": lambda seed, **kwargs: seed,
}


def outcome(package: str, config: Path, ranks: int, options: list[str] | None = None) -> dict[str, Any] | str:
    """Run `main()` with a config: the plan, or `!` and the error."""
    notes = Notes(config.name)
    launch = ["--launcher", "pytorch"] if ranks > 1 else []
    command = ["train.py", str(config), "--work-dir", "work", "--seed", "0", *launch, *(options or [])]
    Pictures.detailed = options is not None
    try:
        with watched(package, notes, ranks) as tool, mock.patch.object(sys, "argv", command):
            tool.main()
    except Exception as error:
        return f"!{type(error).__name__}: {error}".partition("\n")[0].replace(f"{packages.CACHE}/", "")
    assert notes.plan is not None
    return notes.plan


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


class Table:
    """Numbers what occurs again and again."""

    def __init__(self) -> None:
        self.items: dict[str, int] = {}

    def number(self, item: Any) -> int:
        return self.items.setdefault(compact(item), len(self.items))

    def lines(self) -> str:
        return ",\n".join(f"{item}" for item in self.items)


def record(package: str) -> None:
    codebases.join(package)
    tables = {name: Table() for name in ("hooks", "asked", "made", "dataset", "parts", "plans")}
    configs: dict[str, dict[str, list[int | str]]] = {}
    for case in packages.cases([package]):
        if "_base_/" not in case.name:
            plans = [short(outcome(package, case.file, ranks), tables) for ranks in (1, RANKS)]
            place, _, name = case.name.rpartition("/")
            configs.setdefault(place, {})[name] = plans
    options = {}
    for command in (f"{EXAMPLES[package]} {rest}" for rest in [*OPTIONS, *OWN_OPTIONS[package]]):
        name, *rest = command.split()
        file = packages.CACHE / package / name
        options[command] = [short(outcome(package, file, ranks, rest), tables) for ranks in (1, RANKS)]
    write(GOLDEN / f"{package}.json", tables, {"configs": configs, "options": options})
    runs = [plan for place in configs.values() for plans in place.values() for plan in plans]
    print(package, len(runs), "runs,", sum(isinstance(plan, str) for plan in runs), "fail")


def write(path: Path, tables: dict[str, Table], named: dict[str, dict[str, Any]]) -> None:
    """Write JSON with an item of a table, and a folder of configs, a line."""
    parts = [f'"{name}": [\n{table.lines()}\n]' for name, table in tables.items()]
    for name, rows in named.items():
        lines = ",\n".join(f"{compact(key)}:{compact(value)}" for key, value in rows.items())
        parts.append(f'"{name}": {{\n{lines}\n}}')
    about = {"versions": {"mmcv": mmcv.__version__, "torch": torch.__version__.partition("+")[0]}, "columns": COLUMNS}
    path.write_text(json.dumps(about)[:-1] + ",\n" + ",\n".join(parts) + "}\n")


#: what the numbers of a plan stand for; all but the last three are numbers of `parts`
COLUMNS = ["runner", "run", "model", "optimizer", "optimizer_class", "calls", "cudnn_benchmark"]
COLUMNS += ["hooks", "called", "loaders"]


def short(plan: dict[str, Any] | str, tables: dict[str, Table]) -> int | str:
    """Write a plan as numbers of lines in the tables."""
    if isinstance(plan, str):
        return plan
    kinds = ("asked", "made", "dataset")
    lists = {
        "hooks": [tables["hooks"].number(hook) for hook in plan["hooks"]],
        "called": plan["called"],
        "loaders": [[tables[kind].number(loader[kind]) for kind in kinds] for loader in plan["loaders"]],
    }
    return tables["plans"].number(
        [lists[key] if key in lists else tables["parts"].number(plan[key]) for key in COLUMNS]
    )


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    codebases.fetch()
    GOLDEN.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for package in sys.argv[1:] or codebases.NAMES:
            with codebases.stand_ins(package):
                record(package)


if __name__ == "__main__":
    main()

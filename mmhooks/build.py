"""A config becomes a run: model, loaders, optimizer and hooks, for any driver."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmhooks.config import Config
from mmhooks.distributed import get_dist_info
from mmhooks.errors import ConfigError, nearest
from mmhooks.hooks import EvalHook
from mmhooks.log import get_logger
from mmhooks.optim import build_optimizer
from mmhooks.registry import DATASETS, HOOKS, MODELS, build_from_cfg
from mmhooks.runner.base import Optimizers, Workflow
from mmhooks.runner.checks import check_flows
from mmhooks.runner.registration import HookRegistration

RUNNER_TYPES = ("EpochBasedRunner", "IterBasedRunner")
_TRAINING_KEYS = ("lr_config", "optimizer_config", "checkpoint_config", "log_config", "momentum_config")


@dataclass
class RunSpec:
    """All that a driver needs to know of a run.

    Attributes:
        model: on its device.
        optimizer: over the model's parameters; one, or several by name.
        loaders: one a flow of the workflow.
        workflow: ``[("train", 1), ("val", 1)]`` or the like.
        by_epoch: whether the run counts epochs or iterations.
        max_epochs: its length in epochs, or
        max_iters: in iterations.
        training_hooks: the keyword arguments of `register_training_hooks`.
        hooks: further hooks, or configs of hooks, each with its priority.
        device: where the model is.
        work_dir: the folder of checkpoints and logs. None: nothing is written.
        meta: what is logged first and saved with every checkpoint.
        logger: where lines go.
        load_from: a checkpoint to take the weights from.
        resume_from: a checkpoint to go on from; goes before ``load_from``.
        timestamp: part of the names of the logs.
    """

    model: nn.Module
    optimizer: Optimizers
    loaders: list[Any]
    workflow: Workflow
    by_epoch: bool
    max_epochs: int | None
    max_iters: int | None
    training_hooks: dict[str, Any]
    hooks: list[tuple[Any, Any]]
    device: torch.device
    work_dir: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    logger: logging.Logger = field(default_factory=get_logger)
    load_from: str | None = None
    resume_from: str | None = None
    timestamp: str = field(default_factory=lambda: time.strftime("%Y%m%d_%H%M%S", time.localtime()))

    def register_on(self, registration: HookRegistration) -> None:
        """Register the training hooks, then the further ones, on a runner or a bridge."""
        registration.register_training_hooks(**self.training_hooks)
        for hook, priority in self.hooks:
            registration.register_hook(hook, priority)


def build_run(
    cfg: Config | Mapping[str, Any],
    *,
    work_dir: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    load_from: str | os.PathLike[str] | None = None,
    resume_from: str | os.PathLike[str] | None = None,
    auto_resume: bool = False,
    device: str | torch.device | None = None,
) -> RunSpec:
    """Build the run that a config describes. An argument goes before the config's key of that name.

    Here, and not when the config is read, the modules of its ``custom_imports`` are imported. Keys that nothing
    here knows are left alone.

    Args:
        cfg: the config, which stays as it is.
        work_dir: the folder of checkpoints and logs.
        seed: of the generators of Python, NumPy and PyTorch, set before anything is built.
        load_from: a checkpoint to take the weights from.
        resume_from: a checkpoint to go on from.
        auto_resume: go on from ``<work_dir>/latest.pth`` if that exists.
        device: where the model goes; a GPU if there is one, by default.

    Raises:
        ConfigError: a key that is missing or cannot be used; says which one, and of which file.
        RegistryError: a type that nobody registered.

    Example:
        >>> spec = build_run(Config.fromfile("configs/resnet.py"), work_dir="work")  # doctest: +SKIP
        >>> find_driver("native")(spec)  # doctest: +SKIP
    """
    source = _Source.of(cfg)
    values = source.values
    folder = work_dir if work_dir is not None else values.get("work_dir")
    seed = seed if seed is not None else values.get("seed")
    by_epoch, max_epochs, max_iters = _length(source)
    workflow = _workflow(source)
    logger = source.logger()
    if values.get("fp16"):
        raise ConfigError(
            f"{source.name}: fp16={values['fp16']!r} is not supported yet, and without it the numbers would be others: "
            "set fp16=None to train in full precision"
        )
    import_custom(values.get("custom_imports"), source.name, logger)
    if seed is not None:
        set_random_seed(seed)

    # in this order: drivers must not differ in the random numbers that building draws
    where = _device(device)
    model = build_from_cfg(source.section("model"), MODELS).to(where)
    loaders = [build_loader(source, mode, seed) for mode, _ in workflow]
    optimizer = build_optimizer(model, source.section("optimizer"))
    hooks = [*_evaluation(source, by_epoch, seed), *((hook, "NORMAL") for hook in values.get("custom_hooks") or ())]
    return RunSpec(
        model=model,
        optimizer=optimizer,
        loaders=loaders,
        workflow=workflow,
        by_epoch=by_epoch,
        max_epochs=max_epochs,
        max_iters=max_iters,
        training_hooks={"lr_config": None, **{key: values[key] for key in _TRAINING_KEYS if key in values}},
        hooks=hooks,
        device=where,
        work_dir=_path(folder),
        meta={"seed": seed, "exp_name": Path(source.name).name, "config": source.text},
        logger=logger,
        load_from=_path(load_from or values.get("load_from")),
        resume_from=_latest(folder, auto_resume) or _path(resume_from or values.get("resume_from")),
    )


def model_and_evaluation(
    cfg: Config | Mapping[str, Any], *, device: str | torch.device | None = None
) -> tuple[nn.Module, EvalHook]:
    """Build what it takes to judge a model: the model, and the evaluation of the config over ``data.test``.

    Without a ``data.test`` it is over ``data.val``, as during training.

    Args:
        cfg: the config, which stays as it is.
        device: where the model goes; a GPU if there is one, by default.

    Raises:
        ConfigError: a key that is missing or cannot be used.
        RegistryError: a type that nobody registered.
    """
    source = _Source.of(cfg)
    import_custom(source.values.get("custom_imports"), source.name, source.logger())
    model = build_from_cfg(source.section("model"), MODELS).to(_device(device))
    split = "test" if source.section("data").get("test") else "val"
    evaluation = {"type": "EvalHook", **(source.values.get("evaluation") or {})}
    evaluation["dataloader"] = build_loader(source, split, None)
    hook = build_from_cfg(evaluation, HOOKS)
    if not isinstance(hook, EvalHook):
        raise ConfigError(f"{source.name}: the type of evaluation must be an EvalHook, not {type(hook).__name__}")
    return model, hook


@dataclass
class _Source:
    """The values of a config, and where they come from."""

    values: dict[str, Any]
    name: str
    text: str

    @classmethod
    def of(cls, cfg: Config | Mapping[str, Any]) -> _Source:
        config = cfg if isinstance(cfg, Config) else Config(cfg)
        return cls(config.to_dict(), config.filename or "the config", config.text)

    def section(self, key: str) -> dict[str, Any]:
        """Give the dict of a key, which may be one inside ``data``: ``"data.train"``."""
        found: Any = self.values
        for part in key.split("."):
            if part not in found or found[part] is None:
                raise ConfigError(f"{self.name} has no {key!r}{nearest(part, map(str, found))}")
            found = found[part]
            if not isinstance(found, dict):
                raise ConfigError(f"{self.name}: {key} must be a dict, not {found!r:.60} ({type(found).__name__})")
        return dict(found)

    def logger(self) -> logging.Logger:
        """Give the logger of the run, at the level that the config wants."""
        logger = get_logger()
        level = self.values.get("log_level")
        if level is not None:
            try:
                logger.setLevel(level)
            except (TypeError, ValueError):
                known = list(logging.getLevelNamesMapping())
                raise ConfigError(
                    f"{self.name}: log_level={level!r} is none of {', '.join(known)}{nearest(str(level), known)}"
                ) from None
        return logger


def import_custom(custom_imports: Any, where: str, logger: logging.Logger) -> None:
    """Import the modules that register a project's own classes.

    Args:
        custom_imports: a module name, a list of them, or
            ``dict(imports=[...], allow_failed_imports=False)``, with which a failure may be only a warning.
        where: the config, for messages.
        logger: hears of a failure that is allowed.

    Raises:
        ConfigError: a module cannot be imported.
    """
    allowed = False
    if isinstance(custom_imports, Mapping):
        allowed = bool(custom_imports.get("allow_failed_imports", False))
        custom_imports = custom_imports.get("imports")
    names = [custom_imports] if isinstance(custom_imports, str) else list(custom_imports or ())
    for name in names:
        if not isinstance(name, str):
            raise ConfigError(f"{where}: custom_imports takes names of modules, not {name!r}")
        try:
            importlib.import_module(name)
        except ImportError as error:
            message = (
                f"{where}: custom_imports names {name!r}, which cannot be imported: {error}. "
                "Is it installed, or its folder on PYTHONPATH?"
            )
            if not allowed:
                raise ConfigError(message) from error
            logger.warning("%s", message)


def set_random_seed(seed: int) -> None:
    """Seed the generators of Python, NumPy and PyTorch (those of all GPUs too)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def build_loader(source: _Source, split: str, seed: int | None) -> DataLoader[Any]:
    """Build the data set of a split, and the loader over it."""
    data = source.section("data")
    if "samples_per_gpu" not in data:
        raise ConfigError(f"{source.name} has no 'data.samples_per_gpu'{nearest('samples_per_gpu', map(str, data))}")
    workers = data.get("workers_per_gpu", 0)
    return DataLoader(
        build_from_cfg(source.section(f"data.{split}"), DATASETS),
        batch_size=data["samples_per_gpu"],
        num_workers=workers,
        shuffle=split == "train",
        worker_init_fn=None if seed is None else functools.partial(_seed_worker, workers, seed),
    )


def _seed_worker(workers: int, seed: int, worker: int) -> None:
    # as MMCV's projects do; PyTorch's own generator is seeded by the loader, anew for every epoch
    worker_seed = workers * get_dist_info()[0] + worker + seed
    random.seed(worker_seed)
    np.random.seed(worker_seed)


def _length(source: _Source) -> tuple[bool, int | None, int | None]:
    """Tell whether the run counts epochs, and its length in epochs or in iterations."""
    values = source.values
    runner = source.section("runner") if values.get("runner") is not None else {}
    if not runner:
        runner = {f"max_{unit}": values[f"total_{unit}"] for unit in ("epochs", "iters") if f"total_{unit}" in values}
    epochs, iters = runner.get("max_epochs"), runner.get("max_iters")
    kind = runner.get("type", RUNNER_TYPES[0] if epochs is not None else RUNNER_TYPES[1])
    if kind not in RUNNER_TYPES:
        raise ConfigError(
            f"{source.name}: the type of runner must be one of {', '.join(RUNNER_TYPES)}, not {kind!r}"
            f"{nearest(str(kind), RUNNER_TYPES)}"
        )
    by_epoch = kind == RUNNER_TYPES[0]
    wanted, other = (epochs, iters) if by_epoch else (iters, epochs)
    if not isinstance(wanted, int) or other is not None:
        raise ConfigError(
            f"{source.name} does not say how long to train: write "
            "runner=dict(type='EpochBasedRunner', max_epochs=12) or runner=dict(type='IterBasedRunner', "
            f"max_iters=40000); it has {runner or 'no runner'}"
        )
    return by_epoch, epochs, iters


def _workflow(source: _Source) -> Workflow:
    given = source.values.get("workflow") or [("train", 1)]
    try:
        workflow = [tuple(flow) for flow in given]
    except TypeError:
        raise ConfigError(f"{source.name}: workflow must be a list such as [('train', 1)], not {given!r}") from None
    check_flows([None] * len(workflow), workflow)
    return workflow


def _evaluation(source: _Source, by_epoch: bool, seed: int | None) -> list[tuple[Any, str]]:
    if not source.values.get("evaluation"):
        return []
    config = {"type": "EvalHook", "by_epoch": by_epoch, **source.section("evaluation")}
    return [({**config, "dataloader": build_loader(source, "val", seed)}, "LOW")]


def _device(device: str | torch.device | None) -> torch.device:
    return torch.device(device if device is not None else "cuda" if torch.cuda.is_available() else "cpu")


def _path(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


def _latest(folder: str | os.PathLike[str] | None, wanted: bool) -> str | None:
    if not wanted:
        return None
    if folder is None:
        raise ConfigError("auto_resume looks for latest.pth in the work_dir, and there is no work_dir")
    latest = Path(folder) / "latest.pth"
    return str(latest) if latest.exists() else None

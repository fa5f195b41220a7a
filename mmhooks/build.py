"""A config becomes a run: model, loaders, optimizer and hooks, for any driver."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmhooks.checks import check_flag
from mmhooks.config import Config
from mmhooks.config.source import Source
from mmhooks.distributed import MMDistributedDataParallel, get_dist_info, set_random_seed, sync_random_seed
from mmhooks.errors import ConfigError, nearest
from mmhooks.hooks import EvalHook
from mmhooks.loaders import build_loader
from mmhooks.log import get_logger
from mmhooks.optim import build_optimizer
from mmhooks.registry import HOOKS, MODELS, build_from_cfg
from mmhooks.runner.base import Optimizers, Workflow
from mmhooks.runner.checks import check_flows, check_length
from mmhooks.runner.registration import HookRegistration

RUNNER_TYPES = ("EpochBasedRunner", "IterBasedRunner")
_TRAINING_KEYS = ("lr_config", "optimizer_config", "checkpoint_config", "log_config", "momentum_config")


@dataclass
class RunSpec:
    """All that a driver needs to know of a run.

    Attributes:
        model: on its device, in several processes in an `MMDistributedDataParallel`.
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
    diff_seed: bool = False,
    deterministic: bool = False,
    load_from: str | os.PathLike[str] | None = None,
    resume_from: str | os.PathLike[str] | None = None,
    auto_resume: bool = False,
    device: str | torch.device | None = None,
) -> RunSpec:
    """Build the run that a config describes. An argument goes before the config's key of that name.

    Here, and not when the config is read, the modules of its ``custom_imports`` are imported. Keys that nothing
    here knows are left alone. In a process group every process calls it: each gets its share of the data, and a
    model whose gradients are averaged.

    Args:
        cfg: the config, which stays as it is.
        work_dir: the folder of checkpoints and logs.
        seed: of the generators of Python, NumPy and PyTorch, set before anything is built. Without one, several
            processes agree on one, as does a deterministic run; otherwise nothing is seeded.
        diff_seed: add the rank of a process to its seed. The order of the data stays that of the seed.
        deterministic: let cuDNN choose only kernels that repeat their result.
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
    source = Source.of(cfg)
    values = source.values
    folder = work_dir if work_dir is not None else values.get("work_dir")
    by_epoch, max_epochs, max_iters = _length(source)
    workflow = _workflow(source)
    training_hooks = _training_hooks(source)
    logger = _logger(source)
    import_custom(values.get("custom_imports"), source.name, logger)
    seed = _seed(seed if seed is not None else values.get("seed"), diff_seed, deterministic)

    # in this order: drivers must not differ in the random numbers that building draws
    where = _device(device)
    model = _parallel(build_from_cfg(source.section("model"), MODELS).to(where), source)
    loaders = [build_loader(source, mode, seed) for mode, _ in workflow]
    optimizer = build_optimizer(model, source.section("optimizer"))
    return RunSpec(
        model=model,
        optimizer=optimizer,
        loaders=loaders,
        workflow=workflow,
        by_epoch=by_epoch,
        max_epochs=max_epochs,
        max_iters=max_iters,
        training_hooks=training_hooks,
        hooks=_hooks(source, by_epoch, seed),
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
    source = Source.of(cfg)
    import_custom(source.values.get("custom_imports"), source.name, _logger(source))
    model = build_from_cfg(source.section("model"), MODELS).to(_device(device))
    split = "test" if source.section("data").get("test") else "val"
    evaluation = {"type": "EvalHook", **(source.values.get("evaluation") or {})}
    evaluation["dataloader"] = build_loader(source, split, None)
    hook = build_from_cfg(evaluation, HOOKS)
    if not isinstance(hook, EvalHook):
        raise ConfigError(f"{source.name}: the type of evaluation must be an EvalHook, not {type(hook).__name__}")
    return model, hook


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


def _length(source: Source) -> tuple[bool, int | None, int | None]:
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
    if wanted is None or other is not None:
        raise ConfigError(
            f"{source.name} does not say how long to train: write "
            "runner=dict(type='EpochBasedRunner', max_epochs=12) or runner=dict(type='IterBasedRunner', "
            f"max_iters=40000); it has {runner or 'no runner'}"
        )
    length = check_length(source.name, "max_epochs" if by_epoch else "max_iters", wanted)
    return by_epoch, length if by_epoch else None, None if by_epoch else length


def _workflow(source: Source) -> Workflow:
    given = source.values.get("workflow") or [("train", 1)]
    try:
        workflow = [tuple(flow) for flow in given]
    except TypeError:
        raise ConfigError(f"{source.name}: workflow must be a list such as [('train', 1)], not {given!r}") from None
    check_flows([None] * len(workflow), workflow)
    return workflow


def _training_hooks(source: Source) -> dict[str, Any]:
    """Give the arguments of `register_training_hooks`; ``fp16`` is one way to write an `Fp16OptimizerHook`."""
    values = source.values
    hooks = {"lr_config": None, **{key: values[key] for key in _TRAINING_KEYS if key in values}}
    fp16 = values.get("fp16")
    if fp16 is None:
        return hooks
    if not isinstance(fp16, Mapping):
        raise ConfigError(f"{source.name}: fp16 must be a dict such as dict(loss_scale=512.0), not {fp16!r}")
    config = source.section("optimizer_config") if values.get("optimizer_config") is not None else {}
    mixed = {"type": "Fp16OptimizerHook", **fp16}
    for key in config:
        if key in mixed:
            raise ConfigError(
                f"{source.name}: fp16 means optimizer_config=dict({_written(mixed)}), and optimizer_config has "
                f"{key}={config[key]!r} too: set fp16=None, or take that out of optimizer_config"
            )
    hooks["optimizer_config"] = {**config, **mixed}
    return hooks


def _written(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in config.items())


def _hooks(source: Source, by_epoch: bool, seed: int | None) -> list[tuple[Any, str]]:
    """Give what is registered beside the training hooks: sampler, evaluation, custom hooks."""
    several = get_dist_info()[1] > 1
    hooks: list[tuple[Any, str]] = []
    if several and by_epoch:  # an iteration-based run tells its samplers itself
        hooks.append(({"type": "DistSamplerSeedHook"}, "NORMAL"))
    if source.values.get("evaluation"):
        evaluation = {"type": "DistEvalHook" if several else "EvalHook", "by_epoch": by_epoch}
        evaluation |= source.section("evaluation") | {"dataloader": build_loader(source, "val", seed)}
        hooks.append((evaluation, "LOW"))
    return hooks + [(hook, "NORMAL") for hook in source.values.get("custom_hooks") or ()]


def _seed(seed: int | None, diff_seed: bool, deterministic: bool) -> int | None:
    """Seed the generators, if there is a seed or must be one; all processes agree on it."""
    if seed is None and not (deterministic or get_dist_info()[1] > 1):
        return None
    seed = sync_random_seed(seed)
    set_random_seed(seed, deterministic, use_rank_shift=diff_seed)
    return seed


def _parallel(model: nn.Module, source: Source) -> nn.Module:
    unused = check_flag(source.name, "find_unused_parameters", source.values.get("find_unused_parameters", False))
    if get_dist_info()[1] == 1:
        return model
    return MMDistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=unused)


def _logger(source: Source) -> logging.Logger:
    """Give the logger of the run, at the level that the config wants; other ranks than 0 tell of errors alone."""
    logger = get_logger()
    level = source.values.get("log_level")
    if get_dist_info()[0] != 0:
        level = "ERROR"
    if level is not None:
        try:
            logger.setLevel(level)
        except (TypeError, ValueError):
            known = list(logging.getLevelNamesMapping())
            raise ConfigError(
                f"{source.name}: log_level={level!r} is none of {', '.join(known)}{nearest(str(level), known)}"
            ) from None
    return logger


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

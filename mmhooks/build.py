"""A config becomes a run: model, loaders, optimizer and hooks, for any driver."""

from __future__ import annotations

import difflib
import logging
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmhooks.builders import FromRegistries, RunBuilder, builder_of
from mmhooks.checkpoint import read_checkpoint
from mmhooks.checks import check_flag, check_path
from mmhooks.config import Config
from mmhooks.config.source import Source, built_from
from mmhooks.distributed import MMDistributedDataParallel, get_dist_info, set_random_seed, sync_random_seed
from mmhooks.distributed.collect import broadcast_object
from mmhooks.errors import CheckpointError, ConfigError, nearest
from mmhooks.hook_configs import evaluation_of
from mmhooks.hooks import EvalHook
from mmhooks.imports import import_custom
from mmhooks.loaders import build_loader
from mmhooks.log import get_logger
from mmhooks.plan import RunPlan, plan_run
from mmhooks.process import prepare_process
from mmhooks.recipes import OWN, Recipe, find_recipe
from mmhooks.recipes.find import model_type, recipe_of_model
from mmhooks.recipes.keys import RUN_KEYS, Fate, key_fates
from mmhooks.registry import HOOKS, MODELS, arguments_of, build_from_cfg
from mmhooks.runner.base import Optimizers, Workflow
from mmhooks.runner.registration import HookRegistration


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
        config: the file that describes the run, for messages.
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
    config: str = "the config"

    def register_on(self, registration: HookRegistration) -> None:
        """Register the training hooks, then the further ones, on a runner or a bridge.

        Raises:
            ConfigError: a config of a hook that cannot be used; as of what a hook itself raises, a note names the file.
            RegistryError: a type or a policy that nobody registered.
        """
        with built_from(f"the hooks of {self.config}"):
            registration.register_training_hooks(**self.training_hooks)
            for hook, priority in self.hooks:
                registration.register_hook(hook, priority)


def build_run(
    cfg: Config | Mapping[str, Any],
    *,
    codebase: str | Recipe | None = None,
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
        codebase: the recipe of the code base that consumes the config (see `mmhooks.recipes`), or its name. Without it
            the type of the model tells, where nobody registered one of that name here: ``FasterRCNN`` is mmdet's.
        work_dir: the folder of checkpoints and logs, on this machine.
        seed: of the generators of Python, NumPy and PyTorch, set before anything is built. Without one, several
            processes agree on one, as does a deterministic run; otherwise nothing is seeded.
        diff_seed: add the rank of a process to its seed. The order of the data stays that of the seed.
        deterministic: let cuDNN choose only kernels that repeat their result.
        load_from: a checkpoint to take the weights from.
        resume_from: a checkpoint to go on from.
        auto_resume: go on from the newest whole checkpoint in the work_dir, if there is one.
        device: where the model goes; a GPU if there is one, by default.

    Raises:
        ConfigError: an argument, or a key that is missing or cannot be used; says which one, and of which file.
        RegistryError: a type that nobody registered.

    Example:
        >>> spec = build_run(Config.fromfile("configs/resnet.py"), work_dir="work")  # doctest: +SKIP
        >>> find_driver("native")(spec)  # doctest: +SKIP
    """
    source = Source.of(cfg)
    values = source.values
    flags = {"diff_seed": diff_seed, "deterministic": deterministic, "auto_resume": auto_resume}
    for name, value in flags.items():
        check_flag("build_run", name, value)
    where = _device("build_run", device)
    folder = _folder(source, work_dir)
    load_from = _path(source, "load_from", load_from)
    resume_from = _path(source, "resume_from", resume_from)
    plan = plan_run(cfg, _codebase(source, codebase), world_size=get_dist_info()[1])
    logger = _logger(source)
    import_custom(values.get("custom_imports"), source.name, logger)
    seed = _seed(seed if seed is not None else plan.seed, diff_seed, deterministic)
    prepare_process(source, plan.recipe)
    _tell_misspelt_keys(source, plan, logger)

    # in this order: drivers must not differ in the random numbers that building draws
    builder = builder_of(plan)
    model = _parallel(builder.model().to(where), plan.parallel)
    loaders = [builder.loader(mode, seed) for mode, _ in plan.workflow]
    optimizer = builder.optimizer(model)
    return RunSpec(
        model=model,
        optimizer=optimizer,
        loaders=loaders,
        workflow=plan.workflow,
        by_epoch=plan.by_epoch,
        max_epochs=plan.max_epochs,
        max_iters=plan.max_iters,
        training_hooks=plan.training_hooks,
        hooks=_further_hooks(plan, builder, seed, model, logger),
        device=where,
        work_dir=folder,
        meta={"seed": seed, "exp_name": Path(source.name).name, "config": source.text(), **builder.meta()},
        logger=logger,
        load_from=load_from,
        resume_from=_latest(folder, auto_resume, logger) or resume_from,
        config=source.name,
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
        ConfigError: an argument, or a key that is missing or cannot be used.
        RegistryError: a type that nobody registered.
    """
    source = Source.of(cfg)
    where = _device("model_and_evaluation", device)
    import_custom(source.values.get("custom_imports"), source.name, _logger(source))
    evaluation = {"type": "EvalHook", **evaluation_of(source, get_dist_info()[1] > 1)}
    evaluation.pop("priority", None)
    model = FromRegistries(source).model().to(where)
    split = "test" if source.section("data").get("test") else "val"
    evaluation["dataloader"] = build_loader(source, split, None)
    with source.building("evaluation"):
        hook = build_from_cfg(evaluation, HOOKS)
    if not isinstance(hook, EvalHook):
        kind = f"{type(hook).__module__}.{type(hook).__qualname__}"
        raise ConfigError(f"{source.name}: the type of evaluation must be a subclass of mmhooks.EvalHook, not {kind}")
    return model, hook


def _codebase(source: Source, codebase: str | Recipe | None) -> Recipe:
    """Find the recipe: one's own code, unless the model is one that a code base is known by and nobody registered."""
    if isinstance(codebase, Recipe):
        return codebase
    if codebase is not None:
        return find_recipe(source, codebase)
    kind = model_type(source)
    if kind is None or kind in MODELS:
        return OWN
    return recipe_of_model(kind) or OWN


def _further_hooks(
    plan: RunPlan, builder: RunBuilder, seed: int | None, model: nn.Module, logger: logging.Logger
) -> list[tuple[Any, Any]]:
    """Give what is registered beside the training hooks; the evaluation gets its loader."""
    hooks: list[tuple[Any, Any]] = []
    for hook in plan.hooks:
        config = hook.config
        if hook.key == "evaluation":
            if hook.place is None:
                kind = HOOKS.get(config["type"]) if isinstance(config["type"], str) else config["type"]
                _tell_misspelt(config, kind, plan.source.name, logger)
            config = builder.evaluation(hook, seed, model)
        hooks.append((config, hook.priority))
    return hooks


def _tell_misspelt_keys(source: Source, plan: RunPlan, logger: logging.Logger) -> None:
    """Warn of keys that nothing reads and that look like one that the run reads: its defaults would hold instead."""
    for one in key_fates(source, plan.recipe, source.text()):
        near = difflib.get_close_matches(one.key, (*RUN_KEYS, "model", "data"), n=1, cutoff=0.8)
        if one.fate is Fate.UNREAD and near and one.key != near[0]:
            logger.warning("%s: nothing reads %s; did you mean %r?", source.name, one.key, near[0])


def _tell_misspelt(evaluation: Mapping[str, Any], kind: Any, where: str, logger: logging.Logger) -> None:
    """Warn of keys that look like an argument of the hook, and go to ``dataset.evaluate``, as in MMCV."""
    known = ["type", "priority", "metric", *(arguments_of(kind) if kind is not None else ())]
    for key in map(str, evaluation):
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
        if near and key not in known:
            logger.warning("%s: evaluation.%s goes to dataset.evaluate; did you mean %r?", where, key, near[0])


def _seed(seed: int | None, diff_seed: bool, deterministic: bool) -> int | None:
    """Seed the generators, if there is a seed or must be one; all processes agree on it."""
    if seed is None and not (deterministic or get_dist_info()[1] > 1):
        return None
    seed = sync_random_seed(seed)
    set_random_seed(seed, deterministic, use_rank_shift=diff_seed)
    return seed


def _parallel(model: nn.Module, arguments: Mapping[str, Any]) -> nn.Module:
    return model if get_dist_info()[1] == 1 else MMDistributedDataParallel(model, **arguments)


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


def _device(owner: str, device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise ConfigError(
            f"{owner}'s device must be a device such as 'cpu' or 'cuda:0', or None, not {device!r} ({why})"
        ) from None


def _path(source: Source, name: str, argument: str | os.PathLike[str] | None) -> str | None:
    """Give the path that an argument says, or else the config's key of that name."""
    if argument is None:
        return check_path(source.name, name, source.values.get(name), optional=True) or None  # '' is None, as in MMCV
    path = check_path("build_run", name, argument)
    if not path:
        raise ConfigError(f"{name} is an empty path: leave it out, or say which")
    return path


def _folder(source: Source, argument: str | os.PathLike[str] | None) -> str | None:
    """Give the work_dir, which must be there or such that it can be made."""
    folder = _path(source, "work_dir", argument)
    if folder is None:
        return None
    name = "work_dir" if argument is not None else f"{source.name}: work_dir"
    if re.match(r"[\w.+-]{2,}:/", folder):  # of s3://bucket, a pathlib.Path leaves s3:/bucket
        raise ConfigError(
            f"{name} must be a folder of this machine, not {folder!r}: it holds the logs, and checkpoints go to a "
            "store with checkpoint_config=dict(out_dir='s3://bucket/folder')"
        )
    path = Path(folder)
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir():
        raise ConfigError(f"{name} cannot be {folder!r}, since {there} is a file: choose another folder")
    return folder


def _latest(folder: str | None, wanted: bool, logger: logging.Logger) -> str | None:
    """Find the newest checkpoint in the work_dir that is whole; rank 0 looks for all."""
    if not wanted:
        return None
    if folder is None:
        raise ConfigError("auto_resume looks for checkpoints in the work_dir, and there is no work_dir")
    return broadcast_object(newest_whole(Path(folder), logger) if get_dist_info()[0] == 0 else None)


def newest_whole(folder: Path, logger: logging.Logger) -> str | None:
    """Find the newest checkpoint in a folder that is whole, and says where its run was.

    Args:
        folder: one of this machine.
        logger: is warned of newer ones that are broken.

    Returns:
        Its path, or None.
    """
    latest = folder / "latest.pth"
    # by the time of writing; of one file under two names, latest.pth
    found = [(path.stat().st_mtime_ns, path == latest, path) for path in folder.glob("*.pth") if path.is_file()]
    known: set[Path] = set()
    broken: list[str] = []
    for _, _, path in sorted(found, reverse=True):
        if path.resolve() in known:
            continue
        known.add(path.resolve())
        try:
            meta = read_checkpoint(path, map_location="cpu").get("meta")
        except CheckpointError as error:
            broken.append(str(error))
            continue
        if isinstance(meta, Mapping) and "epoch" in meta and "iter" in meta:  # others are weights to start from
            if broken:
                logger.warning("auto_resume goes back to %s, since newer ones are broken: %s", path, "; ".join(broken))
            return str(path)
    if broken:
        logger.warning("auto_resume begins anew: no checkpoint in %s is whole: %s", folder, "; ".join(broken))
    return None

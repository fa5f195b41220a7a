"""A config becomes a plan: what is registered, in which order, with which arguments. Nothing is built or imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmhooks.checks import check_flag
from mmhooks.config import Config
from mmhooks.config.source import Source, check_keys
from mmhooks.errors import ConfigError, nearest
from mmhooks.hook_configs import evaluation_of, optimizer_hook, training_configs
from mmhooks.recipes.find import find_recipe
from mmhooks.recipes.keys import KeyFate, key_fates
from mmhooks.recipes.recipe import SPLITS, Loaders, Recipe
from mmhooks.recipes.substitute import substituted
from mmhooks.runner.base import Workflow
from mmhooks.runner.checks import check_custom_hooks, check_length, check_workflow

RUNNER_TYPES = ("EpochBasedRunner", "IterBasedRunner")
_RUNNER_KEYS = ("type", "max_epochs", "max_iters")


@dataclass
class PlannedHook:
    """A hook that is registered after the training hooks.

    Attributes:
        key: the key of the config that asks for it: ``"evaluation"``, ``"custom_hooks[0]"``; empty: the recipe does.
        config: its ``type`` and arguments, or the hook itself. That of the evaluation has no data loader yet.
        priority: its priority.
        place: where its class is in the code base, ``"mmdet.core:EvalHook"``. None: ``type`` is a registered name.
    """

    key: str
    config: Any
    priority: int | str
    place: str | None = None


@dataclass
class RunPlan:
    """All that a config says of a run, as its code base reads it.

    Attributes:
        source: the config, with ``${key}`` filled in where the code base does so.
        recipe: how its code base consumes it.
        by_epoch: whether the run counts epochs.
        max_epochs: its length in epochs, or
        max_iters: in iterations.
        workflow: ``[("train", 1)]`` or the like.
        optimizer: the config of the optimizer, or of several by name. None: there is none.
        training_hooks: the keyword arguments of `register_training_hooks`, the config's own hooks included where the
            recipe registers them there.
        hooks: what is registered afterwards, in this order.
        loaders: the arguments of the train and the val loader, by split.
        parallel: the arguments of DistributedDataParallel.
        load_from: a checkpoint to take the weights from.
        resume_from: a checkpoint to go on from.
        auto_resume: go on from the newest file of the work_dir.
        work_dir: the folder of checkpoints and logs.
        seed: of the random generators.
        keys: what becomes of every key.
        notes: what a reader should know besides, each by its key.
    """

    source: Source
    recipe: Recipe
    by_epoch: bool
    max_epochs: int | None
    max_iters: int | None
    workflow: Workflow
    optimizer: dict[str, Any] | None
    training_hooks: dict[str, Any]
    hooks: list[PlannedHook]
    loaders: dict[str, dict[str, Any]]
    parallel: dict[str, Any]
    load_from: str | None
    resume_from: str | None
    auto_resume: bool
    work_dir: str | None
    seed: int | None
    keys: list[KeyFate] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def length(self) -> int:
        """The length of the run, in epochs or in iterations."""
        length = self.max_epochs if self.by_epoch else self.max_iters
        assert length is not None
        return length


def plan_run(cfg: Config | Mapping[str, Any], codebase: str | Recipe | None = None, *, world_size: int = 1) -> RunPlan:
    """Plan the run that a config describes, as its code base would read it.

    Args:
        cfg: the config, which stays as it is.
        codebase: the name of a recipe, or ``"package.module:RECIPE"``, or a recipe; see `find_recipe`.
        world_size: the number of processes, which decides over the class of the evaluation and the sampler's hook.

    Raises:
        ConfigError: a key that is missing or cannot be used, or a code base that the config does not tell.

    Example:
        >>> plan = plan_run(Config.fromfile("configs/faster_rcnn.py"))  # doctest: +SKIP
        >>> plan.recipe.name, plan.max_epochs  # doctest: +SKIP
        ('mmdet', 12)
    """
    source = Source.of(cfg)
    recipe = codebase if isinstance(codebase, Recipe) else find_recipe(source, codebase)
    if recipe.substitutes:
        source = substituted(source)
    notes: dict[str, str] = {}
    by_epoch, max_epochs, max_iters = _length(source, recipe, notes)
    values = source.values
    training, custom = _training_hooks(source, recipe)
    hooks = _further_hooks(source, recipe, by_epoch, world_size, custom)
    loaders = {split: loader_arguments(source, recipe, split) for split in ("train", "val")}
    if recipe.loaders is not None and recipe.loaders.tells_runner:
        loaders["train"]["runner_type"] = RUNNER_TYPES[0 if by_epoch else 1]
    optimizer = None if values.get("optimizer") is None else source.section("optimizer")
    if recipe.scales_lr and optimizer is not None:
        _scale_lr(optimizer, source, loaders["train"], world_size, notes)
    unused = values.get("find_unused_parameters", recipe.find_unused_parameters)
    return RunPlan(
        source=source,
        recipe=recipe,
        by_epoch=by_epoch,
        max_epochs=max_epochs,
        max_iters=max_iters,
        workflow=workflow_of(source),
        optimizer=optimizer,
        training_hooks=training,
        hooks=hooks,
        loaders=loaders,
        parallel={
            "broadcast_buffers": False,
            "find_unused_parameters": check_flag(source.name, "find_unused_parameters", unused),
        },
        load_from=values.get("load_from") or None,
        resume_from=values.get("resume_from") or None,
        auto_resume=bool(values.get("auto_resume")) and "auto_resume" not in {*recipe.command_line, *recipe.unread},
        work_dir=values.get("work_dir") or None,
        seed=None if "seed" in recipe.command_line else values.get("seed"),
        keys=key_fates(source, recipe, cfg.text if isinstance(cfg, Config) else ""),
        notes=notes,
    )


def _length(source: Source, recipe: Recipe, notes: dict[str, str]) -> tuple[bool, int | None, int | None]:
    """Tell whether the run counts epochs, and its length in epochs or in iterations."""
    values = source.values
    runner: dict[str, Any] = {}
    if recipe.reads_runner and values.get("runner") is not None:
        runner = source.section("runner")
    if not runner:
        totals = {f"max_{unit}": values[f"total_{unit}"] for unit in ("epochs", "iters") if f"total_{unit}" in values}
        if recipe.default_runner is not None:
            unit = "max_epochs" if recipe.default_runner == RUNNER_TYPES[0] else "max_iters"
            totals = {"type": recipe.default_runner, **{key: value for key, value in totals.items() if key == unit}}
        runner = totals
    epochs, iters = runner.get("max_epochs"), runner.get("max_iters")
    kind = runner.get("type", RUNNER_TYPES[0] if epochs is not None else RUNNER_TYPES[1])
    if kind not in RUNNER_TYPES:
        raise ConfigError(
            f"{source.name}: the type of runner must be one of {', '.join(RUNNER_TYPES)}, not {kind!r}"
            f"{nearest(str(kind), RUNNER_TYPES)}"
        )
    if recipe.builders is None:
        check_keys(f"{source.name}: runner", runner, _RUNNER_KEYS)
    for key in runner:
        if key not in _RUNNER_KEYS:
            notes[f"runner.{key}"] = "an argument of another class of runner, which is not taken along"
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


def _scale_lr(
    optimizer: dict[str, Any], source: Source, loader: Mapping[str, Any], world_size: int, notes: dict[str, str]
) -> None:
    """Scale the lr with the samples of all processes, where ``auto_scale_lr`` is enabled."""
    scaling = source.section("auto_scale_lr") if source.values.get("auto_scale_lr") is not None else {}
    base = scaling.get("base_batch_size")
    if not scaling.get("enable") or base is None:
        return
    samples = world_size * loader["samples_per_gpu"]
    notes["auto_scale_lr"] = f"lr is scaled by {samples} / {base}, for {world_size} processes"
    if samples != base:
        optimizer["lr"] = (samples / base) * optimizer["lr"]


def workflow_of(source: Source) -> Workflow:
    """Give the workflow of a config, ``[("train", 1)]`` where it has none.

    Raises:
        ConfigError: it is no list of flows.
    """
    given = source.values.get("workflow") or [("train", 1)]
    try:
        workflow = [tuple(flow) for flow in given]
    except TypeError:
        raise ConfigError(f"{source.name}: workflow must be a list such as [('train', 1)], not {given!r}") from None
    try:
        check_workflow(workflow)
    except ConfigError as error:
        raise ConfigError(f"{source.name}: {error}") from None
    return workflow


def _training_hooks(source: Source, recipe: Recipe) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Give the arguments of `register_training_hooks`, and the config's own hooks with their keys."""
    hooks = training_configs(source)
    if recipe.skips_optimizer_hook is not None and source.values.get(recipe.skips_optimizer_hook):
        hooks["optimizer_config"] = None
    else:
        hooks["optimizer_config"] = optimizer_hook(source, recipe)
    found = next((key for key in recipe.custom_hooks_keys if source.values.get(key) is not None), "custom_hooks")
    own = check_custom_hooks(f"{source.name}: {found}", source.values.get(found))
    custom = [(f"{found}[{index}]", hook) for index, hook in enumerate(own)]
    if recipe.custom_hooks == "before" and custom:
        hooks["custom_hooks_config"] = [hook for _, hook in custom]
    return hooks, custom


def _further_hooks(
    source: Source, recipe: Recipe, by_epoch: bool, world_size: int, custom: list[tuple[str, Any]]
) -> list[PlannedHook]:
    hooks: list[PlannedHook] = []
    if world_size > 1 and by_epoch:  # an iteration-based run tells its samplers itself
        hooks.append(PlannedHook("", {"type": "DistSamplerSeedHook"}, "NORMAL"))
    evaluation = _evaluation(source, recipe, by_epoch, world_size)
    if evaluation is not None:
        hooks.append(evaluation)
    if recipe.custom_hooks == "after":
        for key, config in custom:
            args = dict(config) if isinstance(config, Mapping) else config
            priority = args.pop("priority", "NORMAL") if isinstance(args, dict) else "NORMAL"
            hooks.append(PlannedHook(key, args, priority))
    return hooks


def _evaluation(source: Source, recipe: Recipe, by_epoch: bool, world_size: int) -> PlannedHook | None:
    how = recipe.evaluation
    config = evaluation_of(source, world_size > 1)
    if not config and not how.without_key:
        return None
    place = how.dist_hook if world_size > 1 else how.hook
    if how.by_epoch:
        config["by_epoch"] = config.get("by_epoch", by_epoch) if recipe.builders is None else by_epoch
    args = {"type": place.rpartition(":")[2], **config}
    if recipe.builders is not None:  # a priority in it would be one more argument
        return PlannedHook("evaluation", args, how.priority, place)
    return PlannedHook("evaluation", args, args.pop("priority", how.priority))


def loader_arguments(source: Source, recipe: Recipe, split: str) -> dict[str, Any]:
    """Give the arguments of a loader: the recipe's defaults, those in ``data``, those in ``data.<split>_dataloader``.

    Args:
        source: the config.
        recipe: how its code base consumes it.
        split: ``"train"`` or ``"val"``.
    """
    data = source.values.get("data")
    loaders = recipe.loaders
    if not isinstance(data, dict):
        return {}
    if loaders is None:
        return {key: data[key] for key in ("samples_per_gpu", "workers_per_gpu") if key in data}
    reads = [key for key in data if key not in SPLITS] if loaders.reads is None else list(loaders.reads)
    general = {key: data[key] for key in reads if key in data}
    if "imgs_per_gpu" in data and "samples_per_gpu" in reads:
        general["samples_per_gpu"] = data["imgs_per_gpu"]
    own = dict(data.get(f"{split}_dataloader") or {})
    if split == "train":
        fixed = {name: source.values.get(key) for name, key in recipe.loader_keys.items()}
        return {**loaders.train, **fixed, **_merged(loaders, general, own)}
    if loaders.val_reads is None:
        return {**loaders.train, **general, **loaders.val, **own}
    moved = {key: data[key] for key in loaders.val_reads if key in data}
    val = data.get("val")
    if isinstance(val, dict) and "samples_per_gpu" in val:
        moved["samples_per_gpu"] = val["samples_per_gpu"]
    return {**loaders.val, **_merged(loaders, moved, own)}


def _merged(loaders: Loaders, general: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    return {**own, **general} if loaders.data_wins else {**general, **own}

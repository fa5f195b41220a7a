"""The hooks that a config asks for, as what the `register_*` methods of a runner take."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from typing import Any

from mmhooks.config.source import Source
from mmhooks.distributed import get_dist_info
from mmhooks.errors import ConfigError
from mmhooks.loaders import build_loader
from mmhooks.registry import HOOKS, arguments_of
from mmhooks.runner.checks import check_custom_hooks

_TRAINING_KEYS = ("lr_config", "optimizer_config", "checkpoint_config", "log_config", "momentum_config")
_DIST_ARGUMENTS = ("broadcast_bn_buffer", "tmpdir", "gpu_collect")


def training_hooks(source: Source) -> dict[str, Any]:
    """Give the arguments of `register_training_hooks`; ``fp16`` is one way to write an `Fp16OptimizerHook`."""
    values = source.values
    hooks = {"lr_config": None, **{key: values[key] for key in _TRAINING_KEYS if key in values}}
    fp16 = values.get("fp16")
    if fp16 is None:
        if "optimizer_config" not in values:
            raise ConfigError(
                f"{source.name} has no 'optimizer_config', so nothing would step the optimizer: write "
                "optimizer_config=dict(), or optimizer_config=None where train_step steps it"
            )
        return hooks
    if not isinstance(fp16, Mapping):
        raise ConfigError(f"{source.name}: fp16 must be a dict such as dict(loss_scale=512.0), not {fp16!r}")
    if "type" in fp16:
        raise ConfigError(
            f"{source.name}: fp16 has the arguments of an Fp16OptimizerHook, and no type: for another hook, write "
            f"optimizer_config=dict({_written(fp16)}) in place of fp16"
        )
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


def further_hooks(source: Source, by_epoch: bool, seed: int | None, logger: logging.Logger) -> list[tuple[Any, str]]:
    """Give what is registered beside the training hooks: sampler, evaluation, custom hooks."""
    several = get_dist_info()[1] > 1
    hooks: list[tuple[Any, str]] = []
    if several and by_epoch:  # an iteration-based run tells its samplers itself
        hooks.append(({"type": "DistSamplerSeedHook"}, "NORMAL"))
    given = evaluation_of(source)
    if given:
        evaluation = {"type": "DistEvalHook" if several else "EvalHook", "by_epoch": by_epoch, **given}
        kind = _kind_of(evaluation)
        _tell_misspelt(evaluation, kind, source.name, logger)
        loader = build_loader(source, "val", seed, share=getattr(kind, "_shares_work", True))
        hooks.append(({**evaluation, "dataloader": loader}, "LOW"))
    own = check_custom_hooks(f"{source.name}: custom_hooks", source.values.get("custom_hooks"))
    return hooks + [(hook, "NORMAL") for hook in own]


def evaluation_of(source: Source) -> dict[str, Any]:
    """Give the arguments of the evaluation, none where there is no evaluation."""
    if source.values.get("evaluation") is None:
        return {}
    evaluation = source.section("evaluation")
    check_custom_hooks(f"{source.name}: evaluation", evaluation)
    if get_dist_info()[1] == 1 and "type" not in evaluation:
        for argument in _DIST_ARGUMENTS:  # of a config that is for one process and for several
            evaluation.pop(argument, None)
    return evaluation


def _kind_of(config: Mapping[str, Any]) -> Any:
    return HOOKS.get(config["type"]) if isinstance(config["type"], str) else config["type"]


def _tell_misspelt(evaluation: Mapping[str, Any], kind: Any, where: str, logger: logging.Logger) -> None:
    """Warn of keys that look like an argument of the hook, and go to ``dataset.evaluate``, as in MMCV."""
    known = ["type", "priority", "metric", *(arguments_of(kind) if kind is not None else ())]
    for key in map(str, evaluation):
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
        if near and key not in known:
            logger.warning("%s: evaluation.%s goes to dataset.evaluate; did you mean %r?", where, key, near[0])

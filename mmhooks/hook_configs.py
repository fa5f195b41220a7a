"""The hooks that a config asks for, as what the `register_*` methods of a runner take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmhooks.config.source import Source
from mmhooks.errors import ConfigError
from mmhooks.recipes.recipe import Recipe
from mmhooks.runner.checks import check_custom_hooks

_TRAINING_KEYS = ("lr_config", "optimizer_config", "checkpoint_config", "log_config", "momentum_config")
_DIST_ARGUMENTS = ("broadcast_bn_buffer", "tmpdir", "gpu_collect")


def training_configs(source: Source) -> dict[str, Any]:
    """Give the arguments of `register_training_hooks` that the config itself says."""
    return {"lr_config": None, **{key: source.values[key] for key in _TRAINING_KEYS if key in source.values}}


def optimizer_hook(source: Source, recipe: Recipe) -> Any:
    """Give the config of the hook that steps the optimizer; ``fp16`` is one way to write an `Fp16OptimizerHook`.

    Raises:
        ConfigError: there is none, or ``fp16`` contradicts ``optimizer_config``.
    """
    values = source.values
    fp16 = values.get("fp16") if recipe.fp16 != "ignored" else None
    if fp16 is None:
        if "optimizer_config" not in values:
            raise ConfigError(
                f"{source.name} has no 'optimizer_config', so nothing would step the optimizer: write "
                "optimizer_config=dict(), or optimizer_config=None where train_step steps it"
            )
        return values["optimizer_config"]
    if not isinstance(fp16, Mapping):
        raise ConfigError(f"{source.name}: fp16 must be a dict such as dict(loss_scale=512.0), not {fp16!r}")
    if recipe.fp16 == "loss_scale":
        fp16 = {key: fp16[key] for key in ("loss_scale",) if key in fp16}
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
    return {**config, **mixed}


def _written(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in config.items())


def evaluation_of(source: Source, several: bool) -> dict[str, Any]:
    """Give the arguments of the evaluation, none where there is no evaluation.

    Args:
        source: the config.
        several: there are several processes; one alone leaves out what only an evaluation in several takes.
    """
    if source.values.get("evaluation") is None:
        return {}
    evaluation = source.section("evaluation")
    check_custom_hooks(f"{source.name}: evaluation", evaluation)
    if not several and "type" not in evaluation:
        for argument in _DIST_ARGUMENTS:  # of a config that is for one process and for several
            evaluation.pop(argument, None)
    return evaluation

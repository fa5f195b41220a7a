"""The optimizer and its steps: what becomes of ``optimizer``, ``optimizer_config`` and ``fp16``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from mmhooks.errors import ConfigError
from mmhooks.plan import RunPlan
from mmhooks_lightning.migration.plain.text import flat_text
from mmhooks_lightning.migration.rows import Row, Verdict

_HOOKS = (
    "OptimizerHook",
    "GradientCumulativeOptimizerHook",
    "Fp16OptimizerHook",
    "GradientCumulativeFp16OptimizerHook",
)
_RULES = (
    "custom_keys",
    "bias_lr_mult",
    "bias_decay_mult",
    "norm_decay_mult",
    "dwconv_decay_mult",
    "dcn_offset_lr_mult",
    "bypass_duplicate",
)


def has_several(plan: RunPlan) -> bool:
    """Tell whether there are several optimizers by name, or a train_step that steps the one there is."""
    return is_by_name(plan) or (plan.training_hooks.get("optimizer_config") is None and plan.optimizer is not None)


def is_by_name(plan: RunPlan) -> bool:
    """Tell whether the optimizers are a dict by name."""
    return plan.optimizer is not None and "type" not in plan.optimizer


def is_own(plan: RunPlan) -> bool:
    """Tell whether the code base, not torch, must build the optimizer."""
    optimizer = plan.optimizer or {}
    constructor = optimizer.get("constructor", "DefaultOptimizerConstructor")
    kind = getattr(torch.optim, str(optimizer.get("type")), None)
    is_torchs = isinstance(kind, type) and issubclass(kind, Optimizer)
    return not is_torchs or constructor != "DefaultOptimizerConstructor"


def optimizer_settings(plan: RunPlan) -> dict[str, Any]:
    """Give the values of the generated config that say what is optimized."""
    optimizer = plan.optimizer
    if optimizer is None or is_own(plan):
        return {"optimizer": optimizer, "own_optimizer": optimizer is not None}
    found = {key: value for key, value in optimizer.items() if key not in ("constructor", "paramwise_cfg")}
    rules = {key: value for key, value in (optimizer.get("paramwise_cfg") or {}).items() if key in _RULES}
    if rules:
        found["paramwise_cfg"] = rules
    return {"optimizer": found, "own_optimizer": False}


def optimizer_rows(plan: RunPlan) -> list[Row]:
    """Say what became of ``optimizer`` and its ``paramwise_cfg``."""
    optimizer = plan.optimizer
    if optimizer is None:
        return [Row("optimizer", "None", "", Verdict.NOT_MAPPED, "a run without an optimizer trains nothing")]
    shown = flat_text(optimizer)
    if is_by_name(plan):
        why = (
            "train_step steps them itself, in manual optimization: a Trainer counts the steps of all of them in "
            "global_step, and in several processes a raw loss.backward() of train_step is not told to the strategy"
        )
        return [Row("optimizer", shown, "build_optimizer of builders.py", Verdict.DIFFERS, why)]
    if is_own(plan):
        why = "the optimizer, or its constructor, is the code base's own: it goes on building it"
        return [Row("optimizer", shown, "build_optimizer of builders.py", Verdict.CARRIED, why)]
    name = optimizer["type"]
    rules = optimizer.get("paramwise_cfg") or {}
    rest = {key: value for key, value in optimizer.items() if key not in ("paramwise_cfg", "constructor")}
    rows = [Row("optimizer", flat_text(rest), f"torch.optim.{name}", Verdict.EXACT)]
    if rules:
        unknown = [key for key in rules if key not in _RULES]
        why = f"{', '.join(unknown)}: MMCV does not read it either" if unknown else "one group a parameter, as in MMCV"
        rows.append(
            Row("optimizer.paramwise_cfg", flat_text(rules), "param_groups in param_groups.py", Verdict.EXACT, why)
        )
    return rows


def stepping(plan: RunPlan) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give what ``optimizer_config`` becomes: arguments of the Trainer, and values of the generated config.

    Raises:
        ConfigError: it is a hook that this style does not know.
    """
    config = plan.training_hooks.get("optimizer_config")
    trainer: dict[str, Any] = {}
    settings: dict[str, Any] = {"grad_clip": None, "loss_scale": None}
    if not isinstance(config, Mapping):
        return trainer, settings
    kind = config.get("type", "OptimizerHook")
    if kind not in _HOOKS:
        raise ConfigError(
            f"{plan.source.name}: optimizer_config is a {kind}, which steps in a way of its own: write "
            "--style bridge, which keeps it"
        )
    clip = dict(config.get("grad_clip") or {})
    if clip and not has_several(plan):
        if set(clip) <= {"max_norm", "norm_type"} and clip.get("norm_type", 2) == 2:
            trainer["gradient_clip_val"] = clip["max_norm"]
            trainer["gradient_clip_algorithm"] = "norm"
        else:
            settings["grad_clip"] = clip
    if "Cumulative" in kind and config.get("cumulative_iters", 1) > 1 and not has_several(plan):
        trainer["accumulate_grad_batches"] = config["cumulative_iters"]
    if "Fp16" in kind:
        if config.get("dtype") in ("bf16", "bfloat16"):
            trainer["precision"] = "bf16-mixed"
        else:
            settings["loss_scale"] = _loss_scale(config.get("loss_scale", 512.0))
    return trainer, settings


def _loss_scale(scale: Any) -> dict[str, Any] | float:
    if isinstance(scale, Mapping):
        return dict(scale)
    return {} if scale == "dynamic" else float(scale)


def stepping_row(plan: RunPlan) -> Row:
    """Say what became of ``optimizer_config``, with what ``fp16`` says."""
    config = plan.training_hooks.get("optimizer_config")
    trainer, settings = stepping(plan)
    if has_several(plan):
        why = "train_step steps by itself: manual optimization"
        if config:
            why += "; its settings have no place there"
        verdict = Verdict.EXACT if not config else Verdict.NOT_MAPPED
        return Row("optimizer_config", _shown(config), "automatic_optimization = False", verdict, why)
    became = [f"{key}={flat_text(value)}" for key, value in trainer.items()]
    reasons = []
    verdict = Verdict.EXACT
    if settings["grad_clip"] is not None:
        became.append("configure_gradient_clipping in module.py")
    if trainer.get("gradient_clip_val") is not None or settings["grad_clip"] is not None:
        reasons.append("the norm is that of MMCV; it is not logged as grad_norm")
    if "accumulate_grad_batches" in trainer:
        verdict = Verdict.DIFFERS
        reasons.append(
            "a Trainer steps at the end of each epoch too, and divides a group that is cut off there by its full "
            "size; MMCV counts over the whole run"
        )
    if settings["loss_scale"] is not None or "precision" in trainer:
        verdict = Verdict.DIFFERS
        if settings["loss_scale"] is not None:
            became.append(f"16-mixed with the loss scale {flat_text(settings['loss_scale']) or 'dynamic'}")
        reasons.append("all of the forward pass is cast by autocast, not only the methods under auto_fp16")
    if isinstance(config, Mapping) and config.get("detect_anomalous_params"):
        verdict = Verdict.DIFFERS
        reasons.append("detect_anomalous_params has no counterpart")
    text = ", ".join(became) or "automatic optimization"
    return Row("optimizer_config", _shown(config), text, verdict, "; ".join(reasons))


def _shown(config: Any) -> str:
    return flat_text(dict(config)) if isinstance(config, Mapping) else repr(config)

"""Every hook of the native half, in the variants that differ in what they do, as changes of the base case."""

from __future__ import annotations

from typing import Any

import pytest

Change = dict[str, Any]

CLIP = {"max_norm": 0.5}
GROWING = {"init_scale": 64.0, "growth_factor": 1.7, "growth_interval": 2}
WATCHED = {"log_config": {"interval": 2, "hooks": [{"type": "TextLoggerHook"}]}, "checkpoint_config": {"interval": 2}}


def _training(**sections: Any) -> Change:
    return {"training": sections}


def _hooks(*hooks: dict[str, Any], **training: Any) -> Change:
    return {"hooks": list(hooks), "training": training}


def _mixed(kind: str, **arguments: Any) -> Change:
    return {"model": "mixed", **_training(optimizer_config={"type": kind, **arguments}, **WATCHED)}


OPTIMIZERS: dict[str, Change] = {
    "OptimizerHook": _training(optimizer_config={}),
    "OptimizerHook, clip": _training(optimizer_config={"grad_clip": CLIP}, **WATCHED),
    "OptimizerHook, clip by another norm": _training(optimizer_config={"grad_clip": {**CLIP, "norm_type": 1}}),
    "OptimizerHook, anomalous": {"model": "frozen", **_training(optimizer_config={"detect_anomalous_params": True})},
    "no optimizer hook": {"model": "stepping", **_training(optimizer_config=None)},
    "GradientCumulativeOptimizerHook": _training(
        optimizer_config={"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 5}
    ),
    "GradientCumulativeOptimizerHook, clip": _training(
        optimizer_config={
            "type": "GradientCumulativeOptimizerHook", "cumulative_iters": 3, "grad_clip": CLIP, "skip_exchange": True,
        },
        **WATCHED,
    ),
    "Fp16OptimizerHook": _mixed("Fp16OptimizerHook"),
    "Fp16OptimizerHook, dynamic": _mixed("Fp16OptimizerHook", loss_scale="dynamic", grad_clip=CLIP),
    "Fp16OptimizerHook, growing": _mixed("Fp16OptimizerHook", loss_scale=GROWING),
    "Fp16OptimizerHook, bf16": _mixed("Fp16OptimizerHook", dtype="bf16", grad_clip=CLIP),
    "GradientCumulativeFp16OptimizerHook": _mixed(
        "GradientCumulativeFp16OptimizerHook", cumulative_iters=3, loss_scale=GROWING, grad_clip=CLIP
    ),
    "GradientCumulativeFp16OptimizerHook, bf16": _mixed(
        "GradientCumulativeFp16OptimizerHook", cumulative_iters=2, dtype="bf16"
    ),
}  # fmt: skip

LR: dict[str, dict[str, Any]] = {
    "fixed": {},
    "step": {"step": [1, 2, 7], "gamma": 0.3},
    "exp": {"gamma": 0.7},
    "poly": {"power": 0.9, "min_lr": 1e-4},
    "inv": {"gamma": 0.2, "power": 0.8},
    "CosineAnnealing": {"min_lr_ratio": 0.01},
    "FlatCosineAnnealing": {"start_percent": 0.4, "min_lr": 0.001},
    "CosineRestart": {"periods": [2, 100], "restart_weights": [1, 0.5], "min_lr": 0.001},
    "LinearAnnealing": {"min_lr": 0.01},
    "cyclic": {"target_ratio": (4, 0.1), "cyclic_times": 2, "step_ratio_up": 0.3, "by_epoch": False},
    "OneCycle": {"max_lr": 0.3, "pct_start": 0.4, "by_epoch": False},
}
MOMENTUM: dict[str, dict[str, Any]] = {
    "step": {"step": 2, "gamma": 0.8},
    "CosineAnnealing": {"min_momentum": 0.2},
    "LinearAnnealing": {"min_momentum_ratio": 0.5},
    "cyclic": {"target_ratio": (0.85, 1.0), "by_epoch": False},
    "OneCycle": {"base_momentum": 0.8, "max_momentum": 0.95, "three_phase": True, "by_epoch": False},
}
#: how each policy is counted and warmed up; ``by_epoch`` is for policies that do not say it themselves
COUNTING: dict[str, dict[str, Any]] = {
    "by epoch": {"warmup": "linear", "warmup_iters": 5, "warmup_ratio": 0.2},
    "by iteration": {"by_epoch": False, "warmup": "constant", "warmup_iters": 3, "warmup_ratio": 0.4},
    "in iterations": {"warmup": "exp", "warmup_iters": 6, "warmup_ratio": 0.1},
}


def schedule(number: int, counting: str) -> Change:
    """An lr policy beside a momentum policy, counted in one of the ways."""
    lr = list(LR)[number]
    momentum = list(MOMENTUM)[number % len(MOMENTUM)]
    counted = COUNTING[counting]
    told = {} if counting == "by epoch" else {"by_epoch": False}  # a momentum_config is not told by the runner
    change = _training(
        lr_config={"policy": lr, **counted, **LR[lr]},
        momentum_config={"policy": momentum, **counted, **told, **MOMENTUM[momentum]},
    )
    return {**change, **ITERATIONS} if counting == "in iterations" else {**change, **EPOCHS}


def _ema(**arguments: Any) -> Change:
    return _hooks({"type": "EMAHook", "momentum": 0.05, "priority": "ABOVE_NORMAL", **arguments}, **WATCHED)


AVERAGES: dict[str, Change] = {
    "EMAHook": _ema(),
    "EMAHook, every 3rd": _ema(interval=3),
    "EMAHook, compound": _ema(interval=3, interval_mode="compound", warm_up=1),
    "EMAHook, falling": _ema(warm_up=10, warm_up_mode="falling"),
    "EMAHook, fused": _ema(fused=True),
    "EMAHook, swapping": _ema(swap_interval=3),
    "EMAHook, after checkpoints": _ema(priority="LOW"),
}

FILES: dict[str, Change] = {
    "CheckpointHook": _training(checkpoint_config={"interval": 1}),
    "CheckpointHook, two kept": _training(checkpoint_config={"interval": 1, "max_keep_ckpts": 2}),
    "CheckpointHook, by iteration": _training(
        checkpoint_config={"interval": 3, "by_epoch": False, "max_keep_ckpts": 1, "save_optimizer": False}
    ),
    "CheckpointHook, the last alone": _training(
        checkpoint_config={"filename_tmpl": "no {:03d}.pth", "create_symlink": False, "meta": {"note": [1, 2]}}
    ),
    "CheckpointHook, not the last": _training(checkpoint_config={"interval": 2, "save_last": False}),
    "CheckpointHook, two of them": _hooks(
        {"type": "CheckpointHook", "interval": 2, "by_epoch": False, "filename_tmpl": "b_{}.pth", "max_keep_ckpts": 1,
         "sync_buffer": True},
        **WATCHED,
    ),
}  # fmt: skip


def _eval(**arguments: Any) -> Change:
    return _hooks({"type": "EvalHook", "data": {"size": 13, "seed": 3}, "priority": "LOW", **arguments}, **WATCHED)


EVALUATIONS: dict[str, Change] = {
    "EvalHook": _eval(),
    "EvalHook, torchmetrics": _eval(metrics=True, start=0, save_best="acc"),
    "EvalHook, best": _eval(save_best="acc"),
    "EvalHook, best by the smaller": _eval(save_best="auto", rule="less", restore_mode=True),
    "EvalHook, from the start": _eval(start=0, interval=2),
    "EvalHook, later": _eval(start=2, save_best="loss"),
    "EvalHook, by iteration": _eval(by_epoch=False, interval=3, save_best="loss"),
    "EvalHook, by iteration from the start": _eval(by_epoch=False, start=0, interval=4),
}


def _logger(kind: str, **arguments: Any) -> Change:
    return _training(log_config={"interval": 3, "hooks": [{"type": kind, **arguments}]})


LOGGERS: dict[str, Change] = {
    "TextLoggerHook": {**_logger("TextLoggerHook"), "meta": {"exp_name": "an experiment", "seed": 1}},
    "TextLoggerHook, the rest too": _logger("TextLoggerHook", ignore_last=False, interval_exp_name=2),
    "TextLoggerHook, by iteration": {**_logger("TextLoggerHook", by_epoch=False), "meta": None},
    "LoggerHook, a user's": _hooks({"type": "OwnLogger", "interval": 2, "reset_flag": True, "priority": 90}, **WATCHED),
}

OTHERS: dict[str, Change] = {
    "IterTimerHook": _hooks({"type": "IterTimerHook", "priority": "LOW"}, **{**WATCHED, "timer_config": None}),
    "DistSamplerSeedHook": {"train": {"sampler": "distributed", "size": 40}, **_hooks({"type": "DistSamplerSeedHook"})},
    "no DistSamplerSeedHook": {"train": {"sampler": "distributed", "size": 40}},
    "EmptyCacheHook": _hooks({"type": "EmptyCacheHook", "before_epoch": True, "after_iter": True}),
    "ProfilerHook": _hooks(
        {"type": "ProfilerHook", "by_epoch": False, "profile_iters": 2, "activities": ["cpu"]}
    ),
    "SyncBuffersHook": _hooks({"type": "SyncBuffersHook"}),
    "PreemptHook": _hooks({"type": "PreemptHook", "priority": "LOWEST"}),
    "CheckInvalidLossHook": _hooks({"type": "CheckInvalidLossHook", "interval": 2}),
    "CheckInvalidLossHook, a loss that is no number": {
        "train": {"shuffle": True, "poison": 3},
        **_hooks({"type": "CheckInvalidLossHook", "interval": 1}),
    },
    "ClosureHook": _hooks({"type": "ClosureHook", "fn_name": "after_train_iter", "priority": "HIGH"}),
    "ClosureHook, in order": _hooks(
        *({"type": "ClosureHook", "fn_name": "after_train_iter", "priority": priority}
          for priority in (60, "HIGH", "NORMAL", 60, "HIGHEST"))
    ),
    "ClosureHook, generic": _hooks(
        *({"type": "ClosureHook", "fn_name": f"{when}_{what}", "priority": 45} for when in ("before", "after")
          for what in ("epoch", "iter"))
    ),
    "DistEvalHook": _hooks({"type": "DistEvalHook", "data": {"size": 13}, "save_best": "acc", "priority": "LOW"}),
    "a policy of the user's": _hooks({"type": "OwnPolicy", "warmup": "linear", "warmup_iters": 2, "by_epoch": False}),
    "a hook with the generic points": _hooks({"type": "Everything"}),
    "a hook that asks the helpers": _hooks({"type": "Helpers"}),
    "no Hook": _hooks({"type": "Duck"}),
    "nothing": {"training": {"lr_config": None, "optimizer_config": None, "timer_config": None}},
}  # fmt: skip

EPOCHS: Change = {"by_epoch": True, "length": 3, "workflow": [("train", 2), ("val", 1)]}
ITERATIONS: Change = {"by_epoch": False, "length": 11, "workflow": [("train", 4), ("val", 2)]}

KINDS = [pytest.param(EPOCHS, id="epochs"), pytest.param(ITERATIONS, id="iterations")]

HOOKS = {**OPTIMIZERS, **AVERAGES, **FILES, **EVALUATIONS, **LOGGERS, **OTHERS}

"""What MMCV's updaters refuse, and what they take although it looks as if they would not."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

_LINEAR = {"warmup": "linear", "warmup_iters": 5}
_COSINE_RESTART = {"policy": "CosineRestart", "min_lr": 0}
_EXP = {"policy": "exp", "gamma": 0.5, "by_epoch": True}

#: For both families: the policy's own keys are those of both.
_SHARED_REFUSALS: dict[str, Config] = {
    "no policy": {"step": 1},
    "a type instead": {"type": "StepLrUpdaterHook", "step": 1},
    "a type beside": {"policy": "step", "type": "Nothing", "step": 1},
    "unknown policy": {"policy": "stepp", "step": 1},
    "lower case": {"policy": "cosineannealing"},
    "title case": {"policy": "Cyclic"},
    "mixed case": {"policy": "oneCycle", "max_lr": 1},
    "upper case": {"policy": "STEP", "step": 1},
    "policy no name": {"policy": 1},
    "unknown key": {"policy": "step", "step": 1, "steps": 1},
    "no step": {"policy": "step"},
    "step 0": {"policy": "step", "step": 0},
    "step -1": {"policy": "step", "step": -1},
    "step 1.5": {"policy": "step", "step": 1.5},
    "step text": {"policy": "step", "step": "1"},
    "step tuple": {"policy": "step", "step": (1, 2)},
    "step list with 0": {"policy": "step", "step": [0, 1]},
    "step list of floats": {"policy": "step", "step": [1.0]},
    "gamma text": {"policy": "step", "step": 1, "gamma": "0.1"},
    "unknown warmup": {"policy": "step", "step": 1, "warmup": "lineer", "warmup_iters": 5},
    "warmup without iters": {"policy": "step", "step": 1, "warmup": "linear"},
    "warmup_iters -1": {"policy": "step", "step": 1, "warmup": "linear", "warmup_iters": -1},
    "warmup_iters 2.5": {"policy": "step", "step": 1, "warmup": "linear", "warmup_iters": 2.5},
    "warmup_iters 2.5, no warmup": {"policy": "step", "step": 1, "warmup_iters": 2.5},
    "warmup_ratio 0": {"policy": "step", "step": 1, **_LINEAR, "warmup_ratio": 0},
    "warmup_ratio 1": {"policy": "step", "step": 1, **_LINEAR, "warmup_ratio": 1},
    "warmup_ratio 1.1": {"policy": "step", "step": 1, **_LINEAR, "warmup_ratio": 1.1},
    "warmup_ratio 9, no warmup": {"policy": "step", "step": 1, "warmup_ratio": 9},
    "warmup_by_epoch": {"policy": "step", "step": 1, **_LINEAR, "warmup_by_epoch": True},
    "cosine to nothing": {"policy": "CosineAnnealing"},
    "linear to nothing": {"policy": "LinearAnnealing"},
    "cyclic by epoch": {"policy": "cyclic", "by_epoch": True},
    "cyclic, ratio list": {"policy": "cyclic", "target_ratio": [10, 1e-4]},
    "cyclic, ratio integer": {"policy": "cyclic", "target_ratio": 10},
    "cyclic, ratio empty": {"policy": "cyclic", "target_ratio": ()},
    "cyclic, three ratios": {"policy": "cyclic", "target_ratio": (1, 2, 3)},
    "cyclic, up -0.1": {"policy": "cyclic", "step_ratio_up": -0.1},
    "cyclic, up 1": {"policy": "cyclic", "step_ratio_up": 1},
    "cyclic, gamma 0": {"policy": "cyclic", "gamma": 0},
    "cyclic, gamma 2": {"policy": "cyclic", "gamma": 2},
    "cyclic, strategy": {"policy": "cyclic", "anneal_strategy": "cosine"},
    "cyclic, 0 times": {"policy": "cyclic", "cyclic_times": 0},
    "cyclic, -1 times": {"policy": "cyclic", "cyclic_times": -1},
    "cyclic, 13 times": {"policy": "cyclic", "cyclic_times": 13},
    "cyclic, 1.5 times": {"policy": "cyclic", "cyclic_times": 1.5},
}
_OWN_REFUSALS: dict[str, dict[str, Config]] = {
    "lr": {
        "exp without gamma": {"policy": "exp"},
        "inv without gamma": {"policy": "inv"},
        "poly text": {"policy": "poly", "power": "1"},
        "cosine to both": {"policy": "CosineAnnealing", "min_lr": 0, "min_lr_ratio": 0},
        "linear to both": {"policy": "LinearAnnealing", "min_lr": 0, "min_lr_ratio": 0},
        "cosine to text": {"policy": "CosineAnnealing", "min_lr": "0"},
        "flat to nothing": {"policy": "FlatCosineAnnealing"},
        "flat to both": {"policy": "FlatCosineAnnealing", "min_lr": 0, "min_lr_ratio": 0},
        "flat from 1.1": {"policy": "FlatCosineAnnealing", "min_lr": 0, "start_percent": 1.1},
        "flat from -0.1": {"policy": "FlatCosineAnnealing", "min_lr": 0, "start_percent": -0.1},
        "flat from integer": {"policy": "FlatCosineAnnealing", "min_lr": 0, "start_percent": 0},
        "restart without periods": _COSINE_RESTART,
        "restart, too few weights": {**_COSINE_RESTART, "periods": [2, 2]},
        "restart to nothing": {"policy": "CosineRestart", "periods": [3]},
        "restart, past the last": {**_COSINE_RESTART, "periods": [2]},
        "restart, past the last, by iteration": {**_COSINE_RESTART, "periods": [11], "by_epoch": False},
        "restart, just enough": {**_COSINE_RESTART, "periods": [12], "by_epoch": False},
        "restart, one period": {**_COSINE_RESTART, "periods": 12},
        "restart, tuples": {**_COSINE_RESTART, "periods": (2, 2), "restart_weights": (1, 1)},
        "one cycle without max_lr": {"policy": "OneCycle"},
        "one cycle by epoch": {"policy": "OneCycle", "max_lr": 1.0, "by_epoch": True},
        "one cycle, tuple": {"policy": "OneCycle", "max_lr": (1.0,)},
        "one cycle, text": {"policy": "OneCycle", "max_lr": "1"},
        "one cycle, list of texts": {"policy": "OneCycle", "max_lr": ["1"]},
        "one cycle, long list": {"policy": "OneCycle", "max_lr": [1.0, 2.0]},
        "one cycle, by class": {"policy": "OneCycle", "max_lr": {"SGD": [1.0]}},
        "one cycle, by class, long list": {"policy": "OneCycle", "max_lr": {"SGD": [1.0, 2.0]}},
        "one cycle, by class, number": {"policy": "OneCycle", "max_lr": {"SGD": 1.0}},
        "one cycle, other class": {"policy": "OneCycle", "max_lr": {"Adam": [1.0]}},
        "one cycle, 11 steps": {"policy": "OneCycle", "max_lr": 1.0, "total_steps": 11},
        "one cycle, 0 steps": {"policy": "OneCycle", "max_lr": 1.0, "total_steps": 0},
        "one cycle, 12.0 steps": {"policy": "OneCycle", "max_lr": 1.0, "total_steps": 12.0},
        "one cycle, start 1": {"policy": "OneCycle", "max_lr": 1.0, "pct_start": 1},
        "one cycle, start 1.1": {"policy": "OneCycle", "max_lr": 1.0, "pct_start": 1.1},
        "one cycle, start of one step": {"policy": "OneCycle", "max_lr": 1.0, "total_steps": 16, "pct_start": 1 / 16},
        "one cycle, strategy": {"policy": "OneCycle", "max_lr": 1.0, "anneal_strategy": "exp"},
        "one cycle, div_factor 0": {"policy": "OneCycle", "max_lr": 1.0, "div_factor": 0},
        "one cycle, final_div_factor 0": {"policy": "OneCycle", "max_lr": 1.0, "final_div_factor": 0},
    },
    "momentum": {
        "cosine to both": {"policy": "CosineAnnealing", "min_momentum": 0, "min_momentum_ratio": 0},
        "linear to both": {"policy": "LinearAnnealing", "min_momentum": 0, "min_momentum_ratio": 0},
        "one cycle by epoch": {"policy": "OneCycle", "by_epoch": True},
        "one cycle, integer": {"policy": "OneCycle", "base_momentum": 0},
        "one cycle, integer above": {"policy": "OneCycle", "max_momentum": 1},
        "one cycle, tuple": {"policy": "OneCycle", "max_momentum": (0.9,)},
        "one cycle, long list": {"policy": "OneCycle", "base_momentum": [0.8, 0.8]},
        "one cycle, by class": {"policy": "OneCycle", "max_momentum": {"SGD": [0.9]}},
        "one cycle, other class": {"policy": "OneCycle", "max_momentum": {"Adam": [0.9]}},
        "one cycle, start 1": {"policy": "OneCycle", "pct_start": 1},
        "one cycle, start -0.1": {"policy": "OneCycle", "pct_start": -0.1},
        "one cycle, start of one step": {"policy": "OneCycle", "pct_start": 1 / 12},
        "one cycle, strategy": {"policy": "OneCycle", "anneal_strategy": "exp"},
        "fixed": {"policy": "fixed"},
        "poly": {"policy": "poly"},
    },
}
#: On other optimizers, or under the other runner, than one SGD and an EpochBasedRunner.
_PLACES: dict[str, tuple[str, str, str, Config]] = {
    "lr, no optimizer": ("lr", "EpochBasedRunner", "none", {"policy": "fixed"}),
    "momentum, no optimizer": ("momentum", "EpochBasedRunner", "none", {"policy": "step", "step": 1}),
    "lr, neither": ("lr", "EpochBasedRunner", "neither", {"policy": "step", "step": 1}),
    "momentum, neither": ("momentum", "EpochBasedRunner", "neither", {"policy": "step", "step": 1}),
    "momentum, neither, one cycle": ("momentum", "EpochBasedRunner", "neither", {"policy": "OneCycle"}),
    "one cycle, no name": ("lr", "EpochBasedRunner", "optimizers", {"policy": "OneCycle", "max_lr": {"a": [1.0]}}),
    "one cycle, list of several": ("lr", "EpochBasedRunner", "optimizers", {"policy": "OneCycle", "max_lr": [1.0]}),
    "warmup_by_epoch": (
        "lr", "IterBasedRunner", "sgd", {"policy": "fixed", **_LINEAR, "warmup_by_epoch": True},
    ),
    "warmup_by_epoch without warmup": (
        "lr", "IterBasedRunner", "sgd", {"policy": "fixed", "by_epoch": True, "warmup_by_epoch": True},
    ),
    "restart, past the last": ("lr", "IterBasedRunner", "sgd", {**_COSINE_RESTART, "periods": [11]}),
    "by epoch without epochs, warming": ("lr", "IterBasedRunner", "groups", {**_EXP, **_LINEAR}),
    "by epoch without epochs, several": ("lr", "IterBasedRunner", "all", _EXP),
    "by epoch without epochs, several, warming": ("lr", "IterBasedRunner", "all", {**_EXP, **_LINEAR}),
    "by epoch by default, several, warming": (
        "momentum", "IterBasedRunner", "all", {"policy": "step", "step": 1, **_LINEAR},
    ),
    "restart, never asked": (
        "lr", "IterBasedRunner", "sgd", {**_COSINE_RESTART, "periods": [1], "by_epoch": True},
    ),
    "cyclic by epoch": ("momentum", "IterBasedRunner", "sgd", {"policy": "cyclic", "by_epoch": True}),
}  # fmt: skip

#: The family, the kind of runner, a layout of rates.py, and the config.
REFUSALS: dict[str, tuple[str, str, str, Config]] = {
    **{
        f"{family}, {name}": (family, "EpochBasedRunner", "sgd", config)
        for family, own in _OWN_REFUSALS.items()
        for name, config in {**_SHARED_REFUSALS, **own}.items()
    },
    **{f"elsewhere: {name}": place for name, place in _PLACES.items()},
}

"""Mistakes: one key of a config becomes wrong, and both must refuse."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

#: section of the config, key, a value that nobody takes (or None: the key goes away).
MISTAKES: tuple[tuple[str, str, Any], ...] = (
    ("lr_config", "policy", "steps"),
    ("lr_config", "policy", None),
    ("lr_config", "warmup", "quadratic"),
    ("lr_config", "no_such_argument", 1),
    ("lr_config", "anneal_strategy", "exp"),
    ("lr_config", "step_ratio_up", 1.5),
    ("lr_config", "pct_start", 2.0),
    ("lr_config", "start_percent", 1),
    ("momentum_config", "policy", "inv"),
    ("momentum_config", "warmup_by_epoch", True),
    ("momentum_config", "pct_start", -0.5),
    ("optimizer_config", "type", "OptimizerHok"),
    ("optimizer_config", "no_such_argument", 1),
    ("optimizer_config", "cumulative_iters", 0),
    ("optimizer_config", "cumulative_iters", 2.5),
    ("optimizer_config", "grad_clip", {"norm_type": 2}),
    ("log_config", "hooks", [{"type": "TextLogerHook"}]),
    ("runner", "max_iters", 5),
    ("runner", "max_epochs", 5),
    ("runner", "type", "EpochRunner"),
    ("eval arguments", "interval", 0),
    ("eval arguments", "start", -1),
    ("eval arguments", "rule", "higher"),
    ("eval arguments", "save_best", "PCK"),
    ("ema", "momentum", 1.0),
    ("ema", "momentum", 0),
    ("ema", "interval", 0),
    ("ema", "interval", 1.5),
    ("ema", "priority", "FIRST"),
    ("ema", "priority", 101),
    ("ema", "priority", -1),
    ("ema", "priority", 2.5),
    ("closure", "fn_name", "before_everything"),
    ("optimizer config", "type", "SDG"),
    ("optimizer config", "lr", -0.1),
    ("optimizer config", "paramwise_cfg", {"custom_keys": ["first"]}),
)

#: more of them, which need the rest of the section to be so: the whole section is given.
SECTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lr_config", {"policy": "step", "step": [2, 0]}),
    ("lr_config", {"policy": "step", "step": 0}),
    ("lr_config", {"policy": "step", "step": "2"}),
    ("lr_config", {"policy": "step", "step": [1.5]}),
    ("lr_config", {"policy": "step"}),
    ("lr_config", {"policy": "fixed", "warmup": "linear"}),
    ("lr_config", {"policy": "fixed", "warmup": "linear", "warmup_iters": 3, "warmup_ratio": 0}),
    ("lr_config", {"policy": "fixed", "warmup": "linear", "warmup_iters": 3, "warmup_ratio": 1.5}),
    ("lr_config", {"policy": "CosineAnnealing"}),
    ("lr_config", {"policy": "CosineAnnealing", "min_lr": 0.1, "min_lr_ratio": 0.1}),
    ("lr_config", {"policy": "cosineannealing", "min_lr": 0.1}),
    ("lr_config", {"policy": "LinearAnnealing"}),
    ("lr_config", {"policy": "FlatCosineAnnealing", "min_lr": 0.1, "start_percent": 1.5}),
    ("lr_config", {"policy": "CosineRestart", "min_lr": 0, "periods": [3, 3], "restart_weights": [1]}),
    ("lr_config", {"policy": "cyclic", "by_epoch": False, "gamma": 0}),
    ("lr_config", {"policy": "cyclic", "by_epoch": False, "target_ratio": "10"}),
    ("lr_config", {"policy": "OneCycle", "by_epoch": False}),
    ("lr_config", {"policy": "OneCycle", "by_epoch": False, "max_lr": "0.1"}),
    ("lr_config", {"policy": "OneCycle", "by_epoch": False, "max_lr": 0.1, "total_steps": 1}),
    ("lr_config", {"policy": "OneCycle", "by_epoch": False, "max_lr": 0.1, "total_steps": 99.5}),
    ("lr_config", {"policy": "OneCycle", "by_epoch": False, "max_lr": [0.1, 0.2, 0.3]}),
    ("momentum_config", {"policy": "step", "step": [0]}),
    ("momentum_config", {"policy": "CosineAnnealing"}),
    ("momentum_config", {"policy": "cyclic", "by_epoch": True}),
    ("momentum_config", {"policy": "cyclic", "target_ratio": "0.8"}),
    ("momentum_config", {"policy": "OneCycle", "base_momentum": "0.8"}),
    ("momentum_config", {"step": [2]}),
)


def spoiled(config: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The config with one of the mistakes for which it has a place."""
    places = {name: place for name, place in _places(config).items() if isinstance(place, dict)}
    keys = [(section, key, value) for section, key, value in MISTAKES if section in places]
    sections = [(name, section) for name, section in SECTIONS]
    return st.one_of(
        st.sampled_from(keys).map(lambda mistake: _with_key(config, *mistake)),
        st.sampled_from(sections).map(lambda mistake: {**config, mistake[0]: dict(mistake[1])}),
    )


def _places(config: dict[str, Any]) -> dict[str, Any]:
    hooks = {hook["type"]: hook for hook in config["custom"]}
    return {
        **config,
        "eval arguments": (config["eval"] or {}).get("arguments"),
        "ema": hooks.get("EMAHook"),
        "closure": hooks.get("ClosureHook"),
        "optimizer config": config["optimizer"]["config"] if config["optimizer"]["kind"] == "built" else None,
    }


def _with_key(config: dict[str, Any], section: str, key: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(config)
    place = _places(changed)[section]
    place.pop(key, None)
    if value is not None:
        place[key] = value
    return changed

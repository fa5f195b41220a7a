"""The style ``lightning``: a project of plain Lightning and torch, without mmhooks but for what a code base defines.

It has ``train.py``, which all configs share, small modules beside it, each with only what the configs need, and
``configs/NAME.py`` as plain data. What projects of both styles have, ``builders.py`` above all, is not made here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmhooks.errors import ConfigError
from mmhooks.plan import RunPlan
from mmhooks_lightning.migration.plain.rows import all_rows
from mmhooks_lightning.migration.plain.schedules import Scheduled, lr_schedule, momentum_schedule
from mmhooks_lightning.migration.plain.settings import config_values
from mmhooks_lightning.migration.plain.text import assignments
from mmhooks_lightning.migration.project import quotable, rendered
from mmhooks_lightning.migration.rows import Row

_LAYER_RULES = {"bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult", "dcn_offset_lr_mult"}
#: Values of a generated config that the project reads only where one of its configs has something to say there.
_OPTIONAL = [
    "own_optimizer",
    "manual",
    "schedule",
    "momentum_schedule",
    "grad_clip",
    "loss_scale",
    "stop_after",
    "ema",
    "invalid_loss_interval",
    "sync_buffers",
    "carried",
    "load_from",
    "log_level",
    "mp_start_method",
    "opencv_num_threads",
]


def rows(plan: RunPlan) -> list[Row]:
    """Say of every key of a config what became of it in the generated project.

    Raises:
        ConfigError: the config has something that cannot be used, or that steps in a way of its own.
    """
    return all_rows(plan)


def project_files(plans: Sequence[RunPlan], names: Sequence[str]) -> dict[str, str]:
    """Write the project that trains what the configs describe.

    Args:
        plans: one a config, all of one code base.
        names: the name of each config, which becomes ``configs/NAME.py``.

    Returns:
        The text of each file, by its path.

    Raises:
        ConfigError: there is no plan, or there are several code bases, or a config has something that cannot be used.

    Example:
        >>> from mmhooks.examples.digits import configs  # doctest: +SKIP
        >>> sorted(project_files([plan], ["digits_cnn"]))  # doctest: +SKIP
        ['configs/digits_cnn.py', 'evaluation.py', 'module.py', 'schedule.py', 'train.py']
    """
    recipes = {plan.recipe.name for plan in plans}
    if len(recipes) != 1:
        raise ConfigError(f"a project is for one code base, not for {', '.join(sorted(recipes)) or 'none'}")
    configs = [config_values(plan) for plan in plans]
    view = _view(plans, configs)
    templates = ["train.py", "module.py", "evaluation.py"]
    templates += [
        name for name in ("schedule.py", "param_groups.py", "callbacks.py", "carried.py") if view["has"][name]
    ]
    files = {name: _rendered(name, view) for name in templates}
    unused = {key for key in _OPTIONAL if all(config[key] is None or config[key] is False for config in configs)}
    for plan, name, config in zip(plans, names, configs, strict=True):
        used = {key: value for key, value in config.items() if key not in unused}
        files[f"configs/{name}.py"] = _config_text(plan, used)
    return files


def rates(plan: RunPlan, epoch_len: int, base_lrs: Sequence[float]) -> Iterator[list[float]]:
    """Give the learning rates of every iteration, by the very text of ``schedule.py``.

    Where gradients are accumulated, a step has the rate that is given here for the iteration in which it comes.

    Args:
        plan: the plan of the run.
        epoch_len: iterations an epoch.
        base_lrs: the learning rate of every param group at the start.

    Raises:
        ConfigError: the policy is the code base's own.
    """
    return _walked(plan, lr_schedule(plan), "learning_rates", epoch_len, base_lrs)


def momenta(plan: RunPlan, epoch_len: int, base_momenta: Sequence[float]) -> Iterator[list[float]]:
    """Give the momentum of every param group at every iteration, by the very text of ``schedule.py``.

    Args:
        plan: the plan of the run.
        epoch_len: iterations an epoch.
        base_momenta: the momentum (or Adam's first beta) of every param group at the start.

    Raises:
        ConfigError: the policy is the code base's own.
    """
    return _walked(plan, momentum_schedule(plan), "momenta", epoch_len, base_momenta)


def _walked(
    plan: RunPlan, found: Scheduled, function: str, epoch_len: int, bases: Sequence[float]
) -> Iterator[list[float]]:
    if found.carried is not None:
        raise ConfigError(
            f"{plan.source.name}: the policy {found.carried['policy']!r} is the code base's own: it is carried"
        )
    max_iters = plan.max_iters if plan.max_epochs is None else plan.max_epochs * epoch_len
    assert max_iters is not None
    if found.schedule is None:
        return (list(bases) for _ in range(max_iters))
    module = schedule_module(plan)
    length = module["Length"](epoch_len, plan.max_epochs, max_iters)
    values, schedule = module[function], found.schedule
    return (values(schedule, bases, iteration, length) for iteration in range(max_iters))


def schedule_module(plan: RunPlan) -> dict[str, Any]:
    """Run the text of the ``schedule.py`` of a plan, and give what it defines."""
    return _run(_rendered("schedule.py", _view([plan], [config_values(plan)])))


@functools.lru_cache(maxsize=64)
def _run(text: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "schedule"}
    exec(compile(text, "schedule.py", "exec", dont_inherit=True), namespace)
    return namespace


def kept_checkpoints(plan: RunPlan, epoch_len: int) -> list[int]:
    """Give the epochs, or iterations, whose files the project keeps at the end, numbered from 1.

    The best file, which the scores decide, is not among them.

    Args:
        plan: the plan of the run.
        epoch_len: iterations an epoch.
    """
    kept: set[int] = set()
    for one in config_values(plan)["checkpoints"]:
        if one.get("monitor") not in (None, "step"):
            continue
        every, length = one.get("every_n_epochs"), plan.max_epochs
        if every is None:
            every = one["every_n_train_steps"]
            length = plan.max_iters if plan.max_epochs is None else plan.max_epochs * epoch_len
        assert length is not None
        saved = [*range(every, length + 1, every)]
        kept.update(saved if one["save_top_k"] == -1 else saved[-one["save_top_k"] :])
    return sorted(kept)


def _config_text(plan: RunPlan, config: Mapping[str, Any]) -> str:
    name = quotable(plan.source.name.replace("\\", "/").rpartition("/")[2])
    head = f'"""What {name} says, as plain data."""\n\nfrom typing import Any\n\n'
    return head + assignments(dict(config))


def _view(plans: Sequence[RunPlan], configs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Say what the templates need to know: what any of the configs uses."""

    def any_has(name: str) -> bool:
        return any(config[name] is not None and config[name] is not False for config in configs)

    lr = [config["schedule"] for config in configs if config["schedule"] is not None]
    momentum = [config["momentum_schedule"] for config in configs if config["momentum_schedule"] is not None]
    rules = {
        key
        for config in configs
        for key in (config["optimizer"] or {}).get("paramwise_cfg") or ()
        if not config["own_optimizer"]
    }
    evaluations = [config["evaluation"] for config in configs if config["evaluation"] is not None]
    carried = [config["carried"] for config in configs if config["carried"] is not None]
    callbacks = {
        "EMA": any_has("ema"),
        "Momentum": bool(momentum),
        "StopAfter": any_has("stop_after"),
        "StopOnInvalidLoss": any_has("invalid_loss_interval"),
        "SyncBuffers": any_has("sync_buffers"),
    }
    own = [config["own_optimizer"] or config["manual"] for config in configs]
    cv2 = any(config["opencv_num_threads"] is not None for config in configs)
    scales, load_from, start_method = any_has("loss_scale"), any_has("load_from"), any_has("mp_start_method")
    return {
        "recipe": plans[0].recipe.name,
        "codebase": plans[0].recipe.builders is not None,
        "policies": sorted({one["policy"] for one in lr + momentum}),
        "schedules": bool(lr),
        "momentum": bool(momentum),
        "lengths": bool(lr or momentum),
        "accumulates": any("accumulate_grad_batches" in config["trainer"] for config in configs),
        "rules": rules,
        "layers": bool(rules & _LAYER_RULES),
        "several": any_has("manual"),
        "optimizers": "own" if all(own) else "both" if any(own) else "torch",
        "clips": any_has("grad_clip"),
        "pre_eval": any(one["pre_eval"] for one in evaluations),
        "val_flow": any(one["val_step"] for one in evaluations),
        "auto_best": any(one["save_best"] == "auto" for one in evaluations),
        "callbacks": [name for name, used in callbacks.items() if used],
        "ema": callbacks["EMA"],
        "stops": callbacks["StopAfter"],
        "invalid_loss": callbacks["StopOnInvalidLoss"],
        "sync_buffers": callbacks["SyncBuffers"],
        "carried": bool(carried),
        "lr_config": any(one["lr_config"] is not None for one in carried),
        "momentum_config": any(one["momentum_config"] is not None for one in carried),
        "loggers": sorted({"CSVLogger", *(name for config in configs for name in config["loggers"])}),
        "logging": any_has("log_level"),
        "cv2": cv2,
        "start_method": start_method,
        "scales": scales,
        "load_from": load_from,
        "torch": scales or load_from or start_method,
        "has": {
            "schedule.py": bool(lr or momentum),
            "param_groups.py": bool(rules),
            "callbacks.py": any(callbacks.values()),
            "carried.py": bool(carried),
        },
    }


def _rendered(name: str, view: Mapping[str, Any]) -> str:
    return rendered(f"lightning/{name}.jinja", **view).strip("\n") + "\n"

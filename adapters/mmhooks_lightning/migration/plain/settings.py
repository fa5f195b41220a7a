"""The generated config of one plan: plain data that the project reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmhooks.hooks.loggers.retired import retired_service
from mmhooks.plan import RunPlan
from mmhooks_lightning.migration.plain.files import checkpoint_settings, evaluation_settings
from mmhooks_lightning.migration.plain.hooks import own_hooks
from mmhooks_lightning.migration.plain.optimizer import has_several, is_by_name, optimizer_settings, stepping
from mmhooks_lightning.migration.plain.schedules import lr_schedule, momentum_schedule
from mmhooks_lightning.migration.project import built_values

_LOGGERS = {
    "TensorboardLoggerHook": "TensorBoardLogger",
    "MlflowLoggerHook": "MLFlowLogger",
    "WandbLoggerHook": "WandbLogger",
    "MMDetWandbHook": "WandbLogger",
    "MMSegWandbHook": "WandbLogger",
    "MMClsWandbHook": "WandbLogger",
}
#: Arguments of the logger hooks that the loggers of Lightning take, by their names there.
_LOGGER_ARGUMENTS = {
    "TensorBoardLogger": {"log_dir": "save_dir"},
    "MLFlowLogger": {"exp_name": "experiment_name", "tags": "tags"},
    "WandbLogger": {name: name for name in ("project", "group", "name", "entity", "id", "job_type", "notes", "tags")},
}
#: What to do about those that have no counterpart.
_ADVICE = {
    "NeptuneLoggerHook": "Lightning's NeptuneLogger is gone with the service",
    "DvcliveLoggerHook": "dvclive.lightning.DVCLiveLogger is a logger for train.py",
    "ClearMLLoggerHook": "clearml.Task.init() in train.py records what a TensorBoardLogger writes",
}


def config_values(plan: RunPlan) -> dict[str, Any]:
    """Give all that the generated config of a plan says, by name.

    Raises:
        ConfigError: something that cannot be used.
    """
    own = own_hooks(plan)
    evaluation = evaluation_settings(plan)[1]
    steps = stepping(plan)[1]
    values = plan.source.values
    is_codebase = plan.recipe.builders is not None
    found = {**built_values(plan), "parallel": _parallel(plan)}
    found |= optimizer_settings(plan)
    found |= {
        "manual": has_several(plan),
        "schedule": lr_schedule(plan).schedule,
        "momentum_schedule": momentum_schedule(plan).schedule,
        **steps,
        "max_iters": plan.max_iters,
        "trainer": trainer_settings(plan),
        "stop_after": _stop_after(plan),
        "checkpoints": checkpoint_settings(plan),
        "evaluation": evaluation,
        "loggers": loggers(plan),
        "ema": own.settings.get("ema"),
        "invalid_loss_interval": own.settings.get("invalid_loss_interval"),
        "sync_buffers": own.settings.get("sync_buffers", False),
        "carried": _carried(plan, own.carried),
        "work_dir": plan.work_dir,
        "seed": plan.seed,
        "load_from": plan.load_from,
        "resume_from": plan.resume_from if str(plan.resume_from).endswith(".ckpt") else None,
        "log_level": values.get("log_level") if "log_level" not in plan.recipe.unread else None,
        "mp_start_method": values.get("mp_start_method", "fork" if is_codebase else None),
        "opencv_num_threads": values.get("opencv_num_threads", 0 if is_codebase else None),
    }
    return found


def trainer_settings(plan: RunPlan) -> dict[str, Any]:
    """Give the arguments of the Trainer that a config decides.

    Raises:
        ConfigError: something that cannot be used.
    """
    steps, _ = stepping(plan)
    found: dict[str, Any] = {"max_epochs": plan.max_epochs if plan.by_epoch else -1}
    if not plan.by_epoch and _stop_after(plan) is None:
        found["max_steps"] = plan.max_iters
    found |= steps
    found |= evaluation_settings(plan)[0]
    found["log_every_n_steps"] = _log_interval(plan)
    if plan.source.values.get("cudnn_benchmark"):
        found["benchmark"] = True
    profiler = own_hooks(plan).settings.get("profiler")
    if profiler is not None:
        found["profiler"] = profiler
    return found


def loggers(plan: RunPlan) -> dict[str, dict[str, Any]]:
    """Give the loggers of the project, each with its arguments."""
    config = plan.training_hooks.get("log_config")
    if not isinstance(config, Mapping):
        return {}
    found: dict[str, dict[str, Any]] = {"CSVLogger": {"name": "csv"}}
    for hook in config.get("hooks", ()):
        name = _LOGGERS.get(hook.get("type", "")) if isinstance(hook, Mapping) else None
        if name is not None:
            given = {**hook, **(hook.get("init_kwargs") or {})}
            taken = _LOGGER_ARGUMENTS[name]
            found[name] = {new: given[old] for old, new in taken.items() if given.get(old) is not None}
            if "save_dir" in found[name]:
                found[name] |= {"name": "", "version": ""}  # no folders below the one that the hook names
    return found


def missing_loggers(plan: RunPlan) -> list[str]:
    """Say of each logger hook without a counterpart what to do about it."""
    config = plan.training_hooks.get("log_config")
    hooks = config.get("hooks", ()) if isinstance(config, Mapping) else ()
    kinds = [str(hook.get("type")) if isinstance(hook, Mapping) else type(hook).__name__ for hook in hooks]
    return [_without_counterpart(kind) for kind in kinds if kind not in (*_LOGGERS, "TextLoggerHook")]


def _without_counterpart(kind: str) -> str:
    service = retired_service(kind)
    if service is not None:
        return f"{kind} is left out: the service {service} is gone"
    return f"{kind} has no counterpart: {_ADVICE.get(kind, 'add a logger of Lightning to train.py')}"


def _log_interval(plan: RunPlan) -> int:
    config = plan.training_hooks.get("log_config")
    return int(config.get("interval", 10)) if isinstance(config, Mapping) else 50


def _stop_after(plan: RunPlan) -> int | None:
    """Give the iterations of a run whose steps of the optimizer are not as many."""
    counts_otherwise = has_several(plan) or "accumulate_grad_batches" in stepping(plan)[0]
    return plan.max_iters if not plan.by_epoch and counts_otherwise else None


def _parallel(plan: RunPlan) -> dict[str, Any]:
    backend = (plan.source.values.get("dist_params") or {}).get("backend", "nccl")
    found = dict(plan.parallel)
    if is_by_name(plan):
        found["find_unused_parameters"] = True
    if backend != "nccl":  # which is what Lightning takes for GPUs
        found["process_group_backend"] = backend
    return found


def _carried(plan: RunPlan, hooks: list[dict[str, Any]]) -> dict[str, Any] | None:
    lr, momentum = lr_schedule(plan).carried, momentum_schedule(plan).carried
    if not hooks and lr is None and momentum is None:
        return None
    return {"hooks": hooks, "lr_config": lr, "momentum_config": momentum}

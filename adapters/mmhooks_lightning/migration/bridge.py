"""Style ``bridge``: the hooks of MMCV on a HookCallback, with the numbers of MMCV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmhooks.config.writing import write_value
from mmhooks.hook_names import hook_type, is_known
from mmhooks.hooks.loggers.retired import retired_service
from mmhooks.hooks.loggers.service import extra_of
from mmhooks.plan import PlannedHook, RunPlan
from mmhooks.priority import get_priority, priority_name
from mmhooks.recipes.keys import Fate, KeyFate
from mmhooks.registry import OPTIMIZER_BUILDERS, OPTIMIZERS
from mmhooks_lightning.migration.project import built_values, config_text, rendered
from mmhooks_lightning.migration.rows import Row, Verdict

_HOOK_KEYS = {
    "lr_config": "VERY_HIGH",
    "momentum_config": "HIGH",
    "optimizer_config": "ABOVE_NORMAL",
    "checkpoint_config": "NORMAL",
}
_FATES = {
    Fate.BUILD: Verdict.BUILDERS,
    Fate.HELPER: Verdict.HELPER,
    Fate.COMMAND_LINE: Verdict.COMMAND_LINE,
    Fate.UNREAD: Verdict.NOT_MAPPED,
}
_BECAME = {
    Fate.BUILD: "handed to builders.py",
    Fate.HELPER: "in the keys that were made of it",
    Fate.COMMAND_LINE: "an option of train.py, or of the Trainer",
}


def trainer_kwargs(plan: RunPlan) -> dict[str, Any]:
    """Give the arguments of the Trainer, without those that say which devices there are.

    Args:
        plan: the plan of the run.
    """
    kwargs: dict[str, Any] = {"max_epochs": plan.max_epochs if plan.by_epoch else -1, "max_steps": -1}
    kwargs |= {"precision": "32-true", "use_distributed_sampler": False, "num_sanity_val_steps": 0}
    kwargs |= {"logger": False, "enable_checkpointing": False}
    if plan.source.values.get("cudnn_benchmark"):
        kwargs["benchmark"] = True
    return kwargs


def rows(plan: RunPlan) -> list[Row]:
    """Say what became of every key.

    Args:
        plan: the plan of the run.
    """
    said: list[Row] = []
    for fate in plan.keys:
        if fate.fate is Fate.RUN:
            said += _run_rows(plan, fate.key)
        else:
            said.append(_left_row(plan, fate))
    return said + [
        Row(key, write_value(_at(plan, key)), "", Verdict.NOT_MAPPED, why) for key, why in _further_notes(plan)
    ]


def _left_row(plan: RunPlan, fate: KeyFate) -> Row:
    return Row(fate.key, write_value(_at(plan, fate.key)), _BECAME.get(fate.fate, ""), _FATES[fate.fate], fate.why)


def _further_notes(plan: RunPlan) -> list[tuple[str, str]]:
    return [(key, why) for key, why in plan.notes.items() if "." in key]


def _run_rows(plan: RunPlan, key: str) -> list[Row]:
    value = _at(plan, key)
    text = write_value(value)
    if key in _HOOK_KEYS:
        return [_hook_row(plan, key, text)]
    if key == "log_config":
        return _log_rows(plan, value)
    if key in plan.recipe.custom_hooks_keys:
        return _custom_rows(plan, key, value)
    say = _ROWS.get(key)
    if say is not None:
        return [say(plan, key, value)]
    if key.startswith("data."):
        return [Row(key, text, f"loaders in the config: {_loader_text(plan, key)}", Verdict.EXACT)]
    if key in plan.recipe.loader_keys.values():
        return [Row(key, text, "an argument of the train loader", Verdict.EXACT)]
    return [Row(key, text, "as in the config", Verdict.EXACT, plan.notes.get(key, ""))]


def _hook_row(plan: RunPlan, key: str, text: str) -> Row:
    config = plan.training_hooks.get(key)
    if config is None:
        return Row(key, text, "no hook", Verdict.EXACT)
    kind = hook_type(key, config)
    return _registered(key, text, kind, _HOOK_KEYS[key])


def _registered(key: str, text: str, kind: str, priority: int | str, why: str = "") -> Row:
    """Make the row of a hook that is registered by its name."""
    became = f"{kind} at {priority_name(get_priority(priority))} on the HookCallback"
    service = retired_service(kind)
    if service is not None:
        why = f"the service {service} is gone: the hook says so once, and logs nothing"
        return Row(key, text, became, Verdict.NOT_MAPPED, why)
    if is_known(kind):
        extra = extra_of(kind)
        why = ", ".join(filter(None, (why, extra and f'with pip install "mmhooks[{extra}]"')))
        return Row(key, text, became, Verdict.EXACT, why)
    return Row(key, text, became, Verdict.CARRIED, carried(kind))


def carried(kind: str) -> str:
    """Say what it takes to find a class that a code base defines.

    Args:
        kind: its name.
    """
    return f"{kind} is a class of the code base, found when that is imported before training"


def _log_rows(plan: RunPlan, value: Any) -> list[Row]:
    loggers = value.get("hooks", ()) if isinstance(value, Mapping) else ()
    if not loggers:
        return [Row("log_config", write_value(value), "no hook", Verdict.EXACT)]
    interval = value.get("interval", 10)
    return [
        _registered(
            f"log_config.hooks[{index}]",
            write_value(one),
            hook_type("log_config", one),
            "VERY_LOW",
            f"every {one.get('interval', interval) if isinstance(one, Mapping) else interval} iterations",
        )
        for index, one in enumerate(loggers)
    ]


def _custom_rows(plan: RunPlan, key: str, value: Any) -> list[Row]:
    if not value:
        return [Row(key, write_value(value), "no hook", Verdict.EXACT)]
    listed = value if isinstance(value, (list, tuple)) else [value]
    return [
        _registered(
            f"{key}[{index}]",
            write_value(one),
            hook_type(key, one),
            one.get("priority", "NORMAL") if isinstance(one, Mapping) else "NORMAL",
        )
        for index, one in enumerate(listed)
    ]


def _runner_row(plan: RunPlan, key: str, value: Any) -> Row:
    if key != _length_key(plan):
        return Row(key, write_value(value), "", Verdict.NOT_MAPPED, f"{_length_key(plan)} says the length of the run")
    if plan.by_epoch:
        return Row(key, write_value(value), f"Trainer(max_epochs={plan.max_epochs})", Verdict.EXACT)
    became = f"HookCallback(by_epoch=False, max_iters={plan.max_iters}), Trainer(max_epochs=-1)"
    return Row(key, write_value(value), became, Verdict.EXACT)


def _length_key(plan: RunPlan) -> str:
    if plan.recipe.reads_runner and plan.source.values.get("runner") is not None:
        return "runner"
    return "total_epochs" if plan.by_epoch else "total_iters"


def _optimizer_row(plan: RunPlan, key: str, value: Any) -> Row:
    configs = [value] if "type" in value else [one for one in value.values() if isinstance(one, Mapping)]
    foreign = [str(one.get("type")) for one in configs if str(one.get("type")) not in OPTIMIZERS]
    foreign += [one["constructor"] for one in configs if one.get("constructor", "Default") not in _constructors()]
    several = "" if "type" in value else f", one of {len(configs)} by the name of its submodule"
    became = f"build_optimizer(model, cfg['optimizer']) in a HookedModule{several}"
    if foreign:
        return Row(key, write_value(value), became, Verdict.CARRIED, "; ".join(carried(name) for name in foreign))
    why = "paramwise_cfg gives every parameter a group of its own" if any("paramwise_cfg" in c for c in configs) else ""
    return Row(key, write_value(value), became, Verdict.EXACT, plan.notes.get("auto_scale_lr", "") or why)


def _constructors() -> set[str]:
    return {"Default", *OPTIMIZER_BUILDERS.module_dict}


def _fp16_row(plan: RunPlan, key: str, value: Any) -> Row:
    if value is None:
        return Row(key, "None", "no hook", Verdict.EXACT)
    why = "the loss_scale alone is read" if plan.recipe.fp16 == "loss_scale" and len(value) > 1 else ""
    became = "Fp16OptimizerHook at ABOVE_NORMAL, Trainer(precision='32-true'): what auto_fp16 decorates is cast"
    return Row(key, write_value(value), became, Verdict.EXACT, why)


def _evaluation_row(plan: RunPlan, key: str, value: Any) -> Row:
    hook = next((one for one in plan.hooks if one.key == "evaluation"), None)
    if hook is None:
        return Row(key, write_value(value), "no hook", Verdict.EXACT)
    became = f"{hook.config['type']} at {priority_name(get_priority(hook.priority))} on the HookCallback"
    if hook.place is not None:
        module = hook.place.partition(":")[0]
        return Row(key, write_value(value), became, Verdict.EXACT, f"the class of {module}, made in builders.py")
    return Row(key, write_value(value), became, Verdict.EXACT if is_known(hook.config["type"]) else Verdict.CARRIED)


def _workflow_row(plan: RunPlan, key: str, value: Any) -> Row:
    return Row(key, write_value(value), f"HookCallback(workflow={plan.workflow})", Verdict.EXACT)


def _unused_row(plan: RunPlan, key: str, value: Any) -> Row:
    return Row(
        key, write_value(value), f"DDPStrategy(find_unused_parameters={value}), in several processes", Verdict.EXACT
    )


def _scale_row(plan: RunPlan, key: str, value: Any) -> Row:
    if "auto_scale_lr" in plan.notes:
        return Row(
            key,
            write_value(value),
            f"optimizer.lr = {(plan.optimizer or {}).get('lr')}",
            Verdict.EXACT,
            plan.notes[key],
        )
    why = "it is not enabled" if plan.recipe.scales_lr else f"{plan.recipe.name} does not read it"
    return Row(key, write_value(value), "no change of the lr", Verdict.EXACT, why)


def _saying(became: str, nothing: str = "") -> Callable[[RunPlan, str, Any], Row]:
    """Make a row of fixed words; others where the key is None or empty."""

    def say(plan: RunPlan, key: str, value: Any) -> Row:
        return Row(
            key,
            write_value(value),
            nothing if nothing and (value is None or value is False or value == "") else became,
            Verdict.EXACT,
        )

    return say


_ROWS: dict[str, Callable[[RunPlan, str, Any], Row]] = {
    "runner": _runner_row,
    "total_epochs": _runner_row,
    "total_iters": _runner_row,
    "optimizer": _optimizer_row,
    "fp16": _fp16_row,
    "evaluation": _evaluation_row,
    "workflow": _workflow_row,
    "find_unused_parameters": _unused_row,
    "auto_scale_lr": _scale_row,
    "log_level": _saying("the level of the logger mmhooks"),
    "load_from": _saying("load_checkpoint(model, ...) before the fit", "nothing to load"),
    "resume_from": _saying("HookCallback.resume(...) before the fit", "nothing to resume"),
    "auto_resume": _saying("resume the newest file of the work_dir", "nothing to resume"),
    "work_dir": _saying("HookCallback(work_dir=...)", "work_dirs/<name of the config>"),
    "seed": _saying("set_random_seed(...) before anything is built", "no seed"),
    "dist_params": _saying("init_dist('pytorch', ...) under torchrun"),
    "cudnn_benchmark": _saying("Trainer(benchmark=True)", "the Trainer's default, no benchmark"),
    "mp_start_method": _saying("set before the workers of loaders start"),
    "opencv_num_threads": _saying("cv2.setNumThreads(...) in train.py"),
    "custom_imports": _saying("imported by train.py, before anything is built"),
    "gpu_ids": _saying("Trainer(devices=...), said by torchrun"),
    "device": _saying("Trainer(accelerator='auto')"),
}


def _loader_text(plan: RunPlan, key: str) -> str:
    name = key.partition(".")[2]
    splits = [split for split, arguments in plan.loaders.items() if name in arguments or name == f"{split}_dataloader"]
    return " and ".join(splits) or "of the test"


def _at(plan: RunPlan, key: str) -> Any:
    found: Any = plan.source.values
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def config_values(plan: RunPlan, name: str) -> dict[str, Any]:
    """Give the values of the config of a migrated run.

    Args:
        plan: the plan of the run.
        name: what the run is called.
    """
    values: dict[str, Any] = {
        "run": {
            "by_epoch": plan.by_epoch,
            "max_epochs": plan.max_epochs,
            "max_iters": plan.max_iters,
            "workflow": plan.workflow,
            "work_dir": plan.work_dir or f"work_dirs/{name}",
            "seed": plan.seed,
            "load_from": plan.load_from,
            "resume_from": plan.resume_from,
            "auto_resume": plan.auto_resume,
        },
        "trainer": trainer_kwargs(plan),
        "parallel": plan.parallel,
        "training_hooks": plan.training_hooks,
    }
    evaluation = next((hook for hook in plan.hooks if hook.key == "evaluation"), None)
    if evaluation is not None:
        values["evaluation"] = _with_priority(evaluation)
    values["hooks"] = [_with_priority(hook) for hook in plan.hooks if hook.key not in ("evaluation", "")]
    values["optimizer"] = plan.optimizer
    return values


def _with_priority(hook: PlannedHook) -> Any:
    return {**hook.config, "priority": hook.priority} if isinstance(hook.config, Mapping) else hook.config


def project_files(plans: Sequence[RunPlan], names: Sequence[str]) -> dict[str, str]:
    """Give the files of a project that are of this style alone, by their path in it.

    Args:
        plans: the plans of its runs.
        names: what the runs are called.
    """
    runs = zip(plans, names, strict=True)
    files = {f"configs/{name}.py": config_text(plan, config_values(plan, name)) for plan, name in runs}
    said = {key for plan in plans for key in built_values(plan)}
    return files | {"train.py": rendered("bridge/train.py.jinja", runs=names, recipe=plans[0].recipe, said=said)}

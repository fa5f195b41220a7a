"""Rows of the style ``lightning``: what became of every key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmhooks.plan import RunPlan
from mmhooks.recipes.keys import Fate, KeyFate
from mmhooks_lightning.migration.plain.files import checkpoint_row, evaluation_row, has_val_flow
from mmhooks_lightning.migration.plain.hooks import own_hooks
from mmhooks_lightning.migration.plain.optimizer import optimizer_rows, stepping, stepping_row
from mmhooks_lightning.migration.plain.schedules import Scheduled, lr_schedule, momentum_schedule
from mmhooks_lightning.migration.plain.settings import loggers, missing_loggers, trainer_settings
from mmhooks_lightning.migration.plain.text import flat_text
from mmhooks_lightning.migration.rows import Row, Verdict

_LENGTHS = ("runner", "total_epochs", "total_iters")
#: A sentence for fates that need no row of their own.
_FATES = {
    Fate.BUILD: (Verdict.BUILDERS, "builders.py"),
    Fate.HELPER: (Verdict.HELPER, ""),
    Fate.COMMAND_LINE: (Verdict.COMMAND_LINE, ""),
    Fate.UNREAD: (Verdict.NOT_MAPPED, ""),
}
_COMMAND_LINE = {
    "seed": "--seed",
    "gpu_ids": "--devices",
    "device": 'Trainer(accelerator="auto")',
    "auto_resume": "--resume last",
}


def all_rows(plan: RunPlan) -> list[Row]:
    """Say of every key of a config what became of it.

    Raises:
        ConfigError: something that cannot be used.
    """
    found: list[Row] = []
    for fate in plan.keys:
        found += _of_key(plan, fate)
    named = {row.key for row in found}
    if "evaluation" not in named and any(hook.key == "evaluation" for hook in plan.hooks):
        found.append(evaluation_row(plan))  # the code base evaluates without being asked to
    if "optimizer_config" not in named and plan.training_hooks.get("optimizer_config") is not None:
        found.append(stepping_row(plan))
    return found


def _of_key(plan: RunPlan, fate: KeyFate) -> list[Row]:
    key, value = fate.key, _value(plan, fate.key)
    if fate.fate != Fate.RUN:
        verdict, became = _FATES[fate.fate]
        became = _COMMAND_LINE.get(key, became) if fate.fate == Fate.COMMAND_LINE else became
        return [Row(key, _short(value), became, verdict, fate.why)]
    if key == "optimizer":
        return optimizer_rows(plan)
    if key in plan.recipe.custom_hooks_keys:
        return own_hooks(plan).rows or [Row(key, _short(value), "", Verdict.EXACT, "there is none")]
    if key.startswith("data."):
        return [_loader_row(plan, key, value)]
    if key in _LENGTHS:
        return [_length_row(plan, key, value)]
    if key in plan.recipe.loader_keys.values():
        return [Row(key, _short(value), "loaders, for build_loader of builders.py", Verdict.EXACT)]
    if key == plan.recipe.skips_optimizer_hook:
        why = "train_step steps by itself" if value else ""
        return [Row(key, _short(value), "manual", Verdict.EXACT, why)]
    return [_ROWS[key](plan, value)]


def _value(plan: RunPlan, key: str) -> Any:
    found: Any = plan.source.values
    if key.startswith("data.") and isinstance(found.get("data"), dict):
        return found["data"].get(key.removeprefix("data."))
    return found.get(key)


def _short(value: Any) -> str:
    text = flat_text(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _loader_row(plan: RunPlan, key: str, value: Any) -> Row:
    return Row(key, _short(value), "loaders, for build_loader of builders.py", Verdict.EXACT)


def _length_row(plan: RunPlan, key: str, value: Any) -> Row:
    if key != "runner" and plan.source.values.get("runner") is not None and plan.recipe.reads_runner:
        return Row(key, _short(value), "", Verdict.NOT_MAPPED, "runner goes before it")
    trainer = trainer_settings(plan)
    lengths = [f"{name}={trainer[name]}" for name in ("max_epochs", "max_steps") if name in trainer]
    reasons = [why for name, why in plan.notes.items() if name.startswith("runner.")]
    verdict = Verdict.EXACT
    if not plan.by_epoch and "max_steps" not in trainer:
        lengths.append(f"StopAfter({plan.max_iters}) in callbacks.py")
        verdict = Verdict.EQUIVALENT
        reasons.append("a Trainer's max_steps counts steps of the optimizer, not iterations")
    if not plan.by_epoch:
        reasons.append("an epoch of the Trainer is one pass through the loader")
    return Row(key, _short(value), f"Trainer({', '.join(lengths)})", verdict, "; ".join(reasons))


def _schedule_row(key: str, value: Any, found: Scheduled, became: str) -> Row:
    if found.carried is not None:
        why = "a policy of the code base: it stays as it is, and mmhooks calls it"
        return Row(key, _short(value), "HookCallback in carried.py", Verdict.CARRIED, why)
    if found.schedule is None:
        return Row(key, _short(value), "nothing", Verdict.EXACT, found.idle or "the value stays")
    return Row(key, _short(value), became, Verdict.EXACT, "the same operations in the same order")


def _lr_row(plan: RunPlan, value: Any) -> Row:
    found = lr_schedule(plan)
    policy = found.schedule["policy"] if found.schedule is not None else ""
    row = _schedule_row("lr_config", value, found, f"Schedule in schedule.py, {policy}, one step a batch")
    accumulated = stepping(plan)[0].get("accumulate_grad_batches")
    if found.schedule is None or accumulated is None:
        return row
    became = f"Schedule in schedule.py, {policy}, one step of the optimizer"
    why = "each step has the rate that MMCV has in the iteration of that step; a Trainer makes one more an epoch"
    return Row(row.key, row.value, became, Verdict.EQUIVALENT, why)


def _momentum_row(plan: RunPlan, value: Any) -> Row:
    return _schedule_row("momentum_config", value, momentum_schedule(plan), "Momentum in callbacks.py: a callback")


def _stepping_row(plan: RunPlan, value: Any) -> Row:
    return stepping_row(plan)


def _fp16_row(plan: RunPlan, value: Any) -> Row:
    if value is None:
        return Row("fp16", "None", "fp32", Verdict.EXACT)
    row = stepping_row(plan)
    return Row("fp16", _short(value), row.became, Verdict.DIFFERS, row.why)


def _checkpoint_row(plan: RunPlan, value: Any) -> Row:
    return checkpoint_row(plan)


def _evaluation_row(plan: RunPlan, value: Any) -> Row:
    return evaluation_row(plan)


def _log_row(plan: RunPlan, value: Any) -> Row:
    names = [*loggers(plan)]
    if not names:
        return Row("log_config", _short(value), "no logger", Verdict.EXACT)
    interval = trainer_settings(plan)["log_every_n_steps"]
    reasons = ["a row has the values of one iteration, where MMCV averages over the interval"]
    reasons += missing_loggers(plan)
    became = f"log_every_n_steps={interval}, {', '.join(names)}, LearningRateMonitor"
    return Row("log_config", _short(value), became, Verdict.DIFFERS, "; ".join(reasons))


def _workflow_row(plan: RunPlan, value: Any) -> Row:
    flows = [mode for mode, _ in plan.workflow]
    if "val" not in flows:
        return Row("workflow", _short(value), "training alone", Verdict.EXACT)
    if has_val_flow(plan):
        why = "val_step runs in the validation loop, over the batches that the evaluation goes through as well"
        return Row("workflow", _short(value), "val_step in validation_step, logged as val/...", Verdict.EQUIVALENT, why)
    why = "val_step wants the val data with the train pipeline, and a Trainer has one validation loop"
    return Row("workflow", _short(value), "", Verdict.NOT_MAPPED, why)


def _seed_row(plan: RunPlan, value: Any) -> Row:
    if value is None:
        return Row("seed", "None", "no seed, or --seed", Verdict.EXACT)
    why = "the same generators get it: those of Python, NumPy and PyTorch"
    return Row("seed", _short(value), f"seed_everything({value})", Verdict.EXACT, why)


def _resume_row(plan: RunPlan, value: Any) -> Row:
    if not value:
        return Row("resume_from", _short(value), "--resume", Verdict.EXACT)
    if str(value).endswith(".ckpt"):
        return Row("resume_from", _short(value), "fit(ckpt_path=...)", Verdict.EXACT)
    why = "a file of MMCV has no loops and optimizers of Lightning: resume it in the style bridge"
    return Row("resume_from", _short(value), "", Verdict.NOT_MAPPED, why)


def _auto_resume_row(plan: RunPlan, value: Any) -> Row:
    if not plan.auto_resume:
        return Row("auto_resume", _short(value), "--resume last", Verdict.EXACT)
    why = "said on the command line; a run that has no file yet then starts anew"
    return Row("auto_resume", _short(value), "--resume last", Verdict.DIFFERS, why)


def _load_row(plan: RunPlan, value: Any) -> Row:
    if not value:
        return Row("load_from", _short(value), "nothing", Verdict.EXACT)
    return Row("load_from", _short(value), "load_weights in train.py", Verdict.EQUIVALENT, "what fits is taken")


def _scale_row(plan: RunPlan, value: Any) -> Row:
    note = plan.notes.get("auto_scale_lr")
    if note is None:
        return Row("auto_scale_lr", _short(value), "nothing", Verdict.EXACT, "it is not enabled")
    return Row("auto_scale_lr", _short(value), "optimizer.lr", Verdict.EXACT, note)


def _simple(key: str, became: Callable[[Any], str], why: str = "", verdict: Verdict = Verdict.EXACT) -> _Rower:
    return lambda plan, value: Row(key, _short(value), became(value), verdict, why)


_Rower = Callable[[RunPlan, Any], Row]
_ROWS: dict[str, _Rower] = {
    "lr_config": _lr_row,
    "momentum_config": _momentum_row,
    "optimizer_config": _stepping_row,
    "fp16": _fp16_row,
    "checkpoint_config": _checkpoint_row,
    "log_config": _log_row,
    "evaluation": _evaluation_row,
    "workflow": _workflow_row,
    "seed": _seed_row,
    "resume_from": _resume_row,
    "auto_resume": _auto_resume_row,
    "load_from": _load_row,
    "auto_scale_lr": _scale_row,
    "log_level": _simple("log_level", lambda value: f'getLogger("lightning.pytorch").setLevel({value!r})'),
    "work_dir": _simple("work_dir", lambda value: f"work_dir={value!r}, or --work-dir"),
    "dist_params": _simple("dist_params", lambda value: "DDPStrategy", "broadcast_buffers=False, as in MMCV"),
    "find_unused_parameters": _simple("find_unused_parameters", lambda v: f"DDPStrategy(find_unused_parameters={v})"),
    "cudnn_benchmark": _simple("cudnn_benchmark", lambda value: f"Trainer(benchmark={bool(value)})"),
    "mp_start_method": _simple("mp_start_method", lambda value: f"set_start_method({value!r})"),
    "opencv_num_threads": _simple("opencv_num_threads", lambda value: f"cv2.setNumThreads({value})"),
    "custom_imports": _simple("custom_imports", lambda value: "imported by builders.py"),
    "gpu_ids": _simple("gpu_ids", lambda value: "--devices", verdict=Verdict.COMMAND_LINE),
    "device": _simple("device", lambda value: 'Trainer(accelerator="auto")', verdict=Verdict.COMMAND_LINE),
}

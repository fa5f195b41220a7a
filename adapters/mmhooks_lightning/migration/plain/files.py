"""Files and evaluations: what becomes of ``checkpoint_config`` and ``evaluation``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmhooks.hooks.best import KeepsBest, infer_rule
from mmhooks.plan import RunPlan
from mmhooks_lightning.migration.plain.optimizer import is_by_name, stepping
from mmhooks_lightning.migration.plain.text import flat_text
from mmhooks_lightning.migration.rows import Row, Verdict

#: Arguments of the hook that evaluates; the others reach ``dataset.evaluate``.
_HOOK_ARGUMENTS = frozenset(
    [
        "type",
        "dataloader",
        "start",
        "interval",
        "by_epoch",
        "save_best",
        "rule",
        "test_fn",
        "greater_keys",
        "less_keys",
        "out_dir",
        "file_client_args",
        "dynamic_intervals",
        "pre_eval",
        "efficient_test",
        "tmpdir",
        "gpu_collect",
        "broadcast_bn_buffer",
        "key_indicator",
        "priority",
        "zero_counts",
        "restore_mode",
        "metrics",
        "predict",
    ]
)
_GREATER = (*KeepsBest._default_greater_keys, "ap", "ar", "pck", "3dpck", "p-3dpck", "3dauc", "p-3dauc", "pcp", "pq")
_LESS = (*KeepsBest._default_less_keys, "epe", "nme", "mpjpe", "p-mpjpe", "n-mpjpe")


def checkpoint_settings(plan: RunPlan) -> list[dict[str, Any]]:
    """Give the arguments of each ModelCheckpoint: the regular files, the one at the end, the best one."""
    config = _checkpoint_config(plan)
    found = []
    if config is not None and (plan.by_epoch or not config["by_epoch"]):
        by_epoch, interval = config["by_epoch"], int(config.get("interval", -1))
        keep = config.get("max_keep_ckpts", -1)
        general: dict[str, Any] = {"filename": _name(by_epoch), "auto_insert_metric_name": False}
        if config.get("out_dir"):
            general["dirpath"] = config["out_dir"]
        if not config.get("save_optimizer", True):
            general["save_weights_only"] = True
        every = "every_n_epochs" if by_epoch else "every_n_train_steps"
        general["save_on_train_epoch_end"] = by_epoch
        if interval > 0:
            kept = {"monitor": "step", "mode": "max", "save_top_k": keep} if keep > 0 else {"save_top_k": -1}
            found.append({**general, every: _steps(plan, interval, by_epoch), **kept, "save_last": "link"})
        last = _last(plan, config, interval)
        if last is not None:
            found.append({**general, every: _steps(plan, last, by_epoch), "save_top_k": -1})
    return found + _best(plan)


def _checkpoint_config(plan: RunPlan) -> dict[str, Any] | None:
    config = plan.training_hooks.get("checkpoint_config")
    if not isinstance(config, Mapping):
        return None
    return {"by_epoch": plan.by_epoch, **config}


def _last(plan: RunPlan, config: Mapping[str, Any], interval: int) -> int | None:
    """Give the epoch or iteration at the end, where it has a file of its own."""
    if not config.get("save_last", True) or config["by_epoch"] != plan.by_epoch:
        return None
    return None if interval > 0 and plan.length % interval == 0 else plan.length


def _steps(plan: RunPlan, count: int, by_epoch: bool) -> int:
    if by_epoch:
        return count
    if is_by_name(plan):
        assert plan.optimizer is not None
        return count * len(plan.optimizer)
    accumulated: int = stepping(plan)[0].get("accumulate_grad_batches", 1)
    return max(1, count // accumulated)


def _name(by_epoch: bool) -> str:
    return "epoch_{epoch}" if by_epoch else "iter_{step}"


def _best(plan: RunPlan) -> list[dict[str, Any]]:
    config = evaluation_config(plan)
    best = (config or {}).get("save_best")
    if config is None or not isinstance(best, str):
        return []
    mode, _ = best_mode(config)
    when = _name(plan.by_epoch)
    name = f"best_{best.replace('/', '_').replace(' ', '_')}_{when}"
    general = {"filename": name, "auto_insert_metric_name": False, "save_on_train_epoch_end": False}
    return [{**general, "monitor": best, "mode": mode, "save_top_k": 1}]


def best_mode(config: Mapping[str, Any]) -> tuple[str, bool]:
    """Give the mode of the ModelCheckpoint of the best model, and whether a rule or a name says it."""
    rule = config.get("rule")
    try:
        rule = rule or infer_rule(config["save_best"], _GREATER, _LESS)
    except ValueError:
        return "max", False
    return ("min" if rule == "less" else "max"), True


def checkpoint_row(plan: RunPlan) -> Row:
    """Say what became of ``checkpoint_config``."""
    given = plan.training_hooks.get("checkpoint_config")
    config = _checkpoint_config(plan)
    if config is None:
        became = "no ModelCheckpoint"
        return Row("checkpoint_config", repr(given), became, Verdict.EXACT, "no file is kept there either")
    if config["by_epoch"] and not plan.by_epoch:
        why = "by_epoch=True never saves in an iteration-based run"
        return Row("checkpoint_config", flat_text(config), "no ModelCheckpoint", Verdict.EXACT, why)
    unit = "epoch" if config["by_epoch"] else "iteration"
    reasons = [f"after the same {unit}s, as .ckpt files"]
    if config["by_epoch"]:
        reasons.append("numbered from 0: epoch_0.ckpt is epoch_1.pth")
    if plan.by_epoch != config["by_epoch"]:
        reasons.append("MMCV names these files by the epoch, so that later ones of an epoch replace earlier ones")
    interval, keep = int(config.get("interval", -1)), config.get("max_keep_ckpts", -1)
    if _last(plan, config, interval) is not None and interval > 0 and keep > 0:
        reasons.append(f"the file of the end is kept beside the {keep} others, where MMCV counts it among them")
    for name in ("sync_buffer", "filename_tmpl", "file_client_args", "create_symlink"):
        if config.get(name):
            reasons.append(f"{name} has no counterpart")
    if not config["by_epoch"] and stepping(plan)[0].get("accumulate_grad_batches"):
        reasons.append("a Trainer counts steps of the optimizer, so the interval is divided by the group")
    shown = flat_text(dict(given)) if isinstance(given, Mapping) else repr(given)
    return Row("checkpoint_config", shown, "ModelCheckpoint", Verdict.DIFFERS, "; ".join(reasons))


def evaluation_config(plan: RunPlan) -> dict[str, Any] | None:
    """Give the arguments of the hook that evaluates, if there is one."""
    hook = next((hook for hook in plan.hooks if hook.key == "evaluation"), None)
    return None if hook is None else dict(hook.config)


def has_val_flow(plan: RunPlan) -> bool:
    """Tell whether a workflow goes through the val data, as this style can: only with one's own data."""
    return plan.recipe.builders is None and any(mode == "val" for mode, _ in plan.workflow)


def evaluation_settings(plan: RunPlan) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Give the arguments of the Trainer, and what the generated config says of the evaluation."""
    config = evaluation_config(plan)
    if config is None and not has_val_flow(plan):
        return {"limit_val_batches": 0}, None
    flows = config or {"by_epoch": plan.by_epoch, "interval": sum(n for mode, n in plan.workflow if mode == "train")}
    interval = int(flows.get("interval", 1))
    trainer: dict[str, Any] = {"check_val_every_n_epoch": interval}
    if not flows.get("by_epoch", True):
        trainer = {"check_val_every_n_epoch": None, "val_check_interval": interval}
    arguments = {key: value for key, value in (config or {}).items() if key not in _HOOK_ARGUMENTS}
    best = (config or {}).get("save_best")
    return trainer, {
        "arguments": arguments,
        "judges": config is not None,
        "pre_eval": bool((config or {}).get("pre_eval", False)),
        "val_step": has_val_flow(plan),
        "save_best": best,
    }


def evaluation_row(plan: RunPlan) -> Row:
    """Say what became of ``evaluation``."""
    config = evaluation_config(plan)
    given = plan.source.values.get("evaluation")
    shown = flat_text(dict(given)) if isinstance(given, Mapping) else repr(given)
    trainer, _ = evaluation_settings(plan)
    if config is None:
        return Row("evaluation", shown, "limit_val_batches=0", Verdict.EXACT)
    became = ", ".join(f"{key}={flat_text(value)}" for key, value in trainer.items())
    reasons = ["the code base's dataset.evaluate judges the same results"]
    verdict = Verdict.EQUIVALENT
    best = config.get("save_best")
    if isinstance(best, str):
        mode, known = best_mode(config)
        became += f', ModelCheckpoint(monitor="{best}", mode="{mode}")'
        reasons.append("the best file is kept among .ckpt files, and a score of 0 counts")
        if not known:
            verdict = Verdict.DIFFERS
            reasons.append("no rule says whether a greater value is better: set mode in the checkpoints of the config")
    if config.get("start") is not None:
        verdict = Verdict.DIFFERS
        reasons.append(f"start={config['start']} is not known to a Trainer, which evaluates from the first one on")
    if config.get("dynamic_intervals"):
        verdict = Verdict.DIFFERS
        reasons.append("dynamic_intervals: the interval stays the same")
    if config.get("by_epoch", True) and not plan.by_epoch:
        verdict = Verdict.DIFFERS
        reasons.append("MMCV never evaluates by epoch in an iteration-based run")
    return Row("evaluation", shown, f"validation_step, {became}", verdict, "; ".join(reasons))

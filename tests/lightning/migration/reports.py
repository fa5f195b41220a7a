"""Reports of configs, with rows of their keys, curves of mmhooks' own updaters and the hooks of a plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmhooks import Config, EpochBasedRunner, Hook, IterBasedRunner
from mmhooks.errors import MMHooksError
from mmhooks.hook import POINTS
from mmhooks.plan import RunPlan, plan_run
from mmhooks.priority import get_priority, priority_name
from mmhooks.recipes.keys import Fate
from mmhooks.walk import Act
from mmhooks_lightning.migration.rows import Curve, Report, Row, Verdict, Walked

ZOO = Path(__file__).parents[3] / ".cache" / "zoo"
VERDICTS = {
    Fate.RUN: Verdict.EXACT,
    Fate.BUILD: Verdict.BUILDERS,
    Fate.HELPER: Verdict.HELPER,
    Fate.COMMAND_LINE: Verdict.COMMAND_LINE,
    Fate.UNREAD: Verdict.NOT_MAPPED,
}
CONFIG = """
model = dict(type='FasterRCNN')
data = dict(samples_per_gpu=2, workers_per_gpu=2, train=dict(type='Images'), val=dict(type='Images'))
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(policy='step', warmup='linear', warmup_iters=100, warmup_ratio=0.001, step=[8, 11])
momentum_config = dict(policy='step', step=[8, 11], gamma=0.95)
runner = dict(type='EpochBasedRunner', max_epochs=12)
checkpoint_config = dict(interval=1)
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook')])
custom_hooks = [dict(type='EMAHook', priority='VERY_HIGH'), dict(type='MyOwnHook')]
"""


class Recorder(Hook):
    """Notes lr and momentum of every iteration, at its end."""

    def __init__(self) -> None:
        self.lr: list[float] = []
        self.momentum: list[float] = []

    def after_train_iter(self, runner: Any) -> None:
        self.lr.append(runner.current_lr()[0])
        self.momentum.append(runner.current_momentum()[0])


class Net(nn.Linear):
    def train_step(self, data: Any, optimizer: Any, **kwargs: Any) -> dict[str, Any]:
        return {"loss": self.weight.sum(), "log_vars": {}, "num_samples": 1}


def walk(plan: RunPlan, work_dir: Path, epoch_len: int) -> Recorder:
    """Run the updaters of a plan under a native runner."""
    model = Net(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=(plan.optimizer or {}).get("lr", 0.1), momentum=0.9)
    kind = EpochBasedRunner if plan.by_epoch else IterBasedRunner
    length = {"max_epochs": plan.max_epochs} if plan.by_epoch else {"max_iters": min(plan.length, 3000)}
    runner = kind(model, optimizer=optimizer, work_dir=work_dir, **length)
    hooks = plan.training_hooks
    runner.register_training_hooks(hooks["lr_config"], momentum_config=hooks.get("momentum_config"))
    recorder = Recorder()
    runner.register_hook(recorder, "LOWEST")
    runner.run([[[0]] * epoch_len], [("train", 1)])
    return recorder


def acts(plan: RunPlan, work_dir: Path) -> list[Act]:
    """List who acts where, of the hooks that mmhooks has."""
    kind, length = (EpochBasedRunner, "max_epochs") if plan.by_epoch else (IterBasedRunner, "max_iters")
    runner = kind(Net(1, 1), work_dir=work_dir, **{length: 1})
    hooks = dict(plan.training_hooks)
    hooks.pop("custom_hooks_config", None)
    runner.register_training_hooks(**{**hooks, "log_config": {"interval": 50, "hooks": [{"type": "TextLoggerHook"}]}})
    others = [(hook.key, hook.config, hook.priority) for hook in plan.hooks]
    for _, config, priority in others:
        try:
            runner.register_hook(config, priority)
        except (MMHooksError, TypeError):  # of the code base, or one that needs a data loader
            stand_in = type(config["type"], (Hook,), {"after_train_epoch": lambda self, runner: None})
            runner.register_hook(stand_in(), priority)
    keys = {"TextLoggerHook": "log_config", "IterTimerHook": ""}
    keys |= {config["type"]: key for key, config, _ in others}
    found = []
    for point in POINTS:
        for hook in runner.hooks:
            if point in hook.get_triggered_stages():
                name = type(hook).__name__
                key = keys.get(name, next((key for key in hooks if key.split("_")[0] in name.lower()), ""))
                every = f"every {hook.interval} iterations" if hasattr(hook, "interval") else every_of(point)
                found.append(Act(point, name, priority_name(get_priority(hook.priority)), every, key))
    return found


def every_of(point: str) -> str:
    return "once" if "run" in point else "each epoch" if "epoch" in point else "every iteration"


def report_of(
    cfg: Config, name: str, work_dir: Path, *, codebase: str | None = None, epoch_len: int = 60, off: float = 0.0
) -> Report:
    """Make a report; `off` puts the migrated side's lr off in the middle of the run."""
    plan = plan_run(cfg, codebase)
    recorder = walk(plan, work_dir, epoch_len)
    lr = list(recorder.lr)
    lr[len(lr) // 2] += off
    rows = [row_of(plan, key.key, VERDICTS[key.fate], key.why) for key in plan.keys]
    walked = Walked(epoch_len, 1, len(lr), off, off / recorder.lr[0], 0.0, True, True, ("MyOwnHook: no such class",))
    if off:
        where = len(lr) // 2
        walked = replace(walked, differences=(f"iteration {where}: lr {recorder.lr[where]} and {lr[where]}",))
    curves = [Curve("lr", epoch_len, recorder.lr, lr)]
    if len(set(recorder.momentum)) > 1:
        curves.append(Curve("momentum", epoch_len, recorder.momentum, list(recorder.momentum)))
    return Report(
        name,
        f"{plan.recipe.name} {plan.recipe.version}".strip(),
        "bridge",
        rows,
        curves,
        acts(plan, work_dir),
        [walked, Walked(7, 8, 84, 0.0, 0.0, 0.0, True, True)],
        by_epoch=plan.by_epoch,
    )


def row_of(plan: RunPlan, key: str, verdict: Verdict, why: str) -> Row:
    value: Any = plan.source.values
    for part in key.split("."):
        value = value[part]
    if key == "lr_config":
        became = f"HookCallback([{value!r}])"
    elif verdict is Verdict.EXACT:
        became = f"HookCallback({key.rpartition('.')[2]}={value!r})"
    else:
        became = "builders.build_model" if verdict is Verdict.BUILDERS else ""
    if key == "custom_hooks":
        verdict, why = Verdict.CARRIED, "its class is found when the code base can be imported"
    if key == "evaluation":
        verdict, why = Verdict.DIFFERS, "Lightning validates with its own loop: the files are named otherwise"
    if key == "data.workers_per_gpu":
        verdict, why = Verdict.EQUIVALENT, "an argument of the DataLoader"
    return Row(key, repr(value), became, verdict, why)

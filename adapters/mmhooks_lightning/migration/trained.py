"""verify_with_trainer: what a real Trainer does with a migrated run, beside what was walked."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from mmhooks.hooks import OptimizerHook
from mmhooks.plan import RunPlan
from mmhooks.recipes import Recipe
from mmhooks.runner.base import BaseRunner
from mmhooks.walk import Event, Points, Rates, Trace
from mmhooks.walk.rates import lr_of, momentum_of
from mmhooks.walk.runners import QUIET, fake_optimizer, note_call
from mmhooks_lightning.callback import HookCallback
from mmhooks_lightning.migration.compare import compare
from mmhooks_lightning.migration.rows import Walked
from mmhooks_lightning.migration.verify import bridge_side, hooks_of, run_of, written_config
from mmhooks_lightning.module import HookedModule


def verify_with_trainer(plan: RunPlan, epoch_len: int) -> Walked:
    """Walk a migrated run of style ``bridge``, let a Trainer train it, and compare the two.

    The Trainer trains a model with one parameter in a temporary folder, with the hooks of the written config at work:
    files are written and deleted. Hooks whose classes cannot be found have stand-ins, as in the walk.

    Args:
        plan: the plan of the run, for one process; it takes a Trainer about half a millisecond an iteration.
        epoch_len: train iterations an epoch.

    Raises:
        ConfigError: a hook refuses its arguments, or this run.
    """
    config = written_config(plan)
    walked = bridge_side(config, plan.recipe, whole=True)(epoch_len)
    return compare(walked, train(config, plan.recipe, epoch_len))


def train(config: Mapping[str, Any], recipe: Recipe, epoch_len: int) -> Trace:
    """Let a Trainer train a written run with a model of one parameter, and note what it does.

    Args:
        config: the written config, of style ``bridge``.
        recipe: of the code base.
        epoch_len: train iterations an epoch.

    Raises:
        ConfigError: a hook refuses its arguments, or this run.
    """
    run = run_of(config)
    model, optimizer, _ = fake_optimizer(config["optimizer"])
    with TemporaryDirectory() as folder:
        bridge = HookCallback(
            work_dir=folder,
            by_epoch=run.by_epoch,
            max_iters=config["run"]["max_iters"],
            workflow=run.workflow,
            logger=QUIET,
        )
        hooks = hooks_of(config, recipe)
        hooks.register(bridge)
        trace = Trace(run, epoch_len, unwalked=hooks.unwalked)
        trace.points = _note(bridge.runner, trace)
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu", "devices": 1}
        trainer = pl.Trainer(callbacks=[bridge], default_root_dir=folder, **{**config["trainer"], **quiet})
        val = _loader(2) if "val" in dict(run.workflow) else None
        trainer.fit(HookedModule(model, optimizer), _loader(epoch_len), val)
        trace.files.steps = trainer.global_step if any(_steps(hook) for hook in bridge.runner.hooks) else None
        found = sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*.pth") if not path.is_symlink())
    evaluations = [event for event in trace.files.events if event.kind == "evaluate"]
    trace.files.events = [Event("save", name, 0, 0) for name in found] + evaluations
    return trace


def _steps(hook: Any) -> bool:
    return isinstance(hook, OptimizerHook)


def _loader(batches: int) -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.zeros(batches, 1)), batch_size=1)


def _note(runner: BaseRunner, trace: Trace) -> Points:
    """Let the runner of a bridge note what happens, while it happens."""
    points, rates, call = Points(), trace.rates, runner.call_hook

    def call_hook(fn_name: str) -> None:
        note_call(points, runner, fn_name)
        call(fn_name)
        if fn_name == "before_train_iter":
            _note_rates(rates, runner.optimizer)

    def note(kind: str, name: str) -> None:
        trace.files.events.append(Event(kind, name, runner.epoch, runner.iter))

    runner.call_hook = call_hook  # type: ignore[method-assign]
    runner.note = note  # type: ignore[attr-defined]
    return points


def _note_rates(rates: Rates, optimizer: Any) -> None:
    several = optimizer if isinstance(optimizer, Mapping) else {"": optimizer} if optimizer is not None else {}
    groups = [(name, group) for name, one in several.items() for group in one.param_groups]
    if not rates.groups:
        rates.groups = [name for name, _ in groups]
        rates.lr, rates.momentum = ([array("d") for _ in groups] for _ in range(2))
    for (_, group), lr, momentum in zip(groups, rates.lr, rates.momentum, strict=True):
        lr.append(lr_of(group))
        momentum.append(momentum_of(group))

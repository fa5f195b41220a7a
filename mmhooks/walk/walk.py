"""walk: a run goes by, hook by hook, and no model is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from mmhooks.checks import check_count
from mmhooks.plan import RunPlan
from mmhooks.walk.files import walk_files
from mmhooks.walk.groups import multipliers
from mmhooks.walk.hooks import HookSet, import_classes
from mmhooks.walk.rates import walk_rates
from mmhooks.walk.runners import Sized, Walking, fake_optimizer, noting_calls, walking_runner
from mmhooks.walk.trace import Points, Rates, Run, Trace, Unwalked, shortened

#: Makes a runner with its hooks registered, at no place in a run yet, and says what it could not find.
Make = Callable[[], tuple[Walking, list[Unwalked]]]


def walk(plan: RunPlan, epoch_len: int, *, world_size: int = 1, imports: bool = False, whole: bool = False) -> Trace:
    """Walk a run that a config describes, without its model and its data.

    The numbers are the hooks' own: the run's updaters are called at every iteration, what saves and evaluates at every
    point where it may, with a runner's counters, over an optimizer with one parameter. The order of points and calls
    comes from a runner's loop over a run that is shortened where it repeats itself (see `shortened`). Nothing is
    written, and nothing that the config names is imported.

    A hook whose class cannot be found has its place kept, and is reported in ``unwalked``. The evaluation of a code
    base is walked all the same, since it is known when it takes place; every score is taken to be the best so far.
    Param groups (``paramwise_cfg``) need the model: the rates are those of one group.

    Args:
        plan: the run, planned for as many processes.
        epoch_len: train iterations an epoch, in each process.
        world_size: the number of processes.
        imports: import the code base and ``custom_imports`` first, so that their hooks are found.
        whole: note the points of the whole run.

    Raises:
        ConfigError: a hook refuses its arguments, or this run.
        HookError: a hook refuses this run.

    Example:
        >>> trace = walk(plan_run(Config.fromfile("faster_rcnn_r50_fpn_1x_coco.py")), 7330)  # doctest: +SKIP
        >>> trace.rates.lr[0][0], trace.files.kept[-1]  # doctest: +SKIP
        (2e-05, 'epoch_12.pth')
    """
    check_count("walk", "epoch_len", epoch_len)
    if imports:
        import_classes(plan)
    run = Run(plan.by_epoch, plan.length, plan.workflow)
    return trace_of(lambda: _made(plan), run, plan.optimizer, epoch_len, world_size, native_points, whole)


def _made(plan: RunPlan) -> tuple[Walking, list[Unwalked]]:
    runner = walking_runner(plan.by_epoch)
    hooks = HookSet.of(plan)
    hooks.register(runner)
    return runner, hooks.unwalked


def schedule_rates(
    plan: RunPlan, epoch_len: int, *, world_size: int = 1, imports: bool = False
) -> tuple[Rates, list[Unwalked]]:
    """Walk the rates of a run alone, with a param group for each factor that ``paramwise_cfg`` names.

    Args:
        plan: the run, planned for as many processes.
        epoch_len: train iterations an epoch, in each process.
        world_size: the number of processes.
        imports: import the code base and ``custom_imports`` first, so that their policies are found.

    Returns:
        The rates, and what could not be walked.

    Raises:
        ConfigError: a hook refuses its arguments, or this run.
        HookError: a hook refuses this run.
    """
    check_count("schedule_rates", "epoch_len", epoch_len)
    if imports:
        import_classes(plan)
    runner, unwalked = _made(plan)
    model, optimizer, missing = fake_optimizer(plan.optimizer)
    run = Run(plan.by_epoch, plan.length, plan.workflow)
    runner.begin(run, epoch_len, model, optimizer, world_size)
    labels = _add_groups(plan.optimizer or {}, optimizer)
    unwalked = unwalked + missing
    rates = _rates(runner, run, epoch_len, unwalked)
    if rates.groups:
        rates.groups = labels
    return rates, unwalked


def _add_groups(config: Mapping[str, Any], optimizer: Any) -> list[str]:
    """Give each optimizer the param groups of its config, and name them all."""
    labels: list[str] = []
    several = isinstance(optimizer, dict)
    for name, one in optimizer.items() if several else [("", optimizer)] if optimizer is not None else []:
        factors = multipliers(config[name] if several else config)
        base = one.param_groups[0]["lr"]
        for factor in list(factors.values())[1:]:
            one.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": base * factor})
        labels += [" ".join(filter(None, (name, label))) for label in factors]
    return labels


def trace_of(
    make: Make,
    run: Run,
    optimizer: Mapping[str, Any] | None,
    epoch_len: int,
    world_size: int,
    points: Callable[[Walking, Run, int], Points],
    whole: bool = False,
) -> Trace:
    """Walk a run of any driver.

    Args:
        make: makes its runner, with the hooks.
        run: its length and workflow.
        optimizer: the config of its optimizer.
        epoch_len: train iterations an epoch.
        world_size: the number of processes.
        points: goes through a run in the order of the driver.
        whole: that is the whole run; otherwise a shortened one.
    """

    def begun(length: Run, iterations: int) -> Walking:
        runner, _ = make()
        model, made, _ = fake_optimizer(optimizer)
        runner.begin(length, iterations, model, made, world_size)
        return runner

    _, unwalked = make()
    unwalked = unwalked + fake_optimizer(optimizer)[2]
    short, short_len = (run, epoch_len) if whole else shortened(run, epoch_len)
    return Trace(
        run=run,
        epoch_len=epoch_len,
        world_size=world_size,
        rates=_rates(begun(run, epoch_len), run, epoch_len, unwalked),
        points=points(begun(short, short_len), short, short_len),
        files=walk_files(begun(run, epoch_len), run, epoch_len),
        unwalked=unwalked,
    )


def _rates(runner: Walking, run: Run, epoch_len: int, unwalked: list[Unwalked]) -> Rates:
    """Walk the rates; those that a class which cannot be found would set are left out."""
    missing = {one.key for one in unwalked}
    if {"lr_config", "momentum_config"} <= missing:
        return Rates()
    rates = walk_rates(runner, run, epoch_len)
    if "lr_config" in missing:
        rates.lr = []
    if "momentum_config" in missing:
        rates.momentum = []
    return rates


def native_points(runner: Walking, run: Run, epoch_len: int) -> Points:
    """Let a native runner run, and note which points it reaches."""
    noted = noting_calls(runner)
    loaders = [Sized(epoch_len if mode == "train" else 2) for mode, _ in run.workflow]
    loop: Any = runner
    loop.run(loaders, run.workflow)
    return noted


def default_lengths(plan: RunPlan) -> list[int]:
    """Give lengths of epochs that show what depends on them: 1, 7, and one more than the warmup, if there is one.

    Nothing in a run by iterations depends on it: there it is 7 alone.
    """
    if not plan.by_epoch:
        return [7]
    lengths = [1, 7]
    for key in ("lr_config", "momentum_config"):
        config = plan.training_hooks.get(key) or {}
        warmup = config.get("warmup_iters") if isinstance(config, Mapping) and config.get("warmup") else None
        if isinstance(warmup, int) and warmup > 0 and not config.get("warmup_by_epoch"):
            lengths.append(warmup + 1)
    return sorted(set(lengths))

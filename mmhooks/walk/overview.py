"""overview: what a config makes of a run, as plain data."""

from __future__ import annotations

from array import array
from dataclasses import asdict
from typing import Any

from mmhooks.plan import RunPlan
from mmhooks.walk.acts import acts
from mmhooks.walk.trace import Trace
from mmhooks.walk.walk import walk


def overview(plan: RunPlan, epoch_len: int = 1000, *, world_size: int = 1) -> dict[str, Any]:
    """Say what a run does: who acts when, how much of everything there is, what becomes of every key.

    Args:
        plan: the run, planned for as many processes.
        epoch_len: train iterations an epoch.
        world_size: the number of processes.

    Raises:
        ConfigError: a hook refuses its arguments, or this run.

    Returns:
        Plain values: ``config``, ``codebase`` (name and release); ``run`` (by_epoch, max_epochs, max_iters, workflow);
        ``optimizer``, as the config says it; ``epoch_len``, ``world_size``; ``totals`` (epochs, iterations, steps,
        checkpoints, evaluations; a value is None where a run has no such thing); ``kept``, the files that are there at
        the end; ``lr`` and ``momentum``, a dict with group, first, max, min and last for each param group; ``acts``
        (point, hook, priority, every, key), see `Act`; ``unwalked`` (what, key, reason); ``keys`` (key, fate, why);
        ``notes`` by key.
    """
    return overview_of(plan, walk(plan, epoch_len, world_size=world_size))


def overview_of(plan: RunPlan, trace: Trace) -> dict[str, Any]:
    """Say the same of a run that is walked already.

    Args:
        plan: the run.
        trace: its walk.
    """
    files = trace.files
    return {
        "config": plan.source.name,
        "codebase": f"{plan.recipe.name} {plan.recipe.version}".strip(),
        "run": {
            "by_epoch": plan.by_epoch,
            "max_epochs": plan.max_epochs,
            "max_iters": plan.max_iters,
            "workflow": [list(flow) for flow in plan.workflow],
        },
        "optimizer": plan.optimizer,
        "epoch_len": trace.epoch_len,
        "world_size": trace.world_size,
        "totals": {
            "epochs": plan.max_epochs,
            "iterations": trace.iterations,
            "steps": files.steps,
            "checkpoints": len(files.saves),
            "evaluations": len(files.evaluations),
        },
        "kept": files.kept,
        "lr": _ranges(trace, trace.rates.lr),
        "momentum": _ranges(trace, trace.rates.momentum),
        "acts": [asdict(act) for act in acts(plan)],
        "unwalked": [asdict(one) for one in trace.unwalked],
        "keys": [{"key": fate.key, "fate": str(fate.fate), "why": fate.why} for fate in plan.keys],
        "notes": dict(plan.notes),
    }


def _ranges(trace: Trace, values: list[array[float]]) -> list[dict[str, Any]]:
    return [
        {"group": label, "first": own[0], "max": max(own), "min": min(own), "last": own[-1]}
        for label, own in zip(trace.rates.groups, values, strict=False)
        if own
    ]

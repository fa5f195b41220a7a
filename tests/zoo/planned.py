"""Compare a plan with what a code base's own tools/train.py was seen to register for the config."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any
from unittest import mock

import packages

from mmhooks.config import Config
from mmhooks.dispatch import CallTable
from mmhooks.plan import RunPlan, plan_run
from mmhooks.priority import get_priority
from mmhooks.registry import Registry
from mmhooks.runner.registration import HookRegistration

GOLDEN = packages.ROOT / "tests" / "golden" / "plans"
RANKS = 8
RECIPES = {"mmsegmentation": "mmseg"}
# the same sequence of steps under a name of its own, and arguments that only the real thing has
ALIASES = {"DistOptimizerHook": "OptimizerHook"}
RUNTIME = {"dataloader", "meta", "distributed", "args"}


class Recorder(HookRegistration):
    """Notes what is registered, and builds nothing."""

    def __init__(self, by_epoch: bool) -> None:
        self.by_epoch = by_epoch
        self.call_table = CallTable()
        self.registered: list[tuple[str, int, dict[str, Any]]] = []

    def register_hook(self, hook: Any, priority: Any = "NORMAL") -> None:
        arguments = dict(hook)
        priority = arguments.pop("priority", priority)
        self.registered.append((str(arguments.pop("type")), get_priority(priority), arguments))


def differences(package: str, cfg: Config, recorded: list[Any]) -> list[str]:
    """Say what a plan has otherwise than the code base.

    Args:
        package: the code base.
        cfg: the config.
        recorded: what was recorded for it: with one process, and with several. A text is an error of the code base.
    """
    found = []
    for world_size, seen in zip((1, RANKS), recorded, strict=True):
        if not isinstance(seen, str):
            plan = plan_run(cfg, RECIPES.get(package, package), world_size=world_size)
            found += [f"in {world_size} processes: {what}" for what in compared(plan, seen, world_size)]
    return found


def recorded_of(package: str, name: str) -> list[Any]:
    """Give what was recorded for one config; nothing for one that is a part of others."""
    golden = _golden(package)
    folder, _, file = name.rpartition("/")
    found = golden["configs"].get(folder, {}).get(file, ())
    return [one if isinstance(one, str) else _decoded(golden, one) for one in found]


def recorded_options(package: str) -> dict[str, list[Any]]:
    """Give what was recorded for one config with options on the command line: with one process, and with several."""
    golden = _golden(package)
    return {
        options: [one if isinstance(one, str) else _decoded(golden, one) for one in recorded]
        for options, recorded in golden["options"].items()
    }


def _decoded(golden: dict[str, Any], index: int) -> dict[str, Any]:
    plan = dict(zip(golden["columns"], golden["plans"][index], strict=True))
    listed = ("hooks", "called", "loaders")
    decoded = {key: golden["parts"][value] for key, value in plan.items() if key not in listed}
    decoded["hooks"] = [golden["hooks"][one] for one in plan["hooks"]]
    decoded["called"] = plan["called"]
    decoded["asked"] = [golden["asked"][one[0]] for one in plan["loaders"]]
    return decoded


def registered(plan: RunPlan) -> list[tuple[str, int, dict[str, Any]]]:
    """List the class, the priority and the arguments of each hook, in the order of registration."""
    recorder = Recorder(plan.by_epoch)
    with (
        mock.patch("mmhooks.runner.registration.build_from_cfg", _unbuilt),
        mock.patch.object(Registry, "get", return_value=object),  # classes of code bases that are not there
    ):
        recorder.register_training_hooks(**plan.training_hooks)
        for hook in plan.hooks:
            if hook.key == "evaluation":  # is built with the loader first: a priority in it is no priority
                arguments = {key: value for key, value in hook.config.items() if key != "type"}
                recorder.registered.append((hook.config["type"], get_priority(hook.priority), arguments))
            else:
                recorder.register_hook(hook.config, hook.priority)
    return recorder.registered


def _unbuilt(config: Mapping[str, Any], registry: Registry, default_args: Mapping[str, Any] | None = None) -> Any:
    return {**(default_args or {}), **config}


def compared(plan: RunPlan, recorded: dict[str, Any], world_size: int) -> list[str]:
    theirs = [
        _hook(one["class"].rpartition(".")[2], one["priority"], one.get("arguments", {})) for one in recorded["hooks"]
    ]
    ours = [_hook(*one) for one in registered(plan)]
    found = [f"hook {left} is {right}" for left, right in zip(theirs, ours, strict=False) if left != right]
    if len(theirs) != len(ours):
        found.append(f"{len(theirs)} hooks are {len(ours)}: {theirs} {ours}")
    order = sorted(range(len(ours)), key=lambda index: ours[index][1])
    if order != recorded["called"]:
        found.append(f"called in order {recorded['called']}, not {order}")
    runner = recorded["runner"]
    theirs_run = (runner["class"].rpartition(".")[2], runner.get("max_epochs"), runner.get("max_iters"))
    if plan.recipe.name == "mmpose":  # says the length when the run begins
        theirs_run = (theirs_run[0], (recorded["run"]["more"] or [None])[0], None)
    ours_run = ("EpochBasedRunner" if plan.by_epoch else "IterBasedRunner", plan.max_epochs, plan.max_iters)
    asked = [_loader(one) for one in recorded["asked"]]
    if len(plan.workflow) > 1:  # both flows have loaders with the same arguments
        found += ["the loader of the val flow differs"] * (asked.pop(1) != asked[0])
    pairs = {
        "runner": (theirs_run, ours_run),
        "workflow": (recorded["run"]["workflow"], plan.workflow),
        "optimizer": (recorded["optimizer"], plan.optimizer),
        "loaders": (asked, [_loader(one) for one in plan.loaders.values()]),
        "cudnn_benchmark": (recorded["cudnn_benchmark"], bool(plan.source.values.get("cudnn_benchmark"))),
    }
    if world_size > 1:
        wrapper = recorded["model"][0]
        pairs["parallel"] = ({key: wrapper.get(key) for key in plan.parallel}, plan.parallel)
    return found + [f"{key} {left} is {right}" for key, (left, right) in pairs.items() if _plain(left) != _plain(right)]


def _hook(kind: str, priority: int, arguments: Mapping[str, Any]) -> tuple[str, int, Any]:
    kept = {key: value for key, value in arguments.items() if key not in RUNTIME}
    if kind == "RFSearchHook":  # notes in its own argument what it finds
        kept["config"] = {key: value for key, value in kept["config"].items() if key != "structure"}
    return ALIASES.get(kind, kind), priority, _plain(kept)


def _loader(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in arguments.items() if key not in ("num_gpus", "dist", "seed", "kwargs")}


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, sort_keys=True))


@functools.cache
def _golden(package: str) -> dict[str, Any]:
    return json.loads((GOLDEN / f"{package}.json").read_text())

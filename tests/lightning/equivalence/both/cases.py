"""The parts that cases are made of.

A case is a dict of plain values, so one that differs can be printed and read back:

- ``by_epoch``, ``length`` (in epochs or iterations), ``workflow``
- ``model``: a key of `subjects.MODELS`; ``optimizer``: a config for `build_optimizer`, or None
- ``train``, ``val``: arguments of `subjects.loader`
- ``training``: arguments of ``register_training_hooks``, or None; ``hooks``: more hooks, for `own.build`
- ``meta``, ``step_kwargs``: the runner's, and what reaches ``train_step``
- ``said``: the HookCallback is given the workflow, or finds it by the Trainer; ``given_as``: the HookedModule is given
  an optimizer, or its ``config``; ``trainer``: more arguments of the Trainer
"""

from __future__ import annotations

from typing import Any

from both.record import Case

BASE: Case = {
    "by_epoch": True,
    "length": 3,
    "workflow": [("train", 1)],
    "model": "net",
    "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
    "train": {"shuffle": True, "size": 29},
    "val": {"size": 21, "seed": 2},
    "training": {"lr_config": {"policy": "fixed"}, "optimizer_config": {}},
    "hooks": [],
    "meta": {"seed": 0},
    "step_kwargs": {},
    "said": True,
    "given_as": "optimizer",
    "trainer": {},
}


def case(*changes: dict[str, Any], **more: Any) -> Case:
    """Change the base case; ``training`` is changed key by key, and ``hooks`` are added."""
    made = dict(BASE)
    for change in (*changes, more):
        for key, value in change.items():
            if key == "training" and value is not None:
                made[key] = {**(made[key] or {}), **value}
                if not made["by_epoch"]:
                    made[key].pop("timer_config", None)  # IterBasedRunner.register_training_hooks has none
            elif key == "hooks":
                made[key] = [*made[key], *value]
            else:
                made[key] = value
    return made

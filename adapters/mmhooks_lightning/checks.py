"""What a HookCallback refuses before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from mmhooks.errors import ConfigError, HookError


def check_package(trainer: Any) -> None:
    """Refuse the Trainer of another package.

    Raises:
        ConfigError: the Trainer is not lightning.pytorch's.
    """
    if not isinstance(trainer, pl.Trainer):
        package = type(trainer).__module__.partition(".")[0]
        raise ConfigError(
            f"this Trainer comes from {package}, and HookCallback is written for the package lightning: "
            "write `import lightning as L; L.Trainer(...)` and L.LightningModule"
        )


def is_sharded(trainer: pl.Trainer) -> bool:
    """Tell whether each process has only a part of the parameters."""
    return isinstance(trainer.strategy, (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy))


def check_alone(trainer: pl.Trainer, kind: type[pl.Callback]) -> None:
    """Refuse a second HookCallback.

    Raises:
        HookError: the Trainer has two.
    """
    if sum(isinstance(callback, kind) for callback in trainer.callbacks) > 1:  # type: ignore[attr-defined]
        raise HookError(
            "the Trainer has two HookCallbacks, whose hooks would not know each other's priorities: "
            "register all hooks on one"
        )


def check_hooks(hooks: Any) -> list[tuple[Any, Any]]:
    """Check what a HookCallback is given.

    Returns:
        Each hook, or config of one, with its priority.

    Raises:
        TypeError: it is no list of hooks; says what to write.
    """
    if not isinstance(hooks, Sequence) or isinstance(hooks, str):
        raise TypeError(f"HookCallback takes a list of hooks, not {_spelt(hooks)}: write HookCallback([MyHook(), ...])")
    found = []
    for index, item in enumerate(hooks):
        hook, priority = item if isinstance(item, tuple) and len(item) == 2 else (item, "NORMAL")
        if isinstance(hook, (str, tuple)):
            wanted = "(MyHook(), 'HIGH')" if isinstance(hook, tuple) else f"dict(type={hook!r})"
            raise TypeError(f"hooks[{index}] of HookCallback is no hook but {hook!r:.60}: write {wanted}")
        if isinstance(hook, pl.Callback):
            name = type(hook).__name__
            raise TypeError(
                f"{name} is a callback of Lightning: register as_hook({name}(...)), or give it to the Trainer, "
                f"L.Trainer(callbacks=[HookCallback([...]), {name}(...)])"
            )
        found.append((hook, priority))
    return found


def _spelt(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else f"{value!r:.60}"


def check_workflow(workflow: Any, by_epoch: bool) -> None:
    """Refuse a workflow that a Trainer cannot run.

    Raises:
        ConfigError: it is neither train alone nor train and then val.
    """
    modes = [flow[0] for flow in workflow] if all(isinstance(f, tuple) and len(f) == 2 for f in workflow) else []
    counts = [flow[1] for flow in workflow] if modes else []
    fits = modes in (["train"], ["train", "val"]) and all(isinstance(n, int) and n > 0 for n in counts)
    if fits and not (by_epoch and modes[-1] == "val" and counts[-1] != 1):
        return
    raise ConfigError(
        f"the workflow {workflow!r} has no equal under a Trainer: write [('train', n)] or "
        + ("[('train', n), ('val', 1)], in epochs" if by_epoch else "[('train', n), ('val', m)], in iterations")
    )

"""What a HookCallback refuses before anything else."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl

from mmhooks.errors import ConfigError


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

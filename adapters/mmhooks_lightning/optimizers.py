"""The optimizers of ordinary modules, as hooks see them, and what else would set their lr or momentum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
from torch import nn
from torch.optim import Optimizer

from mmhooks.errors import HookError
from mmhooks.foreign import is_a
from mmhooks.hooks.updater import LrUpdaterHook, MomentumUpdaterHook


class Optimizers(dict[str, Optimizer]):
    """Several optimizers by name, which can be had by their place, too: ``optimizer["0"]``, ``optimizer[0]``."""

    def __missing__(self, key: Any) -> Optimizer:
        places = {str(place): one for place, one in enumerate(self.values())}
        if str(key) in places:
            return places[str(key)]
        raise KeyError(f"{key!r}: the optimizers are {', '.join(self)}, or 0 to {len(self) - 1}")


def as_hooks_see_them(module: nn.Module, optimizers: list[Any]) -> Any:
    """Give one optimizer as it is, and several by name.

    An optimizer has the name of the one child of the module that it trains (``generator``), where all of them have
    a child of their own; otherwise the names are ``"0"``, ``"1"``, ...

    Args:
        module: the LightningModule.
        optimizers: those of the Trainer, not its wrappers: the lr that a hook sets there is the one that is used.
    """
    real = [one for one in optimizers if type(one).__name__ != "_MockOptimizer"]  # of a module without optimizers
    if len(real) == 1:
        return real[0]
    children = {parameter: name for name, child in module.named_children() for parameter in child.parameters()}
    trained = [{children.get(parameter) for parameter in _parameters(one)} for one in real]
    names = {name for group in trained for name in group}
    if None in names or len(names) != len(real) or any(len(group) != 1 for group in trained):
        return Optimizers((str(place), one) for place, one in enumerate(real))
    return Optimizers((str(group.pop()), one) for group, one in zip(trained, real, strict=True))


def _parameters(optimizer: Optimizer) -> Iterator[Any]:
    for group in optimizer.param_groups:
        yield from group["params"]


def check_schedulers(hooks: list[Any], trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Refuse updaters beside schedulers that set the same values.

    Raises:
        HookError: both would set the lr, or the momentum.
    """
    schedulers = [one for config in trainer.lr_scheduler_configs for one in _flat(config.scheduler)]
    cycling = [one for one in schedulers if getattr(one, "cycle_momentum", False)]
    for family, value, rivals in ((LrUpdaterHook, "lr", schedulers), (MomentumUpdaterHook, "momentum", cycling)):
        updaters = [type(hook).__name__ for hook in hooks if is_a(hook, family)]
        if updaters and rivals:
            names = ", ".join(dict.fromkeys(type(one).__name__ for one in rivals))
            way_out = "" if value == "lr" else ", or give the scheduler cycle_momentum=False"
            raise HookError(
                f"{' and '.join(updaters)} and the {names} of {type(module).__name__}.configure_optimizers() "
                f"would both set the {value}: keep one{way_out}"
            )


def _flat(scheduler: Any) -> Iterator[Any]:
    """Give a scheduler and those that it is made of (SequentialLR, ChainedScheduler)."""
    yield scheduler
    for part in getattr(scheduler, "_schedulers", ()):
        yield from _flat(part)

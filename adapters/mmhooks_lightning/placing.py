"""Where wrapped callbacks stand in a Trainer's list, what makes way for them, and what they cannot stand beside."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import (
    Checkpoint,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
    RichModelSummary,
    RichProgressBar,
    StochasticWeightAveraging,
    TQDMProgressBar,
)
from lightning.pytorch.utilities.model_helpers import is_overridden

from mmhooks.errors import HookError
from mmhooks.hooks.updater import LrUpdaterHook
from mmhooks_lightning.module import HookedModule
from mmhooks_lightning.standins import StandIn

if TYPE_CHECKING:
    from mmhooks_lightning.callback import HookCallback
    from mmhooks_lightning.wrapping import CallbackHook

#: What a Trainer brings itself unless it is given one: the kind, the classes it takes, how to switch it off.
_BROUGHT: tuple[tuple[type, tuple[type, ...], str], ...] = (
    (Checkpoint, (ModelCheckpoint,), "enable_checkpointing=False"),
    (ProgressBar, (TQDMProgressBar, RichProgressBar), "enable_progress_bar=False"),
    (ModelSummary, (ModelSummary, RichModelSummary), "enable_model_summary=False"),
)


def place(bridge: HookCallback, trainer: pl.Trainer, hooks: Sequence[CallbackHook]) -> None:
    """Put the stand-ins right after the bridge into the Trainer's list, in the order of the hooks.

    It becomes another list: the Trainer is going through the one that there was.
    """
    callbacks = _others(trainer)
    for kind, _, switch in _BROUGHT:
        wrapped = [hook for hook in hooks if isinstance(hook.callback, kind)]
        for other in [one for one in callbacks if wrapped and isinstance(one, kind) and _is_as_brought(one)]:
            callbacks = [one for one in callbacks if one is not other]
            bridge.runner.logger.info(
                "the Trainer's own %s makes way for %s; Trainer(%s) leaves it out from the first",
                type(other).__name__,
                type(wrapped[0].callback).__name__,
                switch,
            )
    index = next(i for i, one in enumerate(callbacks) if one is bridge) + 1
    callbacks[index:index] = [hook.stand_in for hook in hooks]
    trainer.callbacks = callbacks  # type: ignore[attr-defined]


def _others(trainer: pl.Trainer) -> list[Any]:
    return [one for one in trainer.callbacks if type(one) is not StandIn]  # type: ignore[attr-defined]


def _is_as_brought(callback: Any) -> bool:
    """Tell whether a callback is as the Trainer makes it, with nothing said by the user and nothing done yet."""
    if not any(type(callback) in classes for _, classes, _ in _BROUGHT):
        return False
    given_by_trainer = ("log", "log_dict")
    return bool({k: v for k, v in vars(callback).items() if k not in given_by_trainer} == vars(type(callback)()))


def check(bridge: HookCallback, trainer: pl.Trainer, module: pl.LightningModule, hooks: Sequence[CallbackHook]) -> None:
    """Refuse what wrapped callbacks cannot stand beside.

    Raises:
        HookError: says what, and what to do.
    """
    others = _others(trainer)
    _check_listed(others, hooks)
    _check_bars(others, hooks)
    _check_module(others, module, hooks)
    _check_keys(others, hooks)
    _check_averaging(bridge, module, hooks)


def _check_listed(others: Sequence[Any], hooks: Sequence[CallbackHook]) -> None:
    for hook in hooks:
        if any(one is hook.callback for one in others):
            raise HookError(
                f"this {type(hook).__name__} is registered with as_hook and is in Trainer(callbacks=[...]) too, where "
                "it would be called a second time: leave it out there"
            )


def _check_bars(others: Sequence[Any], hooks: Sequence[CallbackHook]) -> None:
    wrapped = [type(hook).__name__ for hook in hooks if isinstance(hook.callback, ProgressBar)]
    if not wrapped:
        return
    bars = wrapped + [type(one).__name__ for one in others if isinstance(one, ProgressBar) and not _is_as_brought(one)]
    if len(bars) > 1:
        raise HookError(
            f"{' and '.join(bars)} would both draw: a Trainer has one progress bar. Register one, and leave the other "
            "out of Trainer(callbacks=[...]), or say enable_progress_bar=False"
        )


def _check_module(others: Sequence[Any], module: pl.LightningModule, hooks: Sequence[CallbackHook]) -> None:
    if type(module).configure_callbacks is HookedModule.configure_callbacks:
        return
    if not is_overridden("configure_callbacks", module):
        return
    for hook in hooks:
        cls = type(hook.callback)
        if any(isinstance(one, cls) and not _is_as_brought(one) for one in others):
            raise HookError(
                f"{type(module).__name__}.configure_callbacks() replaces callbacks of the Trainer's by those of the "
                f"module, and a {cls.__name__} is registered with as_hook beside another in the Trainer: keep the one "
                "or the other, or register both with as_hook"
            )


def _check_keys(others: Sequence[Any], hooks: Sequence[CallbackHook]) -> None:
    kinds = tuple({kind for kind, _, _ in _BROUGHT if any(isinstance(hook.callback, kind) for hook in hooks)})
    staying = [one for one in others if not (isinstance(one, kinds) and _is_as_brought(one))]
    keys: dict[str, str] = {}
    for callback in [*staying, *(hook.callback for hook in hooks)]:
        name = type(callback).__name__
        if not is_overridden("state_dict", callback, pl.Callback):
            continue
        if callback.state_key in keys:
            raise HookError(
                f"{keys[callback.state_key]} and {name} would save their states under one key, "
                f"{callback.state_key!r}: keep one of them, or give the second a state_key of its own"
            )
        keys[callback.state_key] = name


def _check_averaging(bridge: HookCallback, module: pl.LightningModule, hooks: Sequence[CallbackHook]) -> None:
    found = [type(hook).__name__ for hook in hooks if isinstance(hook.callback, StochasticWeightAveraging)]
    if not found:
        return
    if isinstance(module, HookedModule):
        raise HookError(
            f"{found[0]} sets the lr, and ends with an epoch without steps, in ways that manual optimization does not "
            "know, so it cannot work with a HookedModule: use EMAHook, or as_hook(WeightAveraging())"
        )
    updaters = [type(hook).__name__ for hook in bridge.hooks if isinstance(hook, LrUpdaterHook)]
    if updaters:
        raise HookError(
            f"{found[0]} and {updaters[0]} would both set the lr: keep one, or average with EMAHook or "
            "as_hook(WeightAveraging()), which leave the lr alone"
        )


def warn_of_last(trainer: pl.Trainer, hooks: Sequence[CallbackHook], logger: logging.Logger) -> None:
    """Say where a fit begins anew beside a file that ckpt_path="last" would have found."""
    if trainer.ckpt_path is not None:
        return
    for hook in hooks:
        if isinstance(hook.callback, ModelCheckpoint):
            found = sorted(path for path in hook.callback._find_last_checkpoints(trainer) if Path(path).exists())
            if found:
                logger.warning(
                    "the fit begins anew, though %s is there. The first fit of a Trainer finds it by ckpt_path='last' "
                    "only if it is made with callbacks=bridge.callbacks (bridge being the HookCallback)",
                    found[-1],
                )

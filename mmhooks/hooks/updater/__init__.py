"""Updaters: schedules applied to the param groups of the optimizers."""

from mmhooks.hooks.updater.base import UpdaterHook
from mmhooks.hooks.updater.lr import (
    CosineAnnealingLrUpdaterHook,
    FixedLrUpdaterHook,
    LrUpdaterHook,
    StepLrUpdaterHook,
)

__all__ = [
    "CosineAnnealingLrUpdaterHook",
    "FixedLrUpdaterHook",
    "LrUpdaterHook",
    "StepLrUpdaterHook",
    "UpdaterHook",
]

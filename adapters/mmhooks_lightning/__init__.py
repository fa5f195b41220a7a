"""The Lightning driver: MMCV-style hooks on a Lightning Trainer, with the numbers of the native runners."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmhooks_lightning.callback import HookCallback
    from mmhooks_lightning.loggers import LightningLoggerHook
    from mmhooks_lightning.migration.migration import Migration, migrate
    from mmhooks_lightning.module import HookedModule
    from mmhooks_lightning.runner import LightningRunner
    from mmhooks_lightning.wrapping import as_hook

__all__ = ["HookCallback", "HookedModule", "LightningLoggerHook", "LightningRunner", "Migration", "as_hook", "migrate"]

_PLACES = {
    "HookCallback": "callback",
    "HookedModule": "module",
    "LightningLoggerHook": "loggers",
    "LightningRunner": "runner",
    "Migration": "migration.migration",
    "as_hook": "wrapping",
    "migrate": "migration.migration",
}


def __getattr__(name: str) -> Any:
    # importing Lightning takes seconds, and the command line looks in here for its commands
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

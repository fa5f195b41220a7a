"""MMCV-style training hooks that run unchanged under native runners and a Lightning Trainer."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmhooks.api import *  # noqa: F403  (its __all__)

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # importing PyTorch takes seconds, which the command's help and its completion cannot wait for
    missing = AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name.startswith("_") and name != "__all__":
        raise missing
    if find_spec(f"{__name__}.{name}") is not None:
        return import_module(f"{__name__}.{name}")
    try:
        value = globals()[name] = getattr(import_module("mmhooks.api"), name)
    except AttributeError:
        raise missing from None
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *import_module("mmhooks.api").__all__})

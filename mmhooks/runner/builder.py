"""build_runner: a config becomes a runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmhooks.registry import RUNNERS, build_from_cfg
from mmhooks.runner.base import BaseRunner


def build_runner(cfg: Mapping[str, Any], default_args: Mapping[str, Any] | None = None) -> BaseRunner:
    """Build a runner.

    Args:
        cfg: ``dict(type="EpochBasedRunner", max_epochs=12)`` or the like.
        default_args: the model, the optimizer and what else the config does not say.

    Raises:
        RegistryError: a type that is no runner.
    """
    runner: BaseRunner = build_from_cfg(cfg, RUNNERS, default_args)
    return runner

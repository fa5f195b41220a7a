"""ClosureHook: a function as a hook."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmhooks.dispatch import GENERIC_POINTS
from mmhooks.errors import ConfigError, nearest
from mmhooks.hook import POINTS, Hook
from mmhooks.registry import HOOKS


@HOOKS.register_module()
class ClosureHook(Hook):
    """Call a function at one point.

    Args:
        fn_name: the point: one of the ten, or ``before_epoch``, ``after_epoch``, ``before_iter``, ``after_iter``
            for train and val together.
        fn: gets the runner.

    Raises:
        ConfigError: there is no such point, or ``fn`` cannot be called.

    Example:
        >>> runner.register_hook(ClosureHook("after_train_epoch", lambda runner: print(runner.epoch)))
    """

    def __init__(self, fn_name: str, fn: Callable[[Any], object]) -> None:
        known = (*POINTS, *GENERIC_POINTS)
        if fn_name not in known:
            hint = nearest(fn_name, known) if isinstance(fn_name, str) else ""
            raise ConfigError(f"ClosureHook's fn_name must be one of {', '.join(known)}, not {fn_name!r}{hint}")
        if not callable(fn):
            raise ConfigError(f"ClosureHook's fn must be a function of the runner, not {fn!r}")
        setattr(self, fn_name, fn)

"""Loggers of MMCV whose services are gone: configs may name them, and they log nothing."""

from __future__ import annotations

from typing import Any, ClassVar

from mmhooks.hook import Hook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


class RetiredLoggerHook(Hook):
    """Base of the loggers whose service is gone: says so once, and does nothing.

    It is no `LoggerHook`, so the last of the others clears the averages.

    Args:
        **arguments: those that MMCV's hook of this name takes; nothing reads them.

    Attributes:
        service: its name.
    """

    service: ClassVar[str]

    def __init__(self, **arguments: Any) -> None:
        self._has_said = False

    def before_run(self, runner: BaseRunner) -> None:
        """Say that nothing is logged there."""
        if self._has_said or runner.rank != 0:
            return
        self._has_said = True
        runner.logger.warning(
            "%s is retired: the service %s is gone, so nothing is logged there, and all else goes on. Take it out of "
            "log_config.hooks, or put another logger in its place, such as TensorboardLoggerHook",
            type(self).__name__,
            self.service,
        )


def retired_service(kind: str) -> str | None:
    """Name the service of a class of hooks, if that is gone.

    Args:
        kind: the name of the class.

    Example:
        >>> retired_service("PaviLoggerHook")
        'Pavi'
    """
    found = HOOKS.get(kind)
    return found.service if isinstance(found, type) and issubclass(found, RetiredLoggerHook) else None


@HOOKS.register_module()
class PaviLoggerHook(RetiredLoggerHook):
    """Stands for MMCV's logger of Pavi, which was internal to its makers; see `RetiredLoggerHook`."""

    service = "Pavi"


@HOOKS.register_module()
class SegmindLoggerHook(RetiredLoggerHook):
    """Stands for MMCV's logger of Segmind, whose tracking of experiments is gone; see `RetiredLoggerHook`."""

    service = "Segmind"

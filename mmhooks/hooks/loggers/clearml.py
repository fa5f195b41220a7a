"""ClearMLLoggerHook: a task of ClearML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mmhooks.hooks.loggers.service import ServiceLoggerHook, check_kwargs
from mmhooks.media import Media
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module()
class ClearMLLoggerHook(ServiceLoggerHook):
    """Log to a task of ClearML: each average is a plot of its own; it takes all kinds of media.

    A task that the program has begun itself is used and stays open; one that the hook begins is closed with the run.
    ``CLEARML_OFFLINE_MODE=1`` in the environment (or ``clearml.Task.set_offline(True)``) keeps it on this machine.

    ClearML 2.1 reports from a process that it forks. If it looks for the git repository of the program meanwhile, that
    process may hold git's output open, and closing the task waits without end: the line
    ``sdk.development.report_use_subprocess: false`` in clearml.conf lets a thread report.

    Args:
        init_kwargs: the arguments of ``clearml.Task.init``: ``project_name``, ``task_name``, ``tags``, ...
        interval: see `ServiceLoggerHook`, as all others.
        ignore_last: there.
        reset_flag: there.
        by_epoch: there.
        hyper_parameters: there.
        system_metrics: there.

    Raises:
        ConfigError: clearml is not installed, or an argument is of another kind.

    Example:
        >>> kwargs = dict(project_name="digits", task_name="cnn")
        >>> runner.register_logger_hooks(dict(hooks=[dict(type="ClearMLLoggerHook", init_kwargs=kwargs)]))
    """

    title, package, extra = "ClearML", "clearml", "clearml"
    takes = ("image", "figure", "histogram", "text")

    def __init__(
        self,
        init_kwargs: Mapping[str, Any] | None = None,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        by_epoch: bool = True,
        *,
        hyper_parameters: bool | Mapping[str, Any] = True,
        system_metrics: bool = False,
    ) -> None:
        super().__init__(
            interval,
            ignore_last,
            reset_flag,
            by_epoch,
            hyper_parameters=hyper_parameters,
            system_metrics=system_metrics,
        )
        self.init_kwargs = check_kwargs(type(self).__name__, "init_kwargs", init_kwargs)
        self._is_own = False

    @property
    def task(self) -> Any:  # MMCV's name
        """The task of ClearML."""
        return self.client

    def start(self, runner: BaseRunner) -> Any:
        """Begin a task, or take the one that the program has begun."""
        from clearml import Task

        self._is_own = Task.current_task() is None
        return Task.init(**self.init_kwargs)

    def send_config(self, runner: BaseRunner, parameters: dict[str, Any], config: str | None) -> None:
        """Send the section ``hyper_parameters``, and the object ``config``."""
        if parameters:
            self.client.connect(dict(parameters), name="hyper_parameters")
        if config is not None:
            self.client.set_configuration_object("config", config_text=config)

    def send(self, runner: BaseRunner, values: dict[str, Any], step: int) -> None:
        """Report scalars."""
        logger = self.client.get_logger()
        for tag, value in values.items():
            logger.report_scalar(tag, tag, value, step)

    def send_media(self, runner: BaseRunner, media: Media) -> None:
        """Report an image, a figure, a histogram or a text."""
        logger, name, step = self.client.get_logger(), media.name, media.step
        if media.kind == "image":
            value = media.value[:, :, 0] if media.value.shape[2] == 1 else media.value
            logger.report_image(name, name, iteration=step, image=value)
        elif media.kind == "figure":
            logger.report_matplotlib_figure(name, name, media.value, iteration=step, report_image=True)
        elif media.kind == "histogram":
            counts, edges = np.histogram(media.value, bins=64)
            middles = [f"{value:.4g}" for value in (edges[1:] + edges[:-1]) / 2]
            logger.report_histogram(name, name, values=counts, iteration=step, xlabels=middles)
        else:
            logger.report_text(f"{name}, iteration {step}: {media.value}", print_console=False)

    def finish(self, runner: BaseRunner, failed: bool) -> None:
        """Close the task, if it is the hook's own."""
        if not self._is_own:
            return
        if failed:
            self.client.mark_failed(ignore_errors=True)
        self.client.close()

"""TensorboardLoggerHook: event files for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmhooks.checks import check_path
from mmhooks.errors import ConfigError
from mmhooks.hooks.loggers.service import ServiceLoggerHook
from mmhooks.media import KINDS, Media
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module()
class TensorboardLoggerHook(ServiceLoggerHook):
    """Write event files that ``tensorboard --logdir <work_dir>`` shows.

    Averages are scalars (strings are texts), hyper-parameters and the config texts; it takes all kinds of media.

    Args:
        log_dir: the folder; by default ``<work_dir>/tf_logs``.
        interval: see `ServiceLoggerHook`, as all others.
        ignore_last: there.
        reset_flag: there.
        by_epoch: there.
        hyper_parameters: there.
        system_metrics: there.

    Raises:
        ConfigError: tensorboard is not installed, or an argument is of another kind.
    """

    title, package, extra = "TensorBoard", "tensorboard", "tensorboard"
    takes = KINDS
    takes_text = True

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
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
        self.log_dir = check_path(type(self).__name__, "log_dir", log_dir, optional=True)

    @property
    def writer(self) -> Any:  # MMCV's name, which subclasses use
        """The ``SummaryWriter`` of the current run."""
        return self.client

    def start(self, runner: BaseRunner) -> Any:
        """Open the event file."""
        from torch.utils.tensorboard import SummaryWriter

        folder = self.log_dir
        if folder is None:
            if runner.work_dir is None:
                raise ConfigError("TensorboardLoggerHook needs log_dir=... where the runner has no work_dir")
            folder = str(Path(runner.work_dir, "tf_logs"))
        return SummaryWriter(folder)

    def send_config(self, runner: BaseRunner, parameters: dict[str, Any], config: str | None) -> None:
        """Write a table of the hyper-parameters, and the config."""
        if parameters:
            rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in parameters.items())
            self.client.add_text("hyper_parameters", f"| name | value |\n|---|---|\n{rows}", 0)
        if config is not None:
            self.client.add_text("config", "\n".join(f"    {line}" for line in config.splitlines()), 0)

    def send(self, runner: BaseRunner, values: dict[str, Any], step: int) -> None:
        """Write scalars, and texts."""
        for tag, value in values.items():
            write = self.client.add_text if isinstance(value, str) else self.client.add_scalar
            write(tag, value, step)

    def send_media(self, runner: BaseRunner, media: Media) -> None:
        """Write an image, a histogram or a text; a figure becomes an image."""
        if media.kind == "image":
            self.client.add_image(media.name, media.value, media.step, dataformats="HWC")
        elif media.kind == "figure":
            self.client.add_figure(media.name, media.value, media.step, close=False)
        elif media.kind == "histogram":
            self.client.add_histogram(media.name, media.value, media.step)
        else:
            self.client.add_text(media.name, media.value, media.step)

    def finish(self, runner: BaseRunner, failed: bool) -> None:
        """Close the event file."""
        self.client.close()


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", "&#124;").split())

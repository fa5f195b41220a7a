"""NeptuneLoggerHook: runs of Neptune, which are kept on this machine since its service is gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmhooks.checks import check_flag
from mmhooks.errors import HookError
from mmhooks.hooks.loggers.service import ServiceLoggerHook, check_kwargs
from mmhooks.media import Media, png
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module()
class NeptuneLoggerHook(ServiceLoggerHook):
    """Log to a run of Neptune: averages are series, strings as well; it takes images, figures and texts.

    Neptune's own service closed in 2026. ``init_kwargs=dict(mode="offline")`` keeps a run in the folder ``.neptune``
    of the current directory; any other mode needs a server of one's own.

    Args:
        init_kwargs: the arguments of ``neptune.init_run``: ``mode``, ``project``, ``name``, ``tags``, ...
        interval: see `ServiceLoggerHook`, as all others.
        ignore_last: there.
        reset_flag: there; True by default, as in MMCV.
        with_step: number the values by the iteration; otherwise in the order of their arrival.
        by_epoch: see `ServiceLoggerHook`.
        hyper_parameters: there.
        system_metrics: there.

    Raises:
        ConfigError: neptune is not installed, or an argument is of another kind.

    Example:
        >>> runner.register_logger_hooks(
        ...     dict(hooks=[dict(type="NeptuneLoggerHook", init_kwargs=dict(mode="offline", project="me/digits"))])
        ... )
    """

    title, package, extra = "Neptune", "neptune", "neptune"
    takes = ("image", "figure", "text")
    takes_text = True

    def __init__(
        self,
        init_kwargs: Mapping[str, Any] | None = None,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = True,
        with_step: bool = True,
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
        self.with_step = check_flag(type(self).__name__, "with_step", with_step)
        self._sent: dict[str, int] = {}

    @property
    def run(self) -> Any:  # MMCV's name
        """The run of Neptune."""
        return self.client

    def start(self, runner: BaseRunner) -> Any:
        """Begin a run."""
        import neptune

        self._sent = {}
        try:
            return neptune.init_run(**self.init_kwargs)
        except Exception as error:
            if self.init_kwargs.get("mode") == "offline":
                raise
            raise HookError(
                f"{type(self).__name__} could not begin ({type(error).__name__}): Neptune's own service closed in "
                "2026. Write init_kwargs=dict(mode='offline') to keep the run on this machine, or name your own server "
                "by its api_token"
            ) from error

    def send_config(self, runner: BaseRunner, parameters: dict[str, Any], config: str | None) -> None:
        """Send fields ``hyper_parameters/...``, and the config as a file."""
        from neptune.types import File

        for name, value in parameters.items():
            self.client["hyper_parameters"][name] = value
        if config is not None:
            self.client["config"].upload(File.from_content(config, extension="txt"))

    def send(self, runner: BaseRunner, values: dict[str, Any], step: int) -> None:
        """Append to the series."""
        for tag, value in values.items():
            if not self.with_step:
                self.client[tag].append(value)
            elif step > self._sent.get(tag, -1):  # the steps of a series rise, and an evaluation tells the lr again
                self._sent[tag] = step
                self.client[tag].append(value, step=step)

    def send_media(self, runner: BaseRunner, media: Media) -> None:
        """Append to a series of images or texts."""
        from neptune.types import File

        value = media.value
        if media.kind == "image":
            value = File.from_content(png(value), extension="png")
        elif media.kind == "figure":
            value = File.as_image(value)
        self.client[media.name].append(value, step=media.step)

    def finish(self, runner: BaseRunner, failed: bool) -> None:
        """Stop the run of Neptune."""
        if failed:
            self.client["sys/failed"] = True
        self.client.stop()

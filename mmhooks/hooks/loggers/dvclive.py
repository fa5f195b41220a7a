"""DvcliveLoggerHook: files of DVCLive."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmhooks.checks import check_file
from mmhooks.errors import ConfigError
from mmhooks.hooks.loggers.service import ServiceLoggerHook
from mmhooks.media import Media, keep_media
from mmhooks.registry import HOOKS, arguments_of
from mmhooks.runner.base import BaseRunner


@HOOKS.register_module()
class DvcliveLoggerHook(ServiceLoggerHook):
    """Log to the files of DVCLive: metrics as ``.tsv``, parameters, images and figures.

    By epoch, as in MMCV, there is one step an epoch: the averages of its last full interval, and what an evaluation
    has measured. Otherwise there is one an interval, numbered by the iteration.

    Args:
        model_file: after each train epoch, save a checkpoint under this name.
        interval: see `ServiceLoggerHook`, as all others.
        ignore_last: there.
        reset_flag: there.
        by_epoch: a step an epoch; otherwise an interval of iterations.
        dvclive: a ``dvclive.Live`` to use, which stays open. None: make one, which is ended with the run.
        hyper_parameters: see `ServiceLoggerHook`.
        system_metrics: there.
        **kwargs: the arguments of ``dvclive.Live``: ``dir``, ``resume``, ``save_dvc_exp``, ``report``, ...

    Raises:
        ConfigError: dvclive is not installed, ``dvclive`` and ``kwargs`` both, an argument that ``dvclive.Live`` does
            not take, or one of another kind.

    Example:
        >>> runner.register_logger_hooks(
        ...     dict(hooks=[dict(type="DvcliveLoggerHook", dir="logs/dvclive", save_dvc_exp=False)])
        ... )
    """

    title, package, extra = "DVCLive", "dvclive", "dvclive"
    takes = ("image", "figure")
    takes_text = True

    def __init__(
        self,
        model_file: str | None = None,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        by_epoch: bool = True,
        dvclive: Any = None,
        *,
        hyper_parameters: bool | Mapping[str, Any] = True,
        system_metrics: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            interval,
            ignore_last,
            reset_flag,
            by_epoch,
            hyper_parameters=hyper_parameters,
            system_metrics=system_metrics,
        )
        name = type(self).__name__
        self.model_file = None if model_file is None else check_file(name, "model_file", model_file)
        if dvclive is not None and kwargs:
            raise ConfigError(f"{name} takes dvclive=<a Live> or the arguments of one, not both: leave out {[*kwargs]}")
        self.kwargs = kwargs
        self._given = dvclive
        self._in_iteration = self._saves = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._values: dict[str, Any] = {}  # of the last full interval of the epoch
        self._averages: dict[str, Any] = {}  # the same, as the log buffer has them
        self._sent: dict[str, int] = {}

    @property
    def dvclive(self) -> Any:  # MMCV's name
        """The ``Live``."""
        return self._given if self._given is not None else self.client

    def before_run(self, runner: BaseRunner) -> None:
        """Begin, and send the hyper-parameters."""
        super().before_run(runner)
        self._saves = self.model_file is not None

    def start(self, runner: BaseRunner) -> Any:
        """Make the ``Live``."""
        self._begin_anew()
        if self._given is not None:
            return self._given
        from dvclive.live import Live

        try:
            return Live(**self.kwargs)
        except TypeError as error:
            known = ", ".join(sorted(arguments_of(Live)))
            raise ConfigError(f"{type(self).__name__}: {error}; a dvclive.Live takes {known}") from error

    def send_config(self, runner: BaseRunner, parameters: dict[str, Any], config: str | None) -> None:
        """Write ``params.yaml``, and the config beside it."""
        if parameters:
            self.client.log_params(parameters)
        if config is not None:
            folder = Path(self.client.dir)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.txt").write_text(config, encoding="utf-8")

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Take the averages of an interval; by epoch they are sent at its end."""
        self._in_iteration = self.by_epoch
        try:
            super().after_train_iter(runner)
        finally:
            self._in_iteration = False

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Save the model, and send what the epoch has left."""
        if self._saves and self.model_file is not None:
            path = Path(self.model_file)
            runner.save_checkpoint(str(path.parent), filename_tmpl=path.name, create_symlink=False)
        if runner.log_buffer.ready or self._values:
            self._log(runner)

    def log(self, runner: BaseRunner) -> None:
        """Send the averages, or keep them for the end of the epoch."""
        if not self._in_iteration:
            super().log(runner)
            self._values, self._averages = {}, {}
        elif self._runs:
            self._values.update(self.values(runner))
            self._averages.update(runner.log_buffer.output)

    def values(self, runner: BaseRunner) -> dict[str, Any]:
        """Give what is to be sent, with the averages of the epoch."""
        return {**self._values, **super().values(runner)}

    def send(self, runner: BaseRunner, values: dict[str, Any], step: int) -> None:
        """Write metrics, and the summary."""
        if self.by_epoch:
            step = self.get_epoch(runner)
        self.client.step = step
        for tag, value in values.items():
            if self._sent.get(tag) != step:  # an evaluation tells the lr of a step again
                self._sent[tag] = step
                self.client.log_metric(tag, value)
        self.client.sync()

    def send_media(self, runner: BaseRunner, media: Media) -> None:
        """Write an image or a figure: ``plots/images/<name>/<step>.png``."""
        if find_spec("PIL") is None:
            keep_media(Path(self.client.plots_dir, "images"), media)
            return
        value = media.value
        if media.kind == "image" and value.shape[2] == 1:
            value = value[:, :, 0]
        self.client.log_image(f"{media.name}/{media.step}.png", value)

    def finish(self, runner: BaseRunner, failed: bool) -> None:
        """End the ``Live``, if it is the hook's own."""
        if self._given is None:
            self.client.end()

    def _keep(self, runner: BaseRunner, values: Mapping[str, Any]) -> None:
        output = runner.log_buffer.output
        added = {name: value for name, value in self._averages.items() if name not in output}
        output.update(added)
        try:
            super()._keep(runner, values)
        finally:
            for name in added:
                del output[name]

"""MlflowLoggerHook: metrics, parameters and the model for MLflow."""

from __future__ import annotations

import contextlib
import inspect
import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import PurePath
from typing import Any

import torch

from mmhooks.checks import check_flag
from mmhooks.distributed import unwrap
from mmhooks.errors import ConfigError
from mmhooks.hooks.loggers.service import ServiceLoggerHook
from mmhooks.media import Media
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner

#: How long a request may take where the environment does not say it. MLflow's own are 120 s and seven further tries, so
#: a server that is gone would hold a training up for minutes.
_LIMITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
_TRIES_OF_A_MODEL = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
#: What a server takes: characters of a name, of a value, and parameters a request.
_NAME, _VALUE, _A_REQUEST = 250, 6000, 100


@HOOKS.register_module()
class MlflowLoggerHook(ServiceLoggerHook):
    """Log to MLflow: a folder, a database or a server, as ``MLFLOW_TRACKING_URI`` says.

    Averages are metrics, hyper-parameters are params, the config is an artifact. A run that is active already is used
    and left open; otherwise one is begun, and ended with the training (``FAILED`` after an error). It takes images,
    figures and texts. Characters that MLflow does not allow in a name become underscores.

    A request is given up after 20 s and tried once more, unless ``MLFLOW_HTTP_REQUEST_TIMEOUT`` and
    ``MLFLOW_HTTP_REQUEST_MAX_RETRIES`` are set.

    Args:
        exp_name: the experiment, made when missing.
        tags: tags of the run.
        params: further params of the run; they go before hyper-parameters of the same name.
        log_model: log the model as the artifact ``models`` after the training.
        interval: see `ServiceLoggerHook`, as all others.
        ignore_last: there.
        reset_flag: there.
        by_epoch: there.
        hyper_parameters: there.
        system_metrics: there.

    Raises:
        ConfigError: mlflow is not installed, or an argument is of another kind.

    Example:
        >>> log_config = dict(interval=50, hooks=[dict(type="MlflowLoggerHook", exp_name="digits", log_model=False)])
    """

    title, package, extra = "MLflow", "mlflow", "mlflow"
    takes = ("image", "figure", "text")

    def __init__(
        self,
        exp_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        log_model: bool = True,
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
        name = type(self).__name__
        if exp_name is not None and not isinstance(exp_name, str):
            raise ConfigError(f"{name}'s exp_name must be a str or None, not {exp_name!r}")
        for argument, value in (("tags", tags), ("params", params)):
            if value is not None and not isinstance(value, Mapping):
                raise ConfigError(f"{name}'s {argument} must be a dict or None, not {value!r}")
        self.exp_name = exp_name
        self.tags = tags
        self.params = params
        self.log_model = check_flag(name, "log_model", log_model)
        self._owns_run = False

    @property
    def mlflow(self) -> Any:  # MMCV's name, which subclasses use
        """The package."""
        import mlflow

        return mlflow

    def start(self, runner: BaseRunner) -> Any:
        """Begin a run, or use the active one."""
        with _limited(_LIMITS):
            if self.exp_name is not None:
                self.mlflow.set_experiment(self.exp_name)
            active = self.mlflow.active_run()
            self._owns_run = active is None
            run_id = (active or self.mlflow.start_run()).info.run_id
            if self.tags is not None:
                self.mlflow.set_tags(dict(self.tags))
            if self.params is not None:
                self.mlflow.log_params(dict(self.params))
        return run_id

    def send_config(self, runner: BaseRunner, parameters: dict[str, Any], config: str | None) -> None:
        """Log the hyper-parameters that the run does not have yet, and the config as a file."""
        with _limited(_LIMITS):
            known = self.mlflow.MlflowClient().get_run(self.client).data.params  # another value would be refused
            params = {_name(name): str(value)[:_VALUE] for name, value in parameters.items()}
            new = iter([(name, value) for name, value in params.items() if name not in known])
            while part := dict(islice(new, _A_REQUEST)):
                self.mlflow.log_params(part, run_id=self.client)
            if config is not None:
                name = (runner.meta or {}).get("exp_name")
                self.mlflow.log_text(config, PurePath(name).name if name else "config.py", run_id=self.client)

    def send(self, runner: BaseRunner, values: dict[str, Any], step: int) -> None:
        """Log metrics."""
        with _limited(_LIMITS):
            metrics = {_name(tag): value for tag, value in values.items()}
            self.mlflow.log_metrics(metrics, step=step, run_id=self.client, synchronous=True)

    def send_media(self, runner: BaseRunner, media: Media) -> None:
        """Log an image with its step, a figure or a text as ``<name>/<step>.png`` or ``.txt``."""
        name = _name(media.name)
        with _limited(_LIMITS):
            if media.kind == "image":
                client = self.mlflow.MlflowClient()
                client.log_image(self.client, media.value, key=name, step=media.step, synchronous=True)
            elif media.kind == "figure":
                self.mlflow.MlflowClient().log_figure(self.client, media.value, f"{name}/{media.step}.png")
            else:
                self.mlflow.log_text(media.value, f"{name}/{media.step}.txt", run_id=self.client)

    def finish(self, runner: BaseRunner, failed: bool) -> None:
        """Log the model, and end the run."""
        try:
            if self.log_model and not failed:
                with _limited(_TRIES_OF_A_MODEL):
                    self._log_model(unwrap(runner.model))
        finally:
            if self._owns_run:
                with _limited(_LIMITS):
                    self.mlflow.end_run("FAILED" if failed else "FINISHED")

    def _log_model(self, model: Any) -> None:
        from mlflow import pytorch

        taken = inspect.signature(pytorch.log_model).parameters
        words = {"name" if "name" in taken else "artifact_path": "models"}  # since MLflow 3 it is a name
        if "serialization_format" in taken:  # the default of later releases needs an example of the input
            words["serialization_format"] = "pickle"
        version = torch.__version__.partition("+")[0]
        pytorch.log_model(model, pip_requirements=[f"torch=={version}"], **words)


@contextlib.contextmanager
def _limited(limits: Mapping[str, str]) -> Iterator[None]:
    """Set limits of requests for a while, as far as the user has set none."""
    own = {name: value for name, value in limits.items() if name not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for name in own:
            os.environ.pop(name, None)


def _name(tag: str) -> str:
    """Spell a tag so that MLflow takes it."""
    allowed = r"\w\-./ " if os.name == "nt" else r"\w\-./: "
    name = posixpath.normpath(re.sub(f"[^{allowed}]", "_", tag)).lstrip("/.")
    return name[:_NAME] or "_"

"""LightningLoggerHook: the values of hooks, sent to any logger of Lightning's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import loggers

from mmhooks.errors import ConfigError, nearest
from mmhooks.hooks.loggers.service import ServiceLoggerHook, is_installed
from mmhooks.media import KINDS, Media
from mmhooks.registry import HOOKS, parameters_of
from mmhooks.runner.base import BaseRunner
from mmhooks_lightning.runner import LightningRunner

_EXAMPLE = "dict(type='CSVLogger', name='digits')"
#: The packages of Lightning's loggers, which are extras of mmhooks too.
_PACKAGES = {"TensorBoardLogger": "tensorboard", "MLFlowLogger": "mlflow", "WandbLogger": "wandb"}


@HOOKS.register_module()
class LightningLoggerHook(ServiceLoggerHook):
    """Send what logger hooks send to a logger of Lightning's: natively, and beside the Trainer's own loggers.

    Values have the names and steps of other logger hooks (``train/loss``, the iteration). Images, figures, histograms
    and texts are handed on to a TensorBoardLogger, a WandbLogger and an MLFlowLogger, as far as these take them.

    A Trainer hands its own loggers what hooks log by itself. So a logger that is one of them gets the media and the
    hyper-parameters alone from this hook, and no value twice.

    Args:
        logger: an object such as ``CSVLogger("logs")``; or ``dict(type="CSVLogger", ...)`` with its arguments, and the
            runner's work_dir as its ``save_dir`` where it takes one and has none.
        interval: see `ServiceLoggerHook`, as all others.
        ignore_last: there.
        reset_flag: there.
        by_epoch: there.
        hyper_parameters: there.
        system_metrics: there.

    Raises:
        ConfigError: no logger, a type that Lightning does not have, one whose package is not installed, or another
            argument of another kind.

    Example:
        >>> runner.register_hook(LightningLoggerHook(CSVLogger("logs")), "VERY_LOW")

        In a config:

        >>> custom_imports = dict(imports=["mmhooks_lightning.loggers"])
        >>> log_config = dict(
        ...     interval=50, hooks=[dict(type="LightningLoggerHook", logger=dict(type="TensorBoardLogger"))]
        ... )
    """

    title, package, extra = "Lightning's logger", "lightning", "lightning"
    takes = KINDS

    def __init__(
        self,
        logger: Any,
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
        self.logger = logger
        if isinstance(logger, Mapping):
            _class_of(logger)  # wrong now rather than when the run begins
        elif inspect.isclass(logger) or not all(hasattr(logger, name) for name in ("log_metrics", "save", "finalize")):
            raise ConfigError(f"LightningLoggerHook takes a logger of Lightning's, or {_EXAMPLE}, not {logger!r}")
        self._is_trainers = False

    def start(self, runner: BaseRunner) -> Any:
        """Make the logger, and see whether the Trainer has it."""
        logger = _built(self.logger, runner.work_dir) if isinstance(self.logger, Mapping) else self.logger
        theirs = runner.trainer.loggers if isinstance(runner, LightningRunner) else []
        self._is_trainers = any(_is_same(one, logger) for one in theirs)
        if self._is_trainers:
            runner.logger.info(
                "LightningLoggerHook: this %s is one of the Trainer's, which hands it what hooks log; it gets media "
                "and hyper-parameters alone from the hook",
                type(logger).__name__,
            )
        return logger

    def send_config(self, runner: BaseRunner, parameters: dict[str, Any], config: str | None) -> None:
        """Send hyper-parameters, and the config where texts are taken."""
        if parameters:
            self.client.log_hyperparams(parameters)
        give = _givers(self.client).get("text")
        if config is not None and give is not None:
            give(Media("text", "config", config, 0))

    def send(self, runner: BaseRunner, values: dict[str, Any], step: int) -> None:
        """Send numbers."""
        if not self._is_trainers:
            self.client.log_metrics(values, step=step)
            self.client.save()

    def log_media(self, runner: BaseRunner, media: Media) -> bool:
        """Send one thing, if this logger takes its kind.

        Returns:
            Whether it has been sent.
        """
        return self.client is not None and media.kind in _givers(self.client) and super().log_media(runner, media)

    def send_media(self, runner: BaseRunner, media: Media) -> None:
        """Hand one thing on."""
        _givers(self.client)[media.kind](media)

    def finish(self, runner: BaseRunner, failed: bool) -> None:
        """Finalize the logger, unless the Trainer does."""
        if not self._is_trainers:
            self.client.finalize("failed" if failed else "success")


# loggers from their configs ---------------------------------------------------------------------------------


def _class_of(config: Mapping[str, Any]) -> Any:
    kind = config.get("type")
    known = sorted(name for name in loggers.__all__ if name != "Logger")
    if inspect.isclass(kind):
        return kind
    if kind not in known:
        hint = nearest(kind, known) if isinstance(kind, str) else ""
        raise ConfigError(
            f"LightningLoggerHook's logger has the type {kind!r}; Lightning has {', '.join(known)}"
            f"{hint or f'. Write {_EXAMPLE}'}"
        )
    package = _PACKAGES.get(kind)
    if package is not None and not is_installed(package):
        raise ConfigError(f'{kind} needs {package}, which is not installed: pip install "mmhooks[{package}]"')
    return getattr(loggers, kind)


def _built(config: Mapping[str, Any], work_dir: str | None) -> Any:
    cls = _class_of(config)
    arguments = {name: value for name, value in config.items() if name != "type"}
    if "save_dir" in parameters_of(cls) and work_dir is not None and "tracking_uri" not in arguments:
        arguments.setdefault("save_dir", work_dir)
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ConfigError(
            f"LightningLoggerHook's logger: {error}; {cls.__name__} takes {', '.join(parameters_of(cls))}"
        ) from error


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether two loggers write to one place."""
    if one is other:
        return True
    return type(one) is type(other) and one.log_dir is not None and one.log_dir == other.log_dir


# media ------------------------------------------------------------------------------------------------------


def _givers(logger: Any) -> dict[str, Callable[[Media], object]]:
    """Give, by kind, what hands media on to a logger."""
    if isinstance(logger, loggers.TensorBoardLogger):
        return _to_tensorboard(logger.experiment)
    if isinstance(logger, loggers.WandbLogger):
        return {
            "image": lambda media: logger.log_image(media.name, [media.value], step=media.step),
            "figure": lambda media: logger.log_image(media.name, [media.value], step=media.step),
            "text": lambda media: logger.log_text(media.name, columns=["text"], data=[[media.value]], step=media.step),
        }
    if isinstance(logger, loggers.MLFlowLogger):
        return _to_mlflow(logger.experiment, logger.run_id)
    return {}


def _to_tensorboard(writer: Any) -> dict[str, Callable[[Media], object]]:
    return {
        "image": lambda media: writer.add_image(media.name, media.value, media.step, dataformats="HWC"),
        "figure": lambda media: writer.add_figure(media.name, media.value, media.step, close=False),
        "histogram": lambda media: writer.add_histogram(media.name, media.value, media.step),
        "text": lambda media: writer.add_text(media.name, media.value, media.step),
    }


def _to_mlflow(client: Any, run: str | None) -> dict[str, Callable[[Media], object]]:
    return {
        "image": lambda media: client.log_image(run, media.value, artifact_file=f"{media.name}/{media.step}.png"),
        "figure": lambda media: client.log_figure(run, media.value, f"{media.name}/{media.step}.png"),
        "text": lambda media: client.log_text(run, media.value, f"{media.name}/{media.step}.txt"),
    }

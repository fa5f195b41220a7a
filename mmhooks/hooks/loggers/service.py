"""ServiceLoggerHook: what all loggers share that send values to a service."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from mmhooks.checks import check_flag
from mmhooks.errors import ConfigError, HookError, MMHooksError
from mmhooks.hooks.loggers.base import LoggerHook
from mmhooks.hooks.loggers.lines import json_line
from mmhooks.hooks.loggers.parameters import config_text, hyper_parameters
from mmhooks.hooks.loggers.system import system_values
from mmhooks.hooks.loggers.text import TextLoggerHook
from mmhooks.media import Media
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner


class ServiceLoggerHook(LoggerHook):
    """Base of the loggers of services: sends the averages, learning rates and momenta of rank 0 at every interval.

    A service that fails in the middle of a run does not stop the training: that is reported once, what was not sent is
    kept in the local log (see `kept_in`), and the service is tried again after a minute, then after two, four and so
    on up to an hour. Where it fails already when a run begins, that is an error, since it is most often a wrong
    address or a missing login; a run that is resumed goes on without it.

    A subclass names its service and says how to begin, to send and to finish, as in the example. What it raises is
    dealt with here.

    Args:
        interval: every so many iterations, of the epoch or of the run; an average spans as many.
        ignore_last: leave out the rest at the end of an epoch that is shorter than the interval.
        reset_flag: clear the averages after logging. The last logger of a runner always does.
        by_epoch: iterations are counted within the epoch.
        hyper_parameters: send those of the run at its beginning: the numbers and words of its config, its ``meta``
            and of what the model has in ``hparams``. A dict: send these instead. False: send none, nor the config.
        system_metrics: send with the averages of training also ``system/memory_mib`` (of the process),
            ``system/cuda_memory_mib`` (the most that was allocated) and ``system/samples_per_second`` (of all
            processes together).

    Attributes:
        title: the name of the service in messages.
        package: the module that must be installed.
        extra: the extra of mmhooks that brings it; also a part of the local log's name.
        takes: the kinds of media that `send_media` takes.
        takes_text: averages may be strings.
        retry_after: seconds until a service that failed is tried again; after each further failure twice as many.

    Raises:
        ConfigError: the package is not installed, or an argument is of another kind.

    Example:
        >>> @HOOKS.register_module()
        ... class LinesLoggerHook(ServiceLoggerHook):
        ...     title, package, extra = "lines", "json", "lines"
        ...     def start(self, runner):
        ...         return open(f"{runner.work_dir}/lines.txt", "a")
        ...     def send(self, runner, values, step):
        ...         self.client.write(f"{step} {values}\\n")
        ...     def finish(self, runner, failed):
        ...         self.client.close()
    """

    title: ClassVar[str]
    package: ClassVar[str]
    extra: ClassVar[str]
    takes: ClassVar[tuple[str, ...]] = ()
    takes_text: ClassVar[bool] = False
    retry_after: float = 60.0

    def __init__(
        self,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        by_epoch: bool = True,
        *,
        hyper_parameters: bool | Mapping[str, Any] = True,
        system_metrics: bool = False,
    ) -> None:
        super().__init__(interval, ignore_last, reset_flag, by_epoch)
        name = type(self).__name__
        if not isinstance(hyper_parameters, (bool, Mapping)):
            raise ConfigError(f"{name}'s hyper_parameters must be True, False or a dict, not {hyper_parameters!r}")
        self.hyper_parameters = hyper_parameters
        self.system_metrics = check_flag(name, "system_metrics", system_metrics)
        self.check_installed()
        self._forget()

    def check_installed(self) -> None:
        """Check that the package is there, without importing it.

        Raises:
            ConfigError: it is not; the message names the extra.
        """
        if not is_installed(self.package):
            raise ConfigError(
                f"{type(self).__name__} needs {self.package}, which is not installed: "
                f'pip install "mmhooks[{self.extra}]"'
            )

    def _forget(self) -> None:
        self.client: Any = None
        self._runs = self._started = self._down = False
        self._again_at = self._pause = 0.0
        self._kept = 0
        self._not_taken: set[str] = set()

    # what a service is ------------------------------------------------------------------------------------

    @abstractmethod
    def start(self, runner: BaseRunner) -> Any:
        """Import the package and begin.

        Returns:
            What the other methods find in ``self.client``; copies of the hook have None there.
        """

    def send_config(self, runner: BaseRunner, parameters: dict[str, Any], config: str | None) -> None:
        """Send hyper-parameters (numbers, strings and bools by name), and the text of the config."""

    @abstractmethod
    def send(self, runner: BaseRunner, values: dict[str, Any], step: int) -> None:
        """Send numbers (and strings, if the service `takes_text`) by their tags."""

    def send_media(self, runner: BaseRunner, media: Media) -> None:
        """Send one thing of a kind that the service `takes`."""

    def finish(self, runner: BaseRunner, failed: bool) -> None:
        """Come to an end.

        Args:
            runner: the runner.
            failed: an error ended the run.
        """

    # when -------------------------------------------------------------------------------------------------

    def before_run(self, runner: BaseRunner) -> None:
        """Begin, and send the hyper-parameters."""
        super().before_run(runner)
        self._end(runner, failed=True)  # a run that was left without a word
        if runner.rank != 0:
            return
        if not runner.writes_files:
            runner.logger.info("%s sends nothing, as this run only tries things out", type(self).__name__)
            return
        self._forget()
        self._runs = True
        runner.on_leave(lambda: self._end(runner, failed=True))
        if runner.iter > 0:
            self._try(runner, "the beginning", lambda: None)
            return
        try:
            self._start(runner)
        except MMHooksError:
            raise
        except Exception as error:
            raise HookError(
                f"{type(self).__name__} could not begin: {_said(error)}. Mend it, or leave the hook out; in the middle "
                "of a run a failure of the service would not stop the training"
            ) from error

    def _start(self, runner: BaseRunner) -> None:
        self.client = self.start(runner)
        self._started = True
        if self.hyper_parameters is False:
            return
        given = self.hyper_parameters
        found = hyper_parameters(runner) if given is True else dict(given)
        self.send_config(runner, found, config_text(runner))

    def log(self, runner: BaseRunner) -> None:
        """Send the averages, or keep them in the local log."""
        if not self._runs:  # another rank, or outside of a run
            return
        values = self.values(runner)
        step = self.get_iter(runner)
        if values and not self._try(runner, f"iteration {step}", lambda: self.send(runner, values, step)):
            self._keep(runner, values)

    def values(self, runner: BaseRunner) -> dict[str, Any]:
        """Give what is to be sent: plain numbers (and strings) by tag."""
        tags = self.get_loggable_tags(runner, allow_text=self.takes_text)
        if self.system_metrics and self.get_mode(runner) == "train":
            tags.update(system_values(runner, self.interval))
        return {
            tag: value if isinstance(value, (int, float, str)) else value.item()
            for tag, value in tags.items()
            if isinstance(value, str) or self.is_scalar(value)
        }

    def log_media(self, runner: BaseRunner, media: Media) -> bool:
        """Send one thing.

        Returns:
            Whether it has been sent.
        """
        if media.kind not in self.takes:
            if media.kind not in self._not_taken:
                self._not_taken.add(media.kind)
                runner.logger.info("%s takes nothing of the kind %r, such as %s", self.title, media.kind, media.name)
            return False
        return self._runs and self._try(runner, media.name, lambda: self.send_media(runner, media))

    def after_run(self, runner: BaseRunner) -> None:
        """Finish."""
        self._end(runner, failed=False)

    def _end(self, runner: BaseRunner, failed: bool) -> None:
        if not self._runs:
            return
        if self._started:
            self._again_at = 0.0  # even if it has just failed: it may hold files and threads
            self._try(runner, "the end", lambda: self.finish(runner, failed))
        if self._kept:
            runner.logger.warning(
                "%s has not received %d of the logged lines: they are in %s",
                self.title,
                self._kept,
                self.kept_in(runner) or "the log",
            )
        self._forget()

    # failures ---------------------------------------------------------------------------------------------

    def _try(self, runner: BaseRunner, what: str, send: Callable[[], None]) -> bool:
        """Do something with the service, unless it has just failed; tell whether it went well."""
        if self._down and time.monotonic() < self._again_at:
            return False
        try:
            if not self._started:
                self._start(runner)
            send()
        except Exception as error:  # whatever a service raises, it must not stop a training
            self._failed(runner, what, error)
            return False
        if self._down:
            runner.logger.info("%s works again, at %s", self.title, what)
            self._down = False
        return True

    def _failed(self, runner: BaseRunner, what: str, error: Exception) -> None:
        self._pause = self.retry_after if not self._down else min(2 * self._pause, 3600.0)
        self._again_at = time.monotonic() + self._pause
        if self._down:
            runner.logger.debug("%s still fails, at %s: %s", self.title, what, _said(error))
            return
        self._down = True
        place = self.kept_in(runner)
        kept = f"what it does not receive is kept in {place}" if place else "there is no work_dir to keep values in"
        runner.logger.warning(
            "%s failed at %s (%s): the training goes on, and %s. It is tried again from time to time.",
            self.title,
            what,
            _said(error),
            kept,
        )

    def kept_in(self, runner: BaseRunner) -> Path | None:
        """Name the file of what was not sent: the ``.log.json`` if a text logger writes the same averages into one.

        Otherwise ``<work_dir>/<timestamp>.<extra>.log.json``, with lines of the same form; None without a work_dir.
        """
        text = self._beside(runner)
        if text is not None:
            return text
        return None if runner.work_dir is None else Path(runner.work_dir, f"{runner.timestamp}.{self.extra}.log.json")

    def _beside(self, runner: BaseRunner) -> Path | None:
        for hook in runner.hooks:
            if isinstance(hook, TextLoggerHook) and hook.json_log_path is not None:
                same = ("interval", "ignore_last", "by_epoch")
                if all(getattr(hook, name) == getattr(self, name) for name in same):
                    return hook.json_log_path
        return None

    def _keep(self, runner: BaseRunner, values: Mapping[str, Any]) -> None:
        self._kept += 1
        path = self.kept_in(runner)
        if path is None or self._beside(runner) is not None:
            return
        output = runner.log_buffer.output
        lr = runner.current_lr()
        line = {
            "mode": self.get_mode(runner),
            "epoch": self.get_epoch(runner),
            "iter": output.get("eval_iter_num") or self.get_iter(runner, inner_iter=True),
            "lr": {name: own[0] for name, own in lr.items()} if isinstance(lr, dict) else lr[0],
            **{name: value for name, value in output.items() if name != "eval_iter_num"},
            **{tag: value for tag, value in values.items() if tag.startswith("system/")},
        }
        try:
            with path.open("ab") as file:
                file.write(f"{json_line(line)}\n".encode())
        except OSError as error:  # a full disk may be why the service has failed
            runner.logger.warning("values that %s does not receive cannot be kept: %s", self.title, _said(error))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the service out: a copy begins anew with its own run."""
        return {**self.__dict__, "client": None, "_runs": False, "_started": False}


def check_kwargs(owner: str, name: str, value: Any) -> dict[str, Any]:
    """Check that an argument is a dict of the arguments of something else, or None for none.

    Args:
        owner: whose argument it is.
        name: the argument's name.
        value: what was given.

    Raises:
        ConfigError: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{owner}'s {name} must be a dict of arguments, or None, not {value!r}")
    return dict(value)


def extra_of(kind: str) -> str | None:
    """Name the extra of mmhooks that a class of logger hooks needs, if it needs one.

    Args:
        kind: the name of the class.

    Example:
        >>> extra_of("MlflowLoggerHook")
        'mlflow'
    """
    found = HOOKS.get(kind)
    return found.extra if isinstance(found, type) and issubclass(found, ServiceLoggerHook) else None


def is_installed(package: str) -> bool:
    """Tell whether there is a package of a name, without importing it."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None  # a folder of that name, as services leave them, is none


def _said(error: Exception) -> str:
    text = " ".join(str(error).split())
    if len(text) > 400:  # what happened is often at the end
        text = f"{text[:200]} ... {text[-200:]}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

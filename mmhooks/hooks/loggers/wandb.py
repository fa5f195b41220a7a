"""WandbLoggerHook: a run of Weights & Biases."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from mmhooks.checks import check_choice, check_flag
from mmhooks.errors import ConfigError
from mmhooks.hooks.loggers.service import ServiceLoggerHook
from mmhooks.media import KINDS, Media
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner

_SUMMARIES = ("min", "max", "mean", "best", "last", "none")


@HOOKS.register_module()
class WandbLoggerHook(ServiceLoggerHook):
    """Log to Weights & Biases, or with ``WANDB_MODE=offline`` to a folder that ``wandb sync`` sends later.

    Hyper-parameters are the run's config, where ``init_kwargs["config"]`` does not have them; the text of the config
    is a file of the run. It takes all kinds of media. A run that is active already is left open at the end.

    W&B sends from a process of its own, so a network that is gone does not hold the training up; at its end W&B waits
    until all is sent: ``init_kwargs=dict(settings=dict(finish_timeout=600))`` limits that.

    Args:
        init_kwargs: arguments of ``wandb.init``.
        interval: see `ServiceLoggerHook`.
        ignore_last: there.
        reset_flag: there.
        commit: each line is complete; False: W&B adds to it until something is logged with a later step.
        by_epoch: see `ServiceLoggerHook`.
        with_step: W&B's steps are the iterations; False: it counts lines, and the iteration is ``global_step``.
        log_artifact: send files of work_dir as an artifact after the training.
        out_suffix: how their names end: a str, or several.
        define_metric_cfg: what W&B's summary says of a metric: ``{"val/accuracy": "max"}``; one of ``min``, ``max``,
            ``mean``, ``best``, ``last`` and ``none``.
        hyper_parameters: see `ServiceLoggerHook`.
        system_metrics: there.

    Raises:
        ConfigError: wandb is not installed, or an argument is of another kind.

    Example:
        >>> hook = dict(type="WandbLoggerHook", init_kwargs=dict(project="digits"), log_artifact=False)
    """

    title, package, extra = "Weights & Biases", "wandb", "wandb"
    takes = KINDS

    def __init__(
        self,
        init_kwargs: Mapping[str, Any] | None = None,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        commit: bool = True,
        by_epoch: bool = True,
        with_step: bool = True,
        log_artifact: bool = True,
        out_suffix: str | tuple[str, ...] = (".log.json", ".log", ".py"),
        define_metric_cfg: Mapping[str, str] | None = None,
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
        for argument, value in (("init_kwargs", init_kwargs), ("define_metric_cfg", define_metric_cfg)):
            if value is not None and not isinstance(value, Mapping):
                raise ConfigError(f"{name}'s {argument} must be a dict or None, not {value!r}")
        for metric, summary in (define_metric_cfg or {}).items():
            check_choice(name, f"define_metric_cfg[{metric!r}]", summary, _SUMMARIES)
        suffixes = (out_suffix,) if isinstance(out_suffix, str) else out_suffix
        if not isinstance(suffixes, (list, tuple)) or not all(isinstance(one, str) for one in suffixes):
            raise ConfigError(f"{name}'s out_suffix must be a str or several, not {out_suffix!r}")
        self.init_kwargs = init_kwargs
        self.commit = check_flag(name, "commit", commit)
        self.with_step = check_flag(name, "with_step", with_step)
        self.log_artifact = check_flag(name, "log_artifact", log_artifact)
        self.out_suffix = tuple(suffixes)
        self.define_metric_cfg = define_metric_cfg
        self._owns_run = False

    @property
    def wandb(self) -> Any:  # MMCV's name, which subclasses use
        """The package."""
        import wandb

        return wandb

    def start(self, runner: BaseRunner) -> Any:
        """Begin a run."""
        active = self.wandb.run
        run = self.wandb.init(**(self.init_kwargs or {}))
        self._owns_run = run is not active
        for metric, summary in (self.define_metric_cfg or {}).items():
            run.define_metric(metric, summary=summary)
        return run

    def send_config(self, runner: BaseRunner, parameters: dict[str, Any], config: str | None) -> None:
        """Put the hyper-parameters beside what is in the run's config, and the text into a file."""
        run = self.client
        known = run.config.as_dict()
        run.config.update({name: value for name, value in parameters.items() if name not in known})
        if config is not None:
            name = (runner.meta or {}).get("exp_name")
            path = Path(run.dir, PurePath(name).name if name else "config.py")
            path.write_text(config, encoding="utf-8")
            run.save(str(path), base_path=run.dir, policy="now")

    def send(self, runner: BaseRunner, values: dict[str, Any], step: int) -> None:
        """Log one line."""
        self._log_line(values, step)

    def send_media(self, runner: BaseRunner, media: Media) -> None:
        """Log an image (a figure is one), a histogram or a text as a part of the iteration's line."""
        wandb = self.wandb
        if media.kind == "histogram":
            value = wandb.Histogram(media.value)
        elif media.kind == "text":
            value = wandb.Html(f"<pre>{html.escape(media.value)}</pre>")
        else:
            value = wandb.Image(media.value)
        self._log_line({media.name: value}, media.step, commit=False)

    def _log_line(self, values: dict[str, Any], step: int, commit: bool = True) -> None:
        if self.with_step:
            self.client.log(values, step=step, commit=commit and self.commit)
        else:
            self.client.log({**values, "global_step": step}, commit=commit and self.commit)

    def finish(self, runner: BaseRunner, failed: bool) -> None:
        """Send the files, and end the run."""
        try:
            if self.log_artifact and not failed:
                self._send_files(runner)
        finally:
            if self._owns_run:
                self.client.finish(exit_code=int(failed))

    def _send_files(self, runner: BaseRunner) -> None:
        if runner.work_dir is None:
            return
        own = Path(self.client.dir).parent.resolve()  # W&B writes on there
        files = [name for name in _files_in(Path(runner.work_dir)) if name.endswith(self.out_suffix)]
        found = {
            name: path for name in files if not (path := Path(runner.work_dir, name)).resolve().is_relative_to(own)
        }
        if found:
            artifact = self.wandb.Artifact(name="artifacts", type="model")
            for name, path in found.items():
                artifact.add_file(str(path), name=name)
            self.client.log_artifact(artifact)


def _files_in(folder: Path) -> list[str]:
    """List the files in a folder and below, but hidden ones, by their names from there."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path.relative_to(folder).as_posix() for path in found)

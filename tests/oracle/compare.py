"""Run one config with one library, and write down all that can be seen."""

from __future__ import annotations

import copy
import logging
import os
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import subjects
import torch
from describe import contents, describe, log_line, sha, sha_of, short, state_of, weights
from scenarios import Points, noting, repeatable
from torch.utils.data import DataLoader

_STAGES = ("build", "register", "resume", "run", "done")


@dataclass
class Record:
    """What one library did with a config.

    Attributes:
        trace: every call of a hook that watches: place in the run, lr and momentum of every group, weights.
        log: the lines of log.json.
        console: the lines that the text logger prints.
        present: the checkpoint files, each time that this changes.
        saved: what every file held when it appeared.
        ending: the random generator's state and the runner's counters at the end.
        stage: how far it came.
        error: what it was refused with.
    """

    trace: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    ending: list[str] = field(default_factory=list)
    stage: str = "build"
    error: Exception | None = None

    parts = ("trace", "log", "console", "present", "saved", "ending")

    @property
    def how_far(self) -> int:
        """The stage as a number."""
        return _STAGES.index(self.stage)


def record(lib: Any, config: dict[str, Any], folder: Path, checkpoint: Path | None = None) -> Record:
    """Do a run in an empty folder.

    Args:
        lib: ``mmcv.runner`` or ``mmhooks``.
        config: what `draw.runs.configs` drew.
        folder: made here.
        checkpoint: the file to go on from.
    """
    seen = Record()
    run = _Run(lib, copy.deepcopy(config), folder, seen)
    with repeatable():
        try:
            run.build()
            seen.stage = "register"
            run.register(checkpoint)
            if checkpoint is not None and config["resume"]["by"] == "runner":
                seen.stage = "resume"
                run.runner.resume(str(checkpoint), config["resume"]["optimizer"], "cpu")
            seen.stage = "run"
            run.go()
            seen.stage = "done"
        except Exception as error:  # whatever either library refuses with is to be looked at
            seen.error = error
        seen.ending = [sha(torch.get_rng_state())]
        if run.runner is not None:
            seen.ending += [f"{run.runner.epoch} {run.runner.iter} {describe(run.runner.meta, folder)}"]
    for file in folder.rglob("*.log.json"):
        seen.log += [log_line(line, folder) for line in file.read_text().splitlines()]
    return seen


class _Run:
    """One run: its parts, and the two things that watch it."""

    def __init__(self, lib: Any, config: dict[str, Any], folder: Path, seen: Record) -> None:
        self.lib, self.config, self.folder, self.seen = lib, config, folder, seen
        self.runner: Any = None
        self.files: dict[Path, tuple[int, int]] = {}

    def build(self) -> None:
        config = self.config
        make = subjects.MODELS[config["model"]]
        model = make(config["shared"]) if config["model"] == "layers" else make()
        length = {key: config["runner"].pop(key) for key in ("max_epochs", "max_iters") if key in config["runner"]}
        self.full_length = length
        self.length = length if config["length_in"] == "run" else {}
        arguments = {
            "model": model,
            "batch_processor": subjects.process if config["model"] == "bare" else None,
            "optimizer": subjects.optimizers(self.lib, model, config["optimizer"]),
            "work_dir": str(self.folder / "work"),
            "logger": self._logger(),
            "meta": config["meta"],
            **({} if self.length else length),
        }
        self.runner = self.lib.build_runner(config["runner"], arguments)

    def register(self, checkpoint: Path | None) -> None:
        config, runner = self.config, self.runner
        hooks = {
            "lr_config": _with_tuples(config["lr_config"]),
            "momentum_config": _with_tuples(config["momentum_config"]),
            "optimizer_config": _with_numbers(config["optimizer_config"]),
            "checkpoint_config": self._placed(config["checkpoint_config"]),
        }
        custom = [self._custom(hook, checkpoint) for hook in config["custom"]]
        timer = {"type": "IterTimerHook"} if config["timer"] else None
        if config["registered"] == "together":
            keys = {} if config["runner"]["type"] == "IterBasedRunner" else {"timer_config": timer}
            runner.register_training_hooks(
                **hooks, log_config=config["log_config"], custom_hooks_config=custom or None, **keys
            )
        else:
            runner.register_custom_hooks(custom or None)
            runner.register_logger_hooks(config["log_config"])
            runner.register_timer_hook(timer)
            for argument, hook in hooks.items():
                getattr(runner, f"register_{argument.removesuffix('_config')}_hook")(hook)
        if config["eval"] is not None:
            runner.register_hook(self._eval_hook(config["eval"]), priority=config["eval"]["priority"])
        runner.register_hook(noting(self.lib, self._watch), "LOWEST")

    def go(self) -> None:
        config = self.config
        train = subjects.loader(**config["data"])
        val = DataLoader(Points(config["val_size"], 8), batch_size=4)
        workflow = [(mode, count) for mode, count in config["workflow"]]
        loaders = [train if mode == "train" else val for mode, _ in workflow]
        self.seen.trace.append(" ".join(f"{type(hook).__name__}:{hook.priority}" for hook in self.runner.hooks))
        self.runner.run(loaders, workflow, **self.length, **config["kwargs"])
        if config["again"]:
            length = {key: count + config["again"] for key, count in self.full_length.items()}
            self.runner.run(loaders, workflow, **length, **config["kwargs"])

    # hooks that JSON cannot hold -----------------------------------------------------------------------------

    def _custom(self, config: dict[str, Any], checkpoint: Path | None) -> Any:
        config = dict(config)
        if config["type"] == "Tracer":
            hook = subjects.tracer(self.lib, config["points"], partial(self._trace, "tracer"))
            return {"type": lambda: hook, "priority": config.get("priority", "NORMAL")}
        if config["type"] == "Meddler":
            hook = subjects.meddler(self.lib, config["point"], config["deed"], partial(self._trace, "late"))
            return {"type": lambda: hook, "priority": config["priority"]}
        if config["type"] == "ClosureHook":
            config["fn"] = partial(self._trace, "closure", config["fn_name"])
        if config["type"] == "EMAHook" and checkpoint is not None and self.config["resume"]["by"] == "EMAHook":
            config["resume_from"] = str(checkpoint)
        return config

    def _eval_hook(self, config: dict[str, Any]) -> Any:
        arguments = self._placed(config["arguments"])
        if "test_fn" in arguments:
            arguments["test_fn"] = getattr(subjects, arguments["test_fn"])
        size, batch_size = config["data"]["size"], config["data"]["batch_size"]
        data = Points(size, 9) if config["scores"] is None else subjects.Scored(size, 9, config["scores"])
        return self.lib.EvalHook(DataLoader(data, batch_size=batch_size), **arguments)

    def _placed(self, config: Any) -> Any:
        """An out_dir inside the folder."""
        return {**config, "out_dir": str(self.folder / "elsewhere")} if config and "out_dir" in config else config

    def _logger(self) -> logging.Logger:
        logger = logging.Logger("campaign")
        logger.addHandler(_Console(self.seen.console))
        return logger

    # watching ------------------------------------------------------------------------------------------------

    def _trace(self, name: str, point: str, runner: Any) -> None:
        buffer = runner.log_buffer
        self.seen.trace.append(
            f"{name} {point}: {runner.epoch} {runner.iter} {runner.inner_iter} {runner.mode} {runner.model.training} "
            f"{torch.is_grad_enabled()} lr {describe(runner.current_lr())} weights {weights(runner.model)} "
            f"logged {buffer.ready} {describe(dict(buffer.output))}"
        )

    def _watch(self, point: str, runner: Any) -> None:
        """The last hook of all: what a point has led to."""
        line = f"{point}: {runner.epoch} {runner.iter} {runner.inner_iter} {runner.mode} {runner.model.training}"
        if point.endswith("train_iter"):
            line += f" lr {describe(runner.current_lr())} momentum {describe(runner.current_momentum())}"
        if point == "after_train_iter":
            line += f" loss {describe(runner.outputs['loss'])} weights {weights(runner.model)}"
        if point in ("after_train_epoch", "after_run"):
            line += f" optimizer {sha_of(describe(state_of(runner.optimizer)))}"
        self.seen.trace.append(line)
        if point in ("before_train_iter", "after_train_iter", "after_train_epoch", "after_run"):
            self._look_at_files(point, runner)

    def _look_at_files(self, point: str, runner: Any) -> None:
        found = {}
        for place in (self.folder / "work", self.folder / "elsewhere" / "work"):
            if place.is_dir():
                for entry in os.scandir(place):
                    if entry.name.endswith(".pth"):
                        status = entry.stat(follow_symlinks=False)
                        found[Path(entry.path)] = (status.st_mtime_ns, status.st_ino)
        if found == self.files:
            return
        names = [f"{short(p, self.folder)}{f' -> {p.readlink().name}' if p.is_symlink() else ''}" for p in found]
        self.seen.present.append(f"{point} {runner.epoch} {runner.iter}: {', '.join(sorted(names))}")
        for path in sorted(found):
            if not path.is_symlink() and found[path] != self.files.get(path):
                self.seen.saved += contents(path, self.folder)
        self.files = found


class _Console(logging.Handler):
    """Keeps what a TextLoggerHook prints, without times, and the parameters that an OptimizerHook finds unused."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, line: logging.LogRecord) -> None:
        text = line.getMessage()
        if line.levelno == logging.ERROR:
            self.lines += [
                f"anomalous {name}" for name in re.findall(r"(?:^|depend on )(\S+?),? (?:with|of) shape", text)
            ]
        if text.startswith(("Exp name", "Epoch", "Iter", "Best ")):
            text = re.sub(r"(eta|time|data_time|memory): [^,]*, ", "", text)
            self.lines.append(text)


def continued(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the run that goes on: perhaps a longer one."""
    changed = copy.deepcopy(config)
    for key in ("max_epochs", "max_iters"):
        if key in changed["runner"]:
            changed["runner"][key] += config["resume"]["more"]
    return changed


def checkpoints(folder: Path) -> dict[str, Path]:
    """The files of a run, by their place in its folder."""
    return {short(path, folder): path for path in sorted(folder.rglob("*.pth")) if not path.is_symlink()}


def _with_tuples(config: Any) -> Any:
    """target_ratio must be a tuple, which JSON has not."""
    if config and isinstance(config.get("target_ratio"), list):
        return {**config, "target_ratio": tuple(config["target_ratio"])}
    return config


def _with_numbers(config: Any) -> Any:
    """norm_type may be infinite, which JSON has not."""
    clip = config and config.get("grad_clip")
    if isinstance(clip, dict) and clip.get("norm_type") == "inf":
        return {**config, "grad_clip": {**clip, "norm_type": float("inf")}}
    return config

"""Do a run under one driver, and write down what can be seen of it."""

from __future__ import annotations

import copy
import json
import logging
import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import torch

from both.own import build
from both.subjects import MODELS, Loader, loader
from both.text import digest, text, without_times
from mmhooks import EpochBasedRunner, Hook, IterBasedRunner
from mmhooks.hook import POINTS
from mmhooks.optim import build_optimizer
from mmhooks_lightning import HookCallback, HookedModule

Case = dict[str, Any]
Line = tuple[str, dict[str, Any]]

#: What a Trainer's file holds beside ours.
LIGHTNING_KEYS = {
    "callbacks", "epoch", "global_step", "hparams_name", "loops", "lr_schedulers", "optimizer_states",
    "pytorch-lightning_version", "datamodule_hparams_by_key",
}  # fmt: skip


@dataclass
class Record:
    """What one driver did with a case.

    Attributes:
        trace: every call of a hook that watches, and what it saw; the last line is the end of the run.
        log: the lines of the ``.log.json`` files, without times.
        console: the lines that the runner and its hooks log, without times.
        files: what every file held when it appeared, by its name and how often it had appeared before.
        error: what ended the run.
    """

    trace: list[Line] = field(default_factory=list)
    log: list[Line] = field(default_factory=list)
    console: list[Line] = field(default_factory=list)
    files: list[Line] = field(default_factory=list)
    error: BaseException | None = None

    parts = ("trace", "log", "console", "files")


def record(driver: str, case: Case, folder: Path) -> Record:
    """Do a run in an empty folder.

    Args:
        driver: ``native`` or ``lightning``.
        case: see `cases`; it stays as it is.
        folder: made here.
    """
    seen = Record()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random.seed(0)
        run = Run(copy.deepcopy(case), folder, seen)
        try:
            (run.natively if driver == "native" else run.under_a_trainer)()
        except Exception as error:  # compared, too
            seen.error = error
        finally:
            torch.set_grad_enabled(True)  # a hook may have switched gradients off
        run.finish()
        for one in run.loaders.values():
            if isinstance(one, Loader):
                one.end()
    return seen


class Run:
    """The parts of a run, and the hook that watches it."""

    def __init__(self, case: Case, folder: Path, seen: Record) -> None:
        self.case, self.folder, self.seen = case, folder, seen
        self.known: dict[str, tuple[int, int]] = {}
        self.steps = 0
        self.model = MODELS[case["model"]]()
        self.loaders = {mode: loader(**case[mode]) for mode in ("train", "val") if mode in case}
        self.runner: Any = None
        self.logger = logging.Logger("equivalence")
        self.logger.addHandler(_Console(seen.console, folder))

    def natively(self) -> None:
        case = self.case
        kind = EpochBasedRunner if case["by_epoch"] else IterBasedRunner
        limit = {"max_epochs" if case["by_epoch"] else "max_iters": case["length"]}
        optimizer = self._optimizer()
        for one in optimizer.values() if isinstance(optimizer, dict) else [optimizer]:
            if one is not None:
                one.register_step_post_hook(self._count)
        self.runner = kind(
            self.model,
            optimizer=optimizer,
            work_dir=self.folder,
            logger=self.logger,
            meta=case["meta"],
            **limit,
        )
        self._register(self.runner)
        loaders = [self.loaders.get(mode, []) for mode, _ in case["workflow"]]
        self.runner.run(loaders, case["workflow"], **case["step_kwargs"])

    def under_a_trainer(self) -> None:
        case = self.case
        by_epoch = case["by_epoch"]
        bridge = HookCallback(
            work_dir=self.folder,
            by_epoch=by_epoch,
            max_iters=None if by_epoch else case["length"],
            workflow=case["workflow"] if case["said"] else None,
            logger=self.logger,
            meta=case["meta"],
        )
        self.runner = bridge.runner
        if case["given_as"] == "config":
            module = HookedModule(self.model, case["optimizer"], case["step_kwargs"])
        else:
            module = HookedModule(self.model, self._optimizer(), case["step_kwargs"])
        self._register(bridge)
        trainer = L.Trainer(
            max_epochs=case["length"] if by_epoch else -1,
            callbacks=[bridge],
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=self.folder.parent,
            **case["trainer"],
        )
        val = self.loaders["val"] if any(mode == "val" for mode, _ in case["workflow"]) else None
        try:
            trainer.fit(module, self.loaders["train"], val)
        finally:
            self.steps = trainer.global_step

    def _optimizer(self) -> Any:
        return None if self.case["optimizer"] is None else build_optimizer(self.model, self.case["optimizer"])

    def _count(self, *_: Any) -> None:
        self.steps += 1

    def _register(self, target: Any) -> None:
        target.register_hook(Watch(self, "first"), "HIGHEST")
        if self.case["training"] is not None:
            target.register_training_hooks(**self.case["training"])
        for config in self.case["hooks"]:
            target.register_hook(*build(config, self.look))
        target.register_hook(Watch(self, "last"), "LOWEST")

    # watching ---------------------------------------------------------------------------------------------

    def look(self, where: str, runner: Any) -> None:
        """Write down what a hook can see at a point; the hook that comes first looks at what the driver has changed."""
        model = runner.model
        parameters = list(model.parameters())
        seen = {
            "progress": [runner.epoch, runner.iter, runner.inner_iter],
            "length": [runner.max_epochs, runner.max_iters],
            "mode": runner.mode,
            "training": "".join(str(int(module.training)) for module in model.modules()),
            "gradients": [torch.is_grad_enabled(), torch.is_inference_mode_enabled()],
            "loader": _described(runner.data_loader),
            "random": [digest([torch.get_rng_state()]), hash(random.getstate())],
            "weights": digest([*parameters, *model.buffers()]),
            "grads": digest(p.grad for p in parameters),
        }
        self.seen.trace.append((where, seen))
        if where.startswith("first"):
            return
        buffer = runner.log_buffer
        seen |= {
            "autocast": torch.is_autocast_enabled("cpu"),
            "batch": text(runner.data_batch),
            "outputs": text(runner.outputs),
            "stop": runner.stop_reason,
            "lr": None if runner.optimizer is None else text(runner.current_lr()),
            "momentum": None if runner.optimizer is None else text(runner.current_momentum()),
            "logged": [buffer.ready, text(buffer.output), {k: len(v) for k, v in buffer.val_history.items()}],
            "meta": text(runner.meta).replace(str(self.folder), ""),
            "files": self._files(),
        }

    def _files(self) -> list[str]:
        """List the files, and note the content of those that are new."""
        found: dict[str, tuple[int, int]] = {}
        names = []
        for entry in sorted(_checkpoints(self.folder), key=lambda entry: entry.path):
            name = entry.path.removeprefix(f"{self.folder}/")
            names.append(f"{name} -> {os.readlink(entry.path)}" if entry.is_symlink() else name)  # noqa: PTH115
            if not entry.is_symlink():
                status = entry.stat()
                found[name] = (status.st_mtime_ns, status.st_ino)
                if self.known.get(name) != found[name]:
                    self.seen.files.append((name, _content(entry.path, self.folder)))
        self.known = found
        return names

    def finish(self) -> None:
        """Look once more when the driver has let go."""
        runner = self.runner
        for file in sorted(self.folder.rglob("*.log.json")):
            for line in file.read_text().splitlines():
                values = {key: "" if key in ("time", "data_time") else v for key, v in json.loads(line).items()}
                self.seen.log.append(("line", {"keys": list(values), **_without(values, self.folder)}))
        if self.seen.error is None:
            self.look("end", runner)
            own = [[type(hook).__name__, hook.priority, text(getattr(hook, "seen", None))] for hook in runner.hooks]
            others = sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())
            others = [re.sub(r"\d{9,}", "#", name) for name in others if not name.endswith((".pth", ".log.json"))]
            # a Trainer counts no step outside of the training step
            uncounted = any(hook.get("deed") == "steps" for hook in self.case["hooks"])
            optimizer = runner.optimizer
            several = optimizer.values() if isinstance(optimizer, dict) else [optimizer] if optimizer else []
            self.seen.trace.append(
                (
                    "left",
                    {
                        "steps": None if uncounted else self.steps,
                        "hooks": own,
                        "other files": others,
                        "optimizer": [text(one.state_dict()) for one in several],
                        "history": text(runner.log_buffer.val_history),
                    },
                )
            )


class Watch(Hook):
    """Looks at every point, and at the two that an iteration-based run has besides."""

    def __init__(self, run: Run, name: str) -> None:
        for point in (*POINTS, "before_epoch", "after_epoch"):
            setattr(self, point, lambda runner, point=point: run.look(f"{name} {point}", runner))


class _Console(logging.Handler):
    """Keeps the lines of a log."""

    def __init__(self, lines: list[Line], folder: Path) -> None:
        super().__init__()
        self.lines, self.folder = lines, folder

    def emit(self, line: logging.LogRecord) -> None:
        self.lines.append((line.levelname, {"says": without_times(line.getMessage(), self.folder)}))


def _described(loader: Any) -> str | None:
    if loader is None:
        return None
    try:
        return f"{type(loader).__name__} of {len(loader)}"
    except TypeError:
        return type(loader).__name__


def _checkpoints(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    # not by way of pathlib: this is done at every point
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _checkpoints(entry.path)
            elif ".pth" in entry.name:
                yield entry


def _content(path: str, folder: Path) -> dict[str, Any]:
    content = torch.load(path, weights_only=False)  # a run's own file; a safe load takes five times as long
    meta = _without({**content.pop("meta"), "time": ""}, folder)
    state = content.pop("state_dict")
    rest = _without({key: value for key, value in content.items() if key not in LIGHTNING_KEYS}, folder)
    return {"meta": meta, "names": list(state), "weights": text(state), **rest}


def _without(values: dict[str, Any], folder: Path) -> dict[str, str]:
    return {key: text(value).replace(str(folder), "") for key, value in values.items()}

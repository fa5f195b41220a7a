"""TextLoggerHook: lines for the terminal and for the .log.json file."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import torch

from mmhooks.checkpoint import check_writable, storage_options_of
from mmhooks.checkpoint.storage import located
from mmhooks.checks import check_count, check_flag, check_path
from mmhooks.distributed.reduce import greatest
from mmhooks.errors import ConfigError
from mmhooks.hooks.checkpoint import resolve_out_dir
from mmhooks.hooks.loggers.base import LoggerHook
from mmhooks.hooks.loggers.lines import json_line
from mmhooks.hooks.loggers.upload import check_suffixes, upload_logs
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner

_NOT_ITEMS = ("mode", "epoch", "iter", "lr", "time", "data_time", "memory")


@HOOKS.register_module()
class TextLoggerHook(LoggerHook):
    """Log to the terminal, and as JSON lines to ``<work_dir>/<timestamp>.log.json``.

    The first line of the file is the runner's ``meta`` (if it has one), the others have ``mode``, ``epoch``,
    ``iter``, ``lr`` (of the first param group) and the averages; floats are rounded to 5 digits. Without a
    work_dir there is no file. ``memory`` is the most MB of GPU memory that tensors of a process have taken so far, the
    greatest of all processes.

    Args:
        by_epoch: iterations are counted within the epoch.
        interval: every so many iterations.
        ignore_last: leave out the rest at the end of an epoch that is shorter than the interval.
        reset_flag: clear the averages after logging. The last logger of a runner always does.
        interval_exp_name: print ``meta["exp_name"]`` every so many iterations, and with ``by_epoch`` at the end of
            each epoch; 0 or -1: only then.
        out_dir: when the run is over, log files are copied from the work_dir to a folder of its name in this one: a
            local folder, or a place in a store that fsspec reaches, such as ``s3://bucket/logs``.
        out_suffix: what the names of such files end with, in the work_dir and its folders.
        keep_local: otherwise a file is removed from the work_dir when its copy is safely there.
        file_client_args: the store of ``out_dir``, see `CheckpointHook`.

    Raises:
        ConfigError: an argument of another kind, or a store that cannot be used.

    Example:
        >>> runner.register_logger_hooks(
        ...     dict(interval=50, hooks=[dict(type="TextLoggerHook", out_dir="s3://bucket/logs")])
        ... )
    """

    def __init__(
        self,
        by_epoch: bool = True,
        interval: int = 10,
        ignore_last: bool = True,
        reset_flag: bool = False,
        interval_exp_name: int = 1000,
        out_dir: str | os.PathLike[str] | None = None,
        out_suffix: str | Sequence[str] = (".log.json", ".log", ".py"),
        keep_local: bool = True,
        file_client_args: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(interval, ignore_last, reset_flag, by_epoch)
        name = type(self).__name__
        self.interval_exp_name = check_count(
            name, "interval_exp_name", interval_exp_name, minimum=0, special={-1: "the ends of epochs only"}
        )
        out_dir = check_path(name, "out_dir", out_dir, optional=True)
        self.out_suffix = check_suffixes(name, out_suffix)
        self.keep_local = check_flag(name, "keep_local", keep_local)
        self.file_client_args = file_client_args
        self._storage_options = storage_options_of(file_client_args)
        if out_dir:
            located(out_dir, file_client_args)  # wrong now rather than when the run begins
        elif file_client_args is not None:
            raise ConfigError(f"{name}'s file_client_args is the store of its out_dir, and there is no out_dir")
        self.out_dir = out_dir  # from before_run on, as in MMCV, the folder itself
        self._wanted_dir = out_dir
        self.time_sec_tot = 0.0
        self.start_iter = 0
        self.json_log_path: Path | None = None
        self._file: IO[bytes] | None = None
        self._cuda = False

    def before_run(self, runner: BaseRunner) -> None:
        """Begin the file."""
        super().before_run(runner)
        self.start_iter = runner.iter
        self.time_sec_tot = 0.0
        self._cuda = torch.cuda.is_available()
        self._close()
        runner.on_leave(self._close)
        if self._wanted_dir:
            self._find_out_dir(runner, self._wanted_dir)
        folder = runner.work_dir
        self.json_log_path = None if folder is None else Path(folder) / f"{runner.timestamp}.log.json"
        if runner.meta is not None:
            self._dump_log(runner.meta, runner)

    def _find_out_dir(self, runner: BaseRunner, wanted: str) -> None:
        if runner.work_dir is None:
            raise ConfigError(
                f"{type(self).__name__}(out_dir={wanted!r}) copies log files from a work_dir, and the runner has none: "
                "give it a work_dir, or leave out_dir out"
            )
        self.out_dir = resolve_out_dir(wanted, runner.work_dir, self.file_client_args)
        if runner.rank == 0 and runner.writes_files:
            check_writable(self.out_dir, self._storage_options, argument=f"{type(self).__name__}'s out_dir")
            runner.logger.info("Log files will be copied to %s after the run", self.out_dir)

    def log(self, runner: BaseRunner) -> dict[str, Any]:
        """Write one line to the terminal and one to the file.

        Returns:
            The values of the line.
        """
        output = runner.log_buffer.output
        # an evaluation says how many iterations it took, whatever the run counts
        iteration = output.pop("eval_iter_num", None) or self.get_iter(runner, inner_iter=True)
        line: dict[str, Any] = {
            "mode": self.get_mode(runner),
            "epoch": self.get_epoch(runner),
            "iter": iteration,
        }
        lr = runner.current_lr()
        line["lr"] = {name: own[0] for name, own in lr.items()} if isinstance(lr, dict) else lr[0]
        if self._cuda and "time" in output:
            line["memory"] = self._get_max_memory(runner)
        line.update(output)
        self._log_info(line, runner)
        self._dump_log(line, runner)
        return line

    def _get_max_memory(self, runner: BaseRunner) -> int:
        """Give the MB of GPU memory, on rank 0 the greatest of all; every rank calls it. As in MMCV, for subclasses."""
        return greatest(torch.cuda.max_memory_allocated(getattr(runner.model, "output_device", None)) // 2**20)

    def _log_info(self, line: dict[str, Any], runner: BaseRunner) -> None:
        """Write a line to the terminal; a subclass may override it, as in MMCV."""
        if runner.meta is not None and "exp_name" in runner.meta:
            due = self.every_n_iters(runner, self.interval_exp_name)
            if due or (self.by_epoch and self.end_of_epoch(runner)):
                runner.logger.info("Exp name: %s", runner.meta["exp_name"])
        head = self._train_head(line, runner) if line["mode"] == "train" else self._val_head(line)
        items = [
            f"{name}: {value:.4f}" if isinstance(value, float) else f"{name}: {value}"
            for name, value in line.items()
            if name not in _NOT_ITEMS
        ]
        runner.logger.info("%s", head + ", ".join(items))

    def _train_head(self, line: dict[str, Any], runner: BaseRunner) -> str:
        if self.by_epoch:
            head = f"Epoch [{line['epoch']}][{line['iter']}/{len(runner.data_loader)}]\t"
        else:
            head = f"Iter [{line['iter']}/{runner.max_iters}]\t"
        if isinstance(line["lr"], dict):
            head += " ".join(f"lr_{name}: {value:.3e}" for name, value in line["lr"].items()) + ", "
        else:
            head += f"lr: {line['lr']:.3e}, "
        self.time_sec_tot += line["time"] * self.interval
        if runner.max_iters is not None:
            # a resume may call this for the iteration before its first
            a_second = self.time_sec_tot / max(runner.iter - self.start_iter + 1, 1)
            left = int(a_second * (runner.max_iters - runner.iter - 1))
            head += f"eta: {datetime.timedelta(seconds=left)}, "
        for name in ("time", "data_time"):
            if name in line:  # an evaluation in the middle of an interval has cleared data_time
                head += f"{name}: {line[name]:.3f}, "
        return head + (f"memory: {line['memory']}, " if "memory" in line else "")

    def _val_head(self, line: dict[str, Any]) -> str:
        if self.by_epoch:
            return f"Epoch({line['mode']}) [{line['epoch']}][{line['iter']}]\t"
        return f"Iter({line['mode']}) [{line['iter']}]\t"

    def _dump_log(self, line: dict[str, Any], runner: BaseRunner) -> None:
        """Write a line to the file; a subclass may override it, as in MMCV."""
        if self.json_log_path is None or runner.rank != 0:
            return
        text = json_line(line)
        if not self._is_open(self.json_log_path):  # open for the whole run: opening takes longer than all the rest
            self._open(self.json_log_path)
        assert self._file is not None
        self._file.write(f"{text}\n".encode())  # one write a line: another process never sees half of it

    def _is_open(self, path: Path) -> bool:
        """Tell whether the file is open, and still the one at its path: somebody may delete it, or put it aside."""
        if self._file is None:
            return False
        try:
            return os.path.samestat(path.stat(), self._opened)
        except OSError:
            return False

    def _open(self, path: Path) -> None:
        self._close()
        self._file = path.open("ab", buffering=0)
        self._opened = os.fstat(self._file.fileno())

    def after_run(self, runner: BaseRunner) -> None:
        """Close the file, and copy it and its like to the ``out_dir``."""
        self._close()
        if self._wanted_dir and runner.rank == 0 and runner.writes_files:
            assert self.out_dir is not None
            upload_logs(runner, self.out_dir, self.out_suffix, self.keep_local, self._storage_options)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file out: a copy opens it anew."""
        return {**self.__dict__, "_file": None}

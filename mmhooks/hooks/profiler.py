"""ProfilerHook: where the time and the memory of the first iterations go."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.autograd.profiler_util import EventList, FunctionEventAvg

from mmhooks.checks import check_count, check_flag, check_path
from mmhooks.errors import ConfigError, nearest
from mmhooks.hook import Hook
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner

_ACTIVITIES = {"cpu": torch.profiler.ProfilerActivity.CPU, "cuda": torch.profiler.ProfilerActivity.CUDA}
_TRACES: dict[str, Callable[..., Any]] = {
    "log_trace": EventList.table,
    "tb_trace": torch.profiler.tensorboard_trace_handler,
}


@HOOKS.register_module()
class ProfilerHook(Hook):
    """Profile the beginning of a run with ``torch.profiler``, on rank 0.

    The profile ends after ``profile_iters`` epochs or iterations, or with the run when that is shorter, and stays in
    ``hook.profiler``. Profiling slows training down and keeps every event in memory: take few iterations.
    That of a run that ends with an error is dropped: one that is open when the process exits makes it crash.

    Args:
        by_epoch: profile epochs; otherwise iterations.
        profile_iters: how many, from where the run begins (or goes on).
        activities: what to record, of ``"cpu"`` and ``"cuda"``; the latter is left out on a machine without it.
        schedule: arguments of ``torch.profiler.schedule``, counted in iterations: ``dict(wait=1, warmup=1,
            active=3)``. None: record everything.
        on_trace_ready: what to do with a finished trace: a function of the profiler;
            ``dict(type="log_trace", ...)`` writes the table of events into the log, with the arguments of
            ``EventList.table`` (``sort_by``, ``row_limit``, ...); ``dict(type="tb_trace", ...)`` writes files for
            TensorBoard, with the arguments of ``torch.profiler.tensorboard_trace_handler``, where ``dir_name`` is
            ``tf_tracing_logs`` by default and below the work_dir unless absolute.
        record_shapes: record the shapes of the operators' inputs.
        profile_memory: record what is allocated and freed.
        with_stack: record the line of the source of each operator.
        with_flops: estimate the FLOPs of matrix products and convolutions.
        json_trace_path: a file for the trace (str or ``pathlib.Path``), for chrome://tracing or Perfetto.

    Raises:
        ConfigError: an argument that cannot be used; at the run's beginning, more epochs or iterations than it has.

    Example:
        >>> runner.register_profiler_hook(dict(by_epoch=False, profile_iters=10, activities=["cpu"],
        ...                                    on_trace_ready=dict(type="log_trace", sort_by="cpu_time_total")))
    """

    #: The hook whose profile is open, perhaps left so by a runner with a ``run`` of its own.
    _left_open: ClassVar[ProfilerHook | None] = None

    def __init__(
        self,
        by_epoch: bool = True,
        profile_iters: int = 1,
        activities: Sequence[str] = ("cpu", "cuda"),
        schedule: Mapping[str, int] | None = None,
        on_trace_ready: Callable[[torch.profiler.profile], Any] | Mapping[str, Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        json_trace_path: str | os.PathLike[str] | None = None,
    ) -> None:
        self._flags: dict[str, Any] = {
            "record_shapes": record_shapes,
            "profile_memory": profile_memory,
            "with_stack": with_stack,
            "with_flops": with_flops,
        }
        for argument, value in (("by_epoch", by_epoch), *self._flags.items()):
            check_flag("ProfilerHook", argument, value)
        self.by_epoch = by_epoch
        self.profile_iters = check_count("ProfilerHook", "profile_iters", profile_iters)
        self.activities = _activities(activities)
        self.schedule = None if schedule is None else _schedule(schedule)
        self.on_trace_ready = on_trace_ready
        self.json_trace_path = _file(json_trace_path)
        self.profiler: torch.profiler.profile | None = None
        self._running = False
        self._left = 0
        if on_trace_ready is not None and not callable(on_trace_ready):
            _check_trace(on_trace_ready, self.json_trace_path)

    def before_run(self, runner: BaseRunner) -> None:
        """Start the profile."""
        if runner.rank != 0:
            return
        unit, length = ("epochs", runner.max_epochs) if self.by_epoch else ("iterations", runner.max_iters)
        if self.by_epoch and not runner.by_epoch:
            raise ConfigError("ProfilerHook(by_epoch=True), but this run has no epochs: add by_epoch=False")
        if length is not None and length < self.profile_iters:
            raise ConfigError(f"ProfilerHook's profile_iters is {self.profile_iters}, but the run has {length} {unit}")
        found = [one for one in self.activities if one is not _ACTIVITIES["cuda"] or torch.cuda.is_available()]
        if not found:
            raise ConfigError("ProfilerHook(activities=['cuda']), but there is no CUDA device: add 'cpu'")
        handler = self._trace_handler(runner)
        if ProfilerHook._left_open is not None:
            ProfilerHook._left_open._abandon()
        self.profiler = torch.profiler.profile(
            activities=found, schedule=self.schedule, on_trace_ready=handler, **self._flags
        )
        self.profiler.start()
        self._running = True
        self._left = self.profile_iters
        ProfilerHook._left_open = self
        runner.on_leave(self._leave)
        runner.logger.info("ProfilerHook profiles %d %s", self.profile_iters, unit)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Tell the profiler of a step; end the profile when it has its iterations."""
        if self._running:
            assert self.profiler is not None
            self.profiler.step()
            if not self.by_epoch:
                self._count(runner)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """End the profile when it has its epochs."""
        if self._running and self.by_epoch:
            self._count(runner)

    def after_run(self, runner: BaseRunner) -> None:
        """End the profile of a run that was shorter."""
        if self._running:
            self._finish(runner)

    def _count(self, runner: BaseRunner) -> None:
        self._left -= 1
        if self._left == 0:
            self._finish(runner)

    def _finish(self, runner: BaseRunner) -> None:
        assert self.profiler is not None
        runner.logger.info("ProfilerHook ends the profile, which may take a while")
        self._running = False
        ProfilerHook._left_open = None
        self.profiler.stop()
        if self.json_trace_path is None:
            return
        if self.profiler.profiler is None:
            runner.logger.warning(
                "ProfilerHook has nothing to write to %s: the schedule recorded no iteration", self.json_trace_path
            )
            return
        Path(self.json_trace_path).parent.mkdir(parents=True, exist_ok=True)
        self.profiler.export_chrome_trace(self.json_trace_path)

    def _leave(self) -> None:
        if self._running:
            self._abandon()

    def _abandon(self) -> None:
        """End the profile of a run that failed, without a word about its trace."""
        assert self.profiler is not None
        self._running = False
        ProfilerHook._left_open = None
        self.profiler.on_trace_ready = None
        self.profiler.stop()

    def _trace_handler(self, runner: BaseRunner) -> Callable[[torch.profiler.profile], Any] | None:
        if self.on_trace_ready is None or callable(self.on_trace_ready):
            return self.on_trace_ready
        arguments = dict(self.on_trace_ready)
        if arguments.pop("type") == "log_trace":
            logger = runner.logger
            return lambda profiler: logger.info("profile:\n%s", profiler.key_averages().table(**arguments))
        folder = Path(arguments.pop("dir_name", "tf_tracing_logs"))
        if not folder.is_absolute():
            if runner.work_dir is None:
                raise ConfigError(
                    f"ProfilerHook has nowhere to write {folder}: give the runner a work_dir, or tb_trace an "
                    "absolute dir_name"
                )
            folder = Path(runner.work_dir) / folder
        runner.logger.info("ProfilerHook writes its traces to %s", folder)
        handler: Callable[[torch.profiler.profile], Any]
        handler = torch.profiler.tensorboard_trace_handler(str(folder), **arguments)
        return handler


def _activities(names: Sequence[str]) -> list[torch.profiler.ProfilerActivity]:
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        raise ConfigError(f"ProfilerHook's activities must be a list of 'cpu' and 'cuda', not {names!r}")
    for name in names:
        if not isinstance(name, str) or name.lower() not in _ACTIVITIES:
            hint = nearest(name, _ACTIVITIES) if isinstance(name, str) else ""
            raise ConfigError(f"ProfilerHook's activities must be of 'cpu' and 'cuda', not {name!r}{hint}")
    return [_ACTIVITIES[name.lower()] for name in names]


def _schedule(arguments: Mapping[str, int]) -> Callable[[int], torch.profiler.ProfilerAction]:
    if not isinstance(arguments, Mapping):
        raise ConfigError(f"ProfilerHook's schedule must be a dict(wait=, warmup=, active=) or None, not {arguments!r}")
    _check_arguments("schedule", torch.profiler.schedule, (), arguments)
    counts = dict(arguments)
    for name, value in counts.items():
        if name == "skip_first_wait" and isinstance(value, bool):  # a flag, although torch calls it an int
            continue
        minimum = 1 if name == "active" else 0
        counts[name] = check_count("ProfilerHook", f"schedule[{name!r}]", value, minimum, whole_floats=True)
    return torch.profiler.schedule(**counts)


def _file(path: str | os.PathLike[str] | None) -> str | None:
    name = check_path("ProfilerHook", "json_trace_path", path, optional=True)
    # torch writes nothing there, and does not say so
    if name is not None and (name.endswith(("/", os.sep)) or Path(name).name in ("", "..") or Path(name).is_dir()):
        kind = ", which is a folder" if name else ""
        raise ConfigError(f"ProfilerHook's json_trace_path must be the name of a file or None, not {name!r}{kind}")
    return name


def _check_trace(config: Any, json_trace_path: str | None) -> None:
    kinds = " or ".join(f"dict(type={kind!r})" for kind in _TRACES)
    if not isinstance(config, Mapping):
        raise ConfigError(f"ProfilerHook's on_trace_ready must be a function, {kinds} or None, not {config!r}")
    arguments = dict(config)
    kind = arguments.pop("type", None)
    if not isinstance(kind, str) or kind not in _TRACES:
        hint = nearest(kind, _TRACES) if isinstance(kind, str) else ""
        raise ConfigError(f"ProfilerHook's on_trace_ready must be {kinds}, not of type {kind!r}{hint}")
    given = () if "dir_name" in arguments or kind == "log_trace" else ("dir_name",)
    _check_arguments(f"on_trace_ready of type {kind!r}", _TRACES[kind], given, arguments)
    if kind == "log_trace":
        _check_table(**arguments)
    elif "dir_name" in arguments:
        check_path("ProfilerHook", "dir_name of 'tb_trace'", arguments["dir_name"])
    if kind == "tb_trace" and json_trace_path is not None:
        raise ConfigError(
            "ProfilerHook cannot write a trace twice: leave out json_trace_path, or on_trace_ready of type 'tb_trace'"
        )


def _check_table(sort_by: Any = None, row_limit: Any = 100, header: Any = None, **others: Any) -> None:
    """Refuse what ``EventList.table`` would pass over, or fail at when the profile is over."""
    if sort_by is not None:
        keys = _sort_keys()
        key = sort_by if isinstance(sort_by, str) else ""
        for device in ("cuda", "xpu", "privateuse1"):  # the table reads them so
            key = key.replace(device, "device")
        if key not in keys and sort_by not in keys:
            raise ConfigError(
                f"ProfilerHook's sort_by of 'log_trace' must be None or one of {', '.join(keys)} (or one of these with "
                f"cuda or xpu for device), not {sort_by!r}{nearest(key, keys)}"
            )
    if header is not None and not isinstance(header, str):
        raise ConfigError(f"ProfilerHook's header of 'log_trace' must be a str or None, not {header!r}")
    check_count("ProfilerHook", "row_limit of 'log_trace'", row_limit, 0, special={-1: "all rows"}, whole_floats=True)
    for name, value in others.items():
        if name.endswith("_width") and value is not None:
            check_count("ProfilerHook", f"{name} of 'log_trace'", value, 0, special={None: "no limit"})


def _sort_keys() -> list[str]:
    """Name what a line of the table can be sorted by: the numbers of an event, as this torch names them."""
    kept = [name for name, value in vars(FunctionEventAvg()).items() if type(value) is int]
    computed = [name for name, one in inspect.getmembers_static(FunctionEventAvg) if isinstance(one, property)]
    return sorted({"key", *kept, *(name for name in computed if not name.endswith("_str"))})


def _check_arguments(
    what: str, function: Callable[..., Any], given: Sequence[str], arguments: Mapping[str, Any]
) -> None:
    """Refuse keys that a function of torch does not take, before anything is recorded."""
    parameters = [one for one in inspect.signature(function).parameters.values() if one.name != "self"]
    names = [one.name for one in parameters]
    for key in arguments:
        if key not in names:
            raise ConfigError(f"ProfilerHook's {what} takes {', '.join(names)}, not {key!r}{nearest(str(key), names)}")
    needed = {one.name for one in parameters if one.default is one.empty}
    missing = sorted(needed - {*given, *arguments})
    if missing:
        raise ConfigError(f"ProfilerHook's {what} needs {', '.join(missing)} too")

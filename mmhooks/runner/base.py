"""BaseRunner: all that a hook may see and use, whichever driver runs the loop."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import nn
from torch.optim import Optimizer

from mmhooks import foreign
from mmhooks.checks import check_path
from mmhooks.dispatch import CallTable, Entry, HookList
from mmhooks.distributed import get_dist_info, unpacked, unwrap
from mmhooks.errors import ConfigError, HookError, ModelError
from mmhooks.hook import POINTS
from mmhooks.log import get_logger
from mmhooks.log_buffer import LogBuffer
from mmhooks.priority import priority_name
from mmhooks.runner.checkpointing import Checkpointing
from mmhooks.runner.checks import check_length, check_model, check_optimizer

Optimizers = Optimizer | dict[str, Optimizer]
Workflow = list[tuple[str, int]]


class Loader(Protocol):
    """What a runner asks of a loader: batches, and how many there are."""

    def __iter__(self) -> Any: ...
    def __len__(self) -> int: ...


Run = TypeVar("Run", bound=Callable[..., None])
T = TypeVar("T")


def leaving(run: Run) -> Run:
    """Decorate a runner's ``run`` so that what a run has changed or opened is set right after an error too."""

    @functools.wraps(run)
    def guarded(self: BaseRunner, *args: Any, **kwargs: Any) -> None:
        try:
            run(self, *args, **kwargs)
        finally:
            self.leave()

    return cast(Run, guarded)


def _alias(name: str) -> property:
    """Make a second name for an attribute."""
    return property(lambda runner: getattr(runner, name), lambda runner, value: setattr(runner, name, value))


class BaseRunner(Checkpointing):
    """The state, the services and the hooks of a run. What drives it is up to the subclass.

    Args:
        model: a module with ``train_step(data, optimizer, **kwargs)``, which returns a dict with the ``loss``
            and, to be logged, ``log_vars`` and ``num_samples``.
        optimizer: what ``train_step`` and the hooks receive: one optimizer, or several by name.
        work_dir: the folder of checkpoints and logs, made when missing. None: nothing is written.
        logger: where lines go; the logger ``mmhooks`` by default.
        meta: plain values that are logged first and saved with every checkpoint.
        max_iters: the length of the run in iterations, or
        max_epochs: in epochs.
        batch_processor: MMCV's old way: ``batch_processor(model, data, train_mode) -> dict``, for a model
            without ``train_step``.

    Attributes:
        epoch: epochs that are finished.
        iter: train iterations that are finished.
        inner_iter: index of the current iteration in its epoch (or in its flow of the workflow).
        max_epochs: the length of the run in epochs, where it has one.
        max_iters: the length of the run in train iterations, where it is known.
        mode: ``"train"`` or ``"val"``.
        data_loader: the loader of the current epoch; before_train_epoch may set another.
        data_batch: the current batch, on the device, between before_*_iter and after_*_iter.
        outputs: what ``train_step`` or ``val_step`` returned last.
        log_buffer: the values to be logged.
        writes_files: whether `save_checkpoint` writes anything; a driver may have a mode for trying things out.
        shows_progress: whether the driver draws a progress bar of its own.

    Raises:
        ModelError: the model cannot be trained by a runner.
        ConfigError: arguments that contradict each other, a length that is no number of epochs or iterations, or a
            work_dir that is no path.
        TypeError: another argument of the wrong type.
    """

    max_unit = "epochs"
    _table_type: type[CallTable] = CallTable
    _opens: tuple[Any, bool] = (None, False)
    writes_files = True
    shows_progress = False
    _paused: contextlib.AbstractContextManager[Any] | None = None

    def __init__(
        self,
        model: nn.Module,
        batch_processor: Any = None,
        optimizer: Optimizers | None = None,
        work_dir: str | os.PathLike[str] | None = None,
        logger: logging.Logger | None = None,
        meta: dict[str, Any] | None = None,
        max_iters: int | None = None,
        max_epochs: int | None = None,
    ) -> None:
        check_model(model, batch_processor)
        check_optimizer(optimizer)
        if logger is not None and not isinstance(logger, logging.Logger):
            raise TypeError(f"logger must be a logging.Logger or None, not {type(logger).__name__}")
        if meta is not None and not isinstance(meta, dict):
            raise TypeError(f"meta must be a dict or None, not {type(meta).__name__}")
        if max_epochs is not None and max_iters is not None:
            raise ConfigError("give max_epochs or max_iters, not both: one run has one length")
        name = type(self).__name__
        self.max_epochs = None if max_epochs is None else check_length(name, "max_epochs", max_epochs)
        self.max_iters = None if max_iters is None else check_length(name, "max_iters", max_iters)
        self._init_state(work_dir, logger, meta)
        self.model = model
        self.optimizer: Any = optimizer
        self.batch_processor = batch_processor

    def _init_state(
        self,
        work_dir: str | os.PathLike[str] | None,
        logger: logging.Logger | None,
        meta: dict[str, Any] | None,
    ) -> None:
        folder = check_path(type(self).__name__, "work_dir", work_dir, optional=True)
        self.call_table = self._table_type(functools.partial(foreign.adopt, self))
        self.logger = logger or get_logger()
        self.meta = meta
        self.work_dir: str | None = None
        if folder is not None:
            self.work_dir = str(Path(folder).absolute())
            Path(self.work_dir).mkdir(parents=True, exist_ok=True)
        self.timestamp = time.strftime("%Y%m%d_%H%M%S", time.localtime())
        self.mode: str | None = None
        self.data_loader: Any = None
        self.data_batch: Any = None
        self.outputs: Any = None
        self.log_buffer = LogBuffer()
        self.stop_reason: str | None = None
        self.epoch: int = 0
        self.iter: int = 0
        self.inner_iter: int = 0
        self._unclaimed: dict[str, torch.Tensor] = {}
        self._hook_states: dict[str, list[Any]] = {}
        self._on_leave: list[Callable[[], object]] = []

    # state ------------------------------------------------------------------------------------------------

    # MMCV's names of what is a plain attribute here, such as the counters, which hooks read at every iteration
    _epoch = _alias("epoch")
    _iter = _alias("iter")
    _inner_iter = _alias("inner_iter")
    _max_epochs = _alias("max_epochs")
    _max_iters = _alias("max_iters")
    _model_name = property(lambda runner: runner.model_name)
    _rank = property(lambda runner: runner.rank)
    _world_size = property(lambda runner: runner.world_size)

    @property
    def _hooks(self) -> HookList:  # the name that MMCV code uses
        return self.hooks

    @_hooks.setter
    def _hooks(self, hooks: Iterable[Any]) -> None:
        self.hooks[:] = list(hooks)

    @property
    def model_name(self) -> str:
        """The class name of the user's model."""
        return type(unwrap(self.model)).__name__

    @property
    def rank(self) -> int:
        """The rank of this process."""
        return get_dist_info()[0]

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return get_dist_info()[1]

    def current_lr(self) -> list[float] | dict[str, list[float]]:
        """Give the learning rate of every param group: a list, or a list by name of the optimizer."""
        return self._of_groups(itemgetter("lr"))

    def current_momentum(self) -> list[float] | dict[str, list[float]]:
        """Give the momentum (or Adam's first beta, or 0) of every param group, as `current_lr` does."""
        return self._of_groups(lambda group: group["momentum"] if "momentum" in group else group.get("betas", (0,))[0])

    def _of_groups(self, read: Callable[[dict[str, Any]], float]) -> list[float] | dict[str, list[float]]:
        if self.optimizer is None:
            raise ConfigError("this runner has no optimizer, so no learning rate; give it one: optimizer=...")
        if isinstance(self.optimizer, Mapping):
            return {name: list(map(read, one.param_groups)) for name, one in self.optimizer.items()}
        return list(map(read, self.optimizer.param_groups))

    # hooks ------------------------------------------------------------------------------------------------

    def call_hook(self, fn_name: str) -> None:
        """Call every hook that overrides a point.

        A hook that is registered meanwhile takes part at once if its turn is still to come.

        Args:
            fn_name: one of the ten points, ``before_epoch`` and the like, or a method name of some hook.

        Raises:
            HookError: no hook knows the name, or a hook lets a StopIteration out, which would end some loop.
        """
        entry = self.call_table.entries.get(fn_name) or self._looked_up(fn_name)
        try:
            self._turn = turn = iter(entry.calls)
            for call in turn:  # none is left when the hooks change
                call(self)
            if entry.stale:
                self.call_table.go_on(fn_name, self, entry, call)
        except StopIteration as error:  # to the loop of a driver it would mean that the data are at their end
            raise HookError(
                f"a hook raises StopIteration at {fn_name}: there next() finds nothing more, or is to end the run, for "
                "which there is runner.stop(reason)"
            ) from error

    def _looked_up(self, fn_name: str) -> Entry:
        if fn_name == "before_run":  # here, since a subclass may have a run of its own
            self._give_hook_states()
        return self.call_table.entry(fn_name)

    def get_hook_info(self) -> str:
        """Describe which hooks are called at each point, in which order."""
        blocks = []
        for point in POINTS:
            lines = [
                f"({priority_name(hook.priority):<12}) {type(hook).__name__}" for hook in self.call_table.owners(point)
            ]
            if lines:
                blocks.append("\n".join([f"{point}:", *lines, " -------------------- "]))
        return "\n".join(blocks)

    def _announce(self, workflow: Any, limit: int | None) -> None:
        host = f"{os.environ.get('USER', 'user')}@{socket.gethostname()}"
        self.logger.info("Start running, host: %s, work_dir: %s", host, self.work_dir)
        self.logger.info("Hooks will be called in this order:\n%s", self.get_hook_info())
        self.logger.info("workflow: %s, max: %s %s", workflow, limit, self.max_unit)

    def _before_run(self) -> None:
        self.stop_reason = None
        self._flow, self._loaders = self._start, ()
        foreign.settle(self)
        self.call_table.rebuild()  # methods may have been set on hooks since they were registered
        self.call_hook("before_run")
        self._give_hook_states()  # of a file that a hook has just resumed
        foreign.settle(self)  # what hooks have registered meanwhile
        self.call_table.rebuild()  # a hook may have become another one: by what it was told, or learnt of the runner

    # services that differ by driver -----------------------------------------------------------------------

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of a loss."""
        loss.backward()  # type: ignore[no-untyped-call]

    def zero_grad(self, optimizer: Optimizer) -> None:
        """Forget the gradients of an optimizer's parameters."""
        optimizer.zero_grad()

    def optimizer_step(self, optimizer: Optimizer, scaler: torch.amp.GradScaler | None = None) -> None:
        """Let an optimizer change its parameters.

        Args:
            optimizer: the one to step.
            scaler: the loss scaler that has unscaled the gradients: it leaves the step out where they are not finite.
        """
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)

    def clip_grads(self, parameters: Iterable[nn.Parameter], **grad_clip: Any) -> torch.Tensor | None:
        """Clip the norm of the gradients.

        Args:
            parameters: those without a gradient are passed over.
            **grad_clip: arguments of ``torch.nn.utils.clip_grad_norm_``: ``max_norm``, ``norm_type``, ...

        Returns:
            The norm before clipping (0-d, on the device), or None when nothing has a gradient.
        """
        found = [p for p in parameters if p.requires_grad and p.grad is not None]
        return torch.nn.utils.clip_grad_norm_(found, **grad_clip) if found else None

    def no_sync(self) -> contextlib.AbstractContextManager[Any]:
        """Give a context in which backward does not exchange gradients between processes."""
        no_sync = getattr(self.model, "no_sync", None)
        return no_sync() if no_sync is not None else contextlib.nullcontext()

    def pause_exchange(self) -> None:
        """Let the passes that follow, forward and backward, exchange no gradients, until `resume_exchange`.

        The end of the run resumes it too, whether it ends by an error or not.
        """
        if self._paused is None:
            paused = self.no_sync()
            paused.__enter__()
            self._paused = paused

    def resume_exchange(self) -> None:
        """Take back `pause_exchange`, where it has been called."""
        if self._paused is not None:
            paused, self._paused = self._paused, None
            paused.__exit__(None, None, None)

    def on_leave(self, function: Callable[[], object]) -> None:
        """Have a function called when the run is left, after ``after_run`` or by an error.

        Args:
            function: called once, the one that was given last first.
        """
        self._on_leave.append(function)

    def leave(self) -> None:
        """Call what `on_leave` was given, and exchange gradients again; whoever drives a run ends it so."""
        self._phase, self._stepped = "", False
        self._start, self._in_epoch, self._taken = (0, 0), 0, []
        self._forget_course()
        functions, self._on_leave = self._on_leave, []
        with contextlib.ExitStack() as stack:  # an error of one does not keep the others from being called
            stack.callback(self.resume_exchange)
            for function in functions:
                stack.callback(function)

    def check_amp(self, hook: str, scales: bool) -> None:
        """Check that a hook may bring mixed precision: a driver that has its own raises a HookError.

        Args:
            hook: the name of its class.
            scales: it scales the loss.
        """

    def check_bypass(self, hook: str, service: str, instead: str) -> None:
        """Check that a hook of another library may do by itself what a service of this runner is for.

        Args:
            hook: the name of its class.
            service: ``"backward"``: it calls ``loss.backward()`` and ``optimizer.step()`` themselves;
                ``"save_checkpoint"``: it decides on each rank alone whether to call it.
            instead: the class to derive it from in place of its own.

        Raises:
            HookError: not under this driver.
        """

    def agree(self, value: T) -> T:
        """Give the value by which to decide whether to call a service that may take all ranks: `save_checkpoint`.

        Where a service does take them, this is rank 0's value, and every rank must call it. Otherwise it is the
        rank's own: code that runs on rank 0 alone may save a file.

        Args:
            value: this rank's value, which can be pickled.
        """
        return value

    def stop(self, reason: str) -> None:
        """End the run after the current iteration, as if its length were reached.

        An open epoch is closed, and the val that the workflow has next follows. Hooks whose turn is still to come do
        now what they do last in a run, so call it in a hook of a high priority. In several processes every rank must
        call it in the same iteration: one that goes on alone waits for the others without end.

        Args:
            reason: said in the log.
        """
        self.stop_reason = reason
        self.logger.info("the run ends after this iteration: %s", reason)

    # the model's steps ------------------------------------------------------------------------------------

    def _look_at(self, loader: Any, batch: Any) -> None:
        """See at the first batch of a loader whether its batches hold DataContainers, which the model does not take."""
        self._opens = (loader, unpacked(batch) is not batch)

    def _record(self, outputs: Any, method: str) -> None:
        """Take what a step returned: the log values into the buffer, all of it into ``outputs``."""
        if not isinstance(outputs, dict):
            raise ModelError(
                f"{self.model_name}.{method}() must return a dict(loss=..., log_vars=dict(...), num_samples=...), "
                f"not {type(outputs).__name__}"
            )
        if "log_vars" in outputs:
            try:
                count = outputs["num_samples"]
            except KeyError:
                raise ModelError(
                    f"{self.model_name}.{method}() returns log_vars without num_samples, the weight of the values "
                    "in an average: add num_samples=<size of the batch> to the dict"
                ) from None
            self.log_buffer.update(outputs["log_vars"], count)
        self.outputs = outputs

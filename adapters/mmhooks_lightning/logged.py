"""Logged values, both ways: what a module logs is in the hooks' buffer, and what hooks log reaches the Trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import lightning.pytorch as pl
import torch

from mmhooks.errors import ModelError
from mmhooks.foreign import is_a
from mmhooks.hooks.loggers import LoggerHook
from mmhooks.hooks.updater import LrUpdaterHook
from mmhooks.log_buffer import LogBuffer
from mmhooks_lightning.module import HookedModule
from mmhooks_lightning.outputs import batch_size_of, ordinary_outputs
from mmhooks_lightning.runner import LightningRunner

#: What the buffer holds beside values: a count for the text logger, and words that loggers of Lightning's have taken.
_NOT_VALUES = frozenset({"eval_iter_num", "step", "epoch"})
#: Hooks in which a module may log before a logger hook clears the buffer.
_BEFORE_EPOCHS = ("on_train_start", "on_validation_start")
#: How many values of an evaluation a progress bar shows: mmdet's alone has a dozen.
_SHOWN = 2
_OF_THE_CLOCK = frozenset({"time", "data_time"})


class SharedBuffer(LogBuffer):
    """A log buffer that tells of new averages before they are forgotten.

    Args:
        tell: called when averages that nobody has been told of are about to be cleared.

    Attributes:
        fresh: there are averages that nobody has been told of.
        marks: those that `clear` takes back to the beginning.
        keeps_numbers: values that were averaged leave the device, as they do when a logger hook averages them.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self.marks: list[dict[str, int]] = []
        self.keeps_numbers = False
        super().__init__()
        self.fresh = False

    @property
    def ready(self) -> bool:  # a plain attribute there
        """Whether there is something to log."""
        return self._ready

    @ready.setter
    def ready(self, value: bool) -> None:
        self._ready = value
        self.fresh = value

    def clear(self) -> None:
        """Forget all values and averages."""
        super().clear()
        for mark in self.marks:
            mark.clear()

    def clear_output(self) -> None:
        """Forget the averages."""
        if self.fresh:
            self._tell()
        super().clear_output()

    def mark(self, mark: dict[str, int]) -> None:
        """Note how many values of each key there are."""
        mark.clear()
        mark.update((name, len(history)) for name, history in self.val_history.items())

    def since(self, mark: Mapping[str, int]) -> dict[str, float]:
        """Average what came since a mark; what is no number is left out."""
        part = LogBuffer()
        for name, history in self.val_history.items():
            begin = mark.get(name, 0)
            if begin < len(history):
                part.val_history[name] = history[begin:]
                part.n_history[name] = self.n_history[name][begin:]
        try:
            part.average()
        except ModelError:
            return _averages_of_numbers(part)
        if self.keeps_numbers:
            for name, numbers in part.val_history.items():
                self.val_history[name][mark.get(name, 0) :] = numbers
        return part.output


def _averages_of_numbers(part: LogBuffer) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, history in part.val_history.items():
        one = LogBuffer()
        one.val_history[name], one.n_history[name] = history, part.n_history[name]
        try:
            one.average()
        except ModelError:
            continue  # whoever averages the buffer itself is told
        found.update(one.output)
    return found


class Logged:
    """Carries logged values between a Trainer and the hooks of a runner, for the length of a fit.

    What the module logs is taken where the Trainer collects it, so it is the value of this very iteration. At the end
    of a val epoch the Trainer's own results take the place of the batches': they know of reductions, of metrics
    with a state, and of other processes.

    What hooks log goes to the Trainer's loggers, ``callback_metrics``, ``logged_metrics`` and progress bar when it is
    averaged, or left by an evaluation: between two of these moments nothing waits for the device. What the
    module has logged itself goes there by the Trainer alone.

    Args:
        runner: its log buffer becomes a `SharedBuffer`.
    """

    def __init__(self, runner: LightningRunner) -> None:
        self._runner = runner
        self._buffer = runner.log_buffer = SharedBuffer(self._tell)
        self.active = False
        #: A val epoch ends after the module's own on_validation_epoch_end, which may log.
        self.ends_val_late = False
        self._undo: list[tuple[Any, str]] = []
        self._reset()

    def _reset(self) -> None:
        self._own: set[str] = set()  # names that the Trainer has from the module itself
        self._seen: set[str] = set()  # those of this iteration
        self._early: list[tuple[str, Any]] = []
        self._at_epoch_end: dict[str, None] = {}
        self._results_of_val: dict[str, None] = {}
        self._given: dict[str, float] = {}
        self._in_val = self._sent = False
        self._of_epoch: dict[str, int] = {}
        self._of_val: dict[str, int] = {}
        self._val_names: set[str] = set()
        self._of_interval: dict[str, int] = {}
        self._buffer.marks = [self._of_epoch, self._of_val, self._of_interval]
        self._interval = 0

    # for the length of a fit ------------------------------------------------------------------------------

    def attach(self, trainer: pl.Trainer, module: pl.LightningModule, end_val_epoch: Callable[[], None]) -> None:
        """Listen to what is logged.

        Args:
            trainer: the Trainer of the fit.
            module: its module.
            end_val_epoch: called when all that is logged in a val epoch has been, where that is later than
                ``on_validation_epoch_end`` of callbacks.
        """
        self._reset()
        self._trainer = trainer
        self._hooked = isinstance(module, HookedModule)
        self._buffer.keeps_numbers = not self._hooked  # there the buffer is as a native runner has it
        self.ends_val_late = not self._hooked or overrides(module, "on_validation_epoch_end")
        epoch_loop: Any = trainer.fit_loop.epoch_loop
        for results in (epoch_loop._results, epoch_loop.val_loop._results):
            self._put(results, "log", self._listener(results))
        connector: Any = trainer._logger_connector
        end = connector.on_epoch_end

        def on_epoch_end() -> None:
            end()
            if not self.active:
                return
            if trainer.training:
                self._log_epoch_end()
            elif self.ends_val_late:
                end_val_epoch()

        self._put(connector, "on_epoch_end", on_epoch_end)

    def _put(self, place: Any, name: str, function: Callable[..., Any]) -> None:
        setattr(place, name, function)
        self._undo.append((place, name))

    def leave(self) -> None:
        """Listen no longer."""
        self.active = False
        for place, name in self._undo:
            vars(place).pop(name, None)
        self._undo = []

    def begin(self) -> None:
        """Begin a run."""
        self.active = True
        self._look_for_loggers()

    def _look_for_loggers(self) -> None:
        runner = self._runner
        self._loggers = [hook for hook in runner.hooks if is_a(hook, LoggerHook)]
        self._interval = 0 if self._loggers else self._trainer.log_every_n_steps  # type: ignore[attr-defined]
        self._shows_lr = self._hooked or any(is_a(hook, LrUpdaterHook) for hook in runner.hooks)

    # from the module to the hooks -------------------------------------------------------------------------

    def _listener(self, results: Any) -> Callable[..., None]:
        collect = results.log

        def log(fx: str, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
            collect(fx, name, value, *args, **kwargs)
            if self.active:
                self._take(results, fx, name, value, **kwargs)

        disabled: Callable[..., None] = torch.compiler.disable(log)  # type: ignore[no-untyped-call]  # as the method
        return disabled

    def _take(
        self,
        results: Any,
        fx: str,
        name: str,
        value: Any,
        on_step: bool = False,
        on_epoch: bool = True,
        reduce_fx: Any = "mean",
        add_dataloader_idx: bool = True,
        batch_size: int | None = None,
        sync_dist: bool = False,
        **others: Any,
    ) -> None:
        """Put a value that the module has just logged into the buffer."""
        key = f"{fx}.{name}"
        self._seen.add(name)
        if add_dataloader_idx and results.dataloader_idx is not None:
            key = f"{key}.{results.dataloader_idx}"
            name += results.DATALOADER_SUFFIX.format(results.dataloader_idx)
        self._own.add(name)
        if self._hooked and name in ((self._runner.outputs or {}).get("log_vars") or ()):
            return  # it is in the buffer as such
        if fx == "on_train_epoch_end":
            self._at_epoch_end[name] = None
            return
        if not results.training and on_epoch:
            self._results_of_val[name] = None
        if on_step and (sync_dist or not isinstance(value, torch.Tensor)):
            value = results[key]._forward_cache  # of all processes; or of a metric
        elif not isinstance(value, torch.Tensor):
            value = value._forward_cache
        if not isinstance(value, torch.Tensor):  # a metric that has been updated and says nothing of a single batch
            if results.training:
                self._at_epoch_end[name] = None
            return
        if fx in _BEFORE_EPOCHS and self._runner.by_epoch:
            self._early.append((name, value))
            return
        count = 1
        if reduce_fx in ("mean", torch.mean):
            count = batch_size or results.batch_size or batch_size_of(results.batch)
        self._buffer.add(name, value.detach(), count)

    def record(self, outputs: Any, batch: Any, method: str, automatic: bool) -> None:
        """Take what a step of an ordinary module returned.

        Args:
            outputs: what it returned.
            batch: what it was given.
            method: its name.
            automatic: it returns the loss for the Trainer to go backward from, or None to leave the batch out.
        """
        found = ordinary_outputs(outputs, batch, automatic)
        values = found.get("log_vars")
        if isinstance(values, dict):
            if not (isinstance(outputs, Mapping) and "log_vars" in outputs):
                self._own.update(values)  # the loss: the module has not logged it, so it is for the hooks alone
            if not self._seen.isdisjoint(values):
                found["log_vars"] = {name: value for name, value in values.items() if name not in self._seen}
        self._seen.clear()
        self._runner._record(found, method)

    def epoch_begins(self) -> None:
        """Before ``before_train_epoch``."""
        self._look_for_loggers()
        self._forget()

    def epoch_has_begun(self) -> None:
        """After ``before_train_epoch``."""
        self._put_early()
        self._buffer.mark(self._of_epoch)
        self._sent = False

    def _forget(self) -> None:
        """Begin anew as a logger hook would; a HookedModule's buffer is as natively."""
        if not self._loggers and not self._hooked and self._runner.by_epoch:
            self._buffer.clear()

    def _put_early(self) -> None:
        """Add what was logged before a logger hook cleared the buffer."""
        for name, value in self._early:
            self._buffer.add(name, value.detach())
        self._early = []

    # from the hooks to the Trainer ------------------------------------------------------------------------

    def iteration_ends(self) -> None:
        """After ``after_train_iter``."""
        if self._buffer.fresh:
            self._tell()
        if self._interval and (self._runner.iter + 1) % self._interval == 0:
            self._give(self._buffer.since(self._of_interval), train=True)
            self._buffer.mark(self._of_interval)
            self._sent = True

    def epoch_ends(self) -> None:
        """Before ``after_train_epoch``: its averages can be monitored, and are logged if nothing of it has been."""
        self._give(self._buffer.since(self._of_epoch), train=True, log=not self._sent)
        if not self._sent:
            self._buffer.mark(self._of_interval)

    def run_ends(self) -> None:
        """Before ``after_run``: a short run without epochs has been silent so far."""
        if self.active and not self._sent and not self._runner.by_epoch:
            self._give(self._buffer.since(self._of_interval), train=True)

    def tell(self) -> None:
        """After a point that may have left something."""
        if self._buffer.fresh:
            self._tell()

    def val_begins(self) -> None:
        """Before ``before_val_epoch``."""
        self._forget()

    def val_has_begun(self) -> None:
        """After ``before_val_epoch``."""
        self._in_val = True
        self._put_early()
        self._buffer.mark(self._of_val)
        self._results_of_val.clear()

    def val_ends(self) -> None:
        """Before ``after_val_epoch``."""
        results, buffer = self._trainer.callback_metrics, self._buffer
        for name in self._results_of_val:
            if name in results:
                buffer.val_history[name] = [results[name].detach()]
                buffer.n_history[name] = [1]
        means = buffer.since(self._of_val)
        self._val_names = set(means)
        self._give({_of_val(k): v for k, v in means.items() if k not in self._own and k not in _OF_THE_CLOCK})

    def val_has_ended(self) -> None:
        """After ``after_val_epoch``."""
        self.tell()
        self._in_val = False
        if not self._loggers and any(
            len(history) > self._of_val.get(name, 0)
            for name, history in self._buffer.val_history.items()
            if name not in self._val_names
        ):
            means = self._buffer.since(self._of_val)  # what hooks have added in after_val_epoch
            self._give({name: value for name, value in means.items() if name not in self._val_names})

    def _tell(self) -> None:
        """Give the Trainer what is in the buffer's output."""
        buffer = self._buffer
        buffer.fresh = False
        if not self.active:
            return
        if self._in_val:  # the averages have been given, under names of their own
            self._give({name: value for name, value in buffer.output.items() if name not in self._val_names})
        else:
            train = any(name in buffer.val_history for name in buffer.output)
            self._give(buffer.output, train=train)
            self._sent = self._sent or train

    def _give(self, values: Mapping[str, Any], train: bool = False, log: bool = True) -> None:
        """Give values of the hooks to the Trainer."""
        numbers = {
            name: number
            for name, value in values.items()
            if name not in self._own and name not in _NOT_VALUES and (number := _number(value)) is not None
        }
        if train and self._shows_lr:
            numbers.update((name, lr) for name, lr in self._lr() if name not in self._own)
        if not numbers:
            return
        trainer = self._trainer
        tensors = {name: torch.tensor(number) for name, number in numbers.items()}
        self._given.update(numbers)
        trainer.callback_metrics.update(tensors)
        trainer.logged_metrics.update(tensors)
        trainer.progress_bar_metrics.update(_shown(numbers, train))
        if log:
            self._log(numbers)

    def _log(self, numbers: dict[str, float]) -> None:
        trainer = self._trainer
        step = trainer.fit_loop.epoch_loop._batches_that_stepped  # what the Trainer takes for values of the module
        for logger in trainer.loggers:
            logger.log_metrics({**numbers, "epoch": trainer.current_epoch}, step=step)
            logger.save()

    def _lr(self) -> Iterable[tuple[str, float]]:
        if self._runner.optimizer is None:
            return ()
        lr = self._runner.current_lr()
        if isinstance(lr, dict):
            return [(f"lr_{name}", float(own[0])) for name, own in lr.items() if own]
        return [("lr", float(own)) for own in lr[:1]]

    def share(self) -> None:
        """Let every process monitor rank 0's values, which alone may have those of an evaluation; all must call it."""
        given, self._given = self._given, {}
        if self._trainer.world_size > 1:
            given = self._trainer.strategy.broadcast(given)
            self._trainer.callback_metrics.update({name: torch.tensor(value) for name, value in given.items()})

    def _log_epoch_end(self) -> None:
        """Log what the module has logged at the end of a train epoch: a line of its own, as an evaluation has it."""
        names, self._at_epoch_end = self._at_epoch_end, {}
        results = self._trainer.callback_metrics
        values = {name: number for name in names if (number := _number(results.get(name))) is not None}
        if not values:
            return
        runner, mode = self._runner, self._runner.mode
        self._buffer.output.update(values)
        self._buffer.ready = True
        self._buffer.fresh = False  # the Trainer has them
        runner.mode = "val"  # the epoch is counted already
        try:
            for hook in self._loggers:
                hook.after_train_epoch(runner)
        finally:
            runner.mode = mode


def overrides(module: pl.LightningModule, method: str) -> bool:
    """Tell whether a module has a method of its own."""
    return getattr(type(module), method) is not getattr(pl.LightningModule, method)


def _of_val(name: str) -> str:
    return name if name.startswith(("val_", "val/")) else f"val_{name}"


def _shown(numbers: Mapping[str, float], train: bool) -> dict[str, float]:
    """Choose what a progress bar has room for: losses and learning rates, or the first values of an evaluation."""
    if train:
        return {name: number for name, number in numbers.items() if "loss" in name or name.split("_")[0] == "lr"}
    values = [(name, number) for name, number in numbers.items() if name.removeprefix("val_") not in _OF_THE_CLOCK]
    return dict(values[:_SHOWN])


def _number(value: Any) -> float | None:
    """Give a number as a float, and None for what is no number."""
    if isinstance(value, torch.Tensor) and value.numel() != 1:
        return None
    if value is None or isinstance(value, (str, bytes)):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None

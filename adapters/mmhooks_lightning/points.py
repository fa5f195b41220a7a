"""Points: MMCV's ten points, fired from the callbacks of a Trainer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from torch.nn.parallel import DistributedDataParallel

from mmhooks.errors import ConfigError
from mmhooks.runner.base import Workflow
from mmhooks.runner.randomness import snapshot
from mmhooks.runner.registration import HookRegistration
from mmhooks_lightning.loaders import LazyLoader, limited_length, pass_length, shown
from mmhooks_lightning.logged import Logged
from mmhooks_lightning.module import HookedModule
from mmhooks_lightning.optimization import Stepping
from mmhooks_lightning.optimizers import check_schedulers
from mmhooks_lightning.placing import warn_of_last
from mmhooks_lightning.progress import validate_now
from mmhooks_lightning.runner import LightningRunner
from mmhooks_lightning.settings import fast_dev_run
from mmhooks_lightning.wrapped_loaders import adopt_reloaded
from mmhooks_lightning.wrapping import CallbackTable


class Points(pl.Callback, HookRegistration):
    """The part of a `HookCallback` that calls the hooks of its runner while a Trainer trains.

    Attributes:
        runner: what the hooks see.
        active: a run has begun and is not over.
    """

    runner: LightningRunner
    call_table: CallbackTable
    active: bool
    _stepping: Stepping
    _logged: Logged

    def _reset(self) -> None:
        self._train_loaders: list[LazyLoader] = []
        self._val_loaders: list[LazyLoader] = []
        self._flow: Workflow = [("train", 1)]
        self._validates = False  # the workflow says when
        self._finished = False
        # of train epochs: batches, the length that is in force in place of theirs, what hooks are shown as the loader,
        # and the first iteration of this one
        self._batches: float = 0
        self._shortened: float | None = None
        self._shown: Any = None
        self._first = 0
        # how far the flow of the workflow, and the val epoch, are
        self._in_flow = 0
        self._in_val = 0
        self._modes: dict[Any, bool] = {}
        self._wrapper: DistributedDataParallel | None = None
        self._exchanges = True

    # train points -----------------------------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """before_run; iteration-based, before_epoch too."""
        runner = self.runner
        runner.start()
        self._check_start(trainer, pl_module)
        self._modes = {module: module.training for module in pl_module.modules()}
        self.active = True
        wrapper = trainer.strategy.model
        if isinstance(pl_module, HookedModule) and isinstance(wrapper, DistributedDataParallel):
            self._wrapper = wrapper
        warn_of_last(trainer, self.call_table.shown_late, runner.logger)
        self._begin_run(trainer)
        self._logged.begin()
        self._go_on(trainer, pl_module)

    def _begin_run(self, trainer: pl.Trainer) -> None:
        runner = self.runner
        self._batches = trainer.fit_loop.max_batches
        self._set_max_iters(trainer)
        runner._announce(self._flow, runner.max_epochs if self.by_epoch else runner.max_iters)
        runner._before_run()

    def _go_on(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin with the first iteration, or where the file of a resumed run was saved."""
        runner = self.runner
        self._note_sources()
        (index, done), runner._start = runner._start, (0, 0)
        length = self._flow[0][1]
        self._in_flow = done % length if index == 0 else 0
        due = done >= length if index == 0 else done == 0
        if not self.by_epoch:
            self._make_endless()
            runner.call_hook("before_epoch")
            runner._phase, runner.inner_iter = "open", self._in_flow
            runner.data_loader = self._train_loaders[0].endless
            self._train_loaders[0].settle = runner._settle
            self._stop_at_max_iters(trainer)
        elif runner._in_epoch >= self._batches:
            # the file was saved after the last iteration of an epoch, and a Trainer has no epoch without one
            self._open_epoch(trainer, pl_module)
            runner.inner_iter = self._first - 1
            self._shown_pass(self._first)
            runner._settle()
            due = self._close_epoch()
            self._first = 0
            runner._resumed({"global_step": trainer.global_step})
        if self._is_over():  # nothing follows at which the rest of the file would be taken up
            self._take_up(trainer)
        elif due and self._validates:
            self._take_up(trainer)
            validate_now(trainer)

    def _take_up(self, trainer: pl.Trainer) -> None:
        """Set the random numbers, and all that a file has beside them, to where the run goes on."""
        runner = self.runner
        if not self.by_epoch:
            self._train_loaders[0].go_on()
        elif runner._due is not None:
            runner.data_loader = shown(self._train_loaders, trainer, self._batches)
            runner._take_up()

    def _note_sources(self) -> None:
        self.runner._sources = [loader.shown for loader in (*self._train_loaders, *self._val_loaders)]

    def _shown_pass(self, first: int) -> Iterator[Any]:
        """Begin the pass of a train epoch over what the Trainer takes its batches from."""
        runner = self.runner
        shown_loader, runner.data_loader = runner.data_loader, self._train_loaders[0].current
        try:
            return runner._open_pass(first)
        finally:
            runner.data_loader = shown_loader

    def _make_endless(self) -> None:
        runner = self.runner
        taken, runner._taken = [*runner._taken, (0, 0), (0, 0)], []
        self._first = taken[0][1]
        for index, (loader, at) in enumerate(zip(self._endless_loaders(), taken, strict=False)):
            loader.make_endless(*at, place=runner._place(index), logger=runner.logger)
        self._note_endless()

    def _endless_loaders(self) -> list[LazyLoader]:
        return [*self._train_loaders[:1], *(self._val_loaders[:1] if self._validates else ())]

    def _note_endless(self) -> None:
        if not self.by_epoch:  # for the files
            self.runner._loaders = [loader.endless for loader in self._endless_loaders()]

    def _is_over(self) -> bool:
        runner = self.runner
        done, limit = (runner.epoch, runner.max_epochs) if self.by_epoch else (runner.iter, runner.max_iters)
        return limit is not None and done >= limit

    def _check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        runner = self.runner
        batches = trainer.num_training_batches
        if isinstance(pl_module, HookedModule):
            for mode, loaders in (("train", self._train_loaders), ("val", self._val_loaders)):
                if len(loaders) > 1:
                    raise ConfigError(
                        f"a HookedModule has one {mode} loader, not {len(loaders)}: combine the data sets into one, "
                        "torch.utils.data.ConcatDataset([...])"
                    )
            if self.by_epoch and batches == float("inf"):
                raise ConfigError(
                    "this train loader has no length, so an epoch of it has no end: train by iterations with "
                    "HookCallback(by_epoch=False, max_iters=N)"
                )
        self._stepping.begin(runner, batches)
        check_schedulers(runner.hooks, trainer, pl_module)

    def _set_max_iters(self, trainer: pl.Trainer) -> None:
        if self.by_epoch:
            epochs, batches = self.runner.max_epochs, self._length_now(trainer)
            self.runner.max_iters = None if epochs is None or batches == float("inf") else epochs * int(batches)

    def _length_now(self, trainer: pl.Trainer) -> float:
        """Count the batches of an epoch: a hook may have changed the data set, or set another loader."""
        if len(self._train_loaders) == 1 and isinstance(trainer.lightning_module, HookedModule):
            found = pass_length(self._train_loaders[0], trainer.limit_train_batches)
            return self._batches if found is None else found
        return self._batches

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """before_train_epoch of an epoch-based run."""
        new = adopt_reloaded(trainer.fit_loop, self._train_loaders, endless=not self.by_epoch)
        if new or trainer.fit_loop.max_batches != self._shortened:  # somebody else has set it
            self._batches, self._shortened = trainer.fit_loop.max_batches, None
            self._note_endless()
        runner, batches = self.runner, self._batches
        if self.by_epoch:
            self._open_epoch(trainer, pl_module)
            batches = self._length_now(trainer)
            for loader in self._train_loaders[:1]:
                loader.first = self._first
                if isinstance(pl_module, HookedModule):  # of other modules the Trainer knows the place in an epoch
                    loader.open_pass, loader.settle = partial(self._shown_pass, self._first), runner._settle
                if loader.override is not None:
                    batches = limited_length(len(loader.override), trainer.limit_train_batches)
        elif not isinstance(pl_module, HookedModule) or self._first >= batches:
            self._first = 0
        if self._first or batches != self._batches:
            self._shortened = batches - self._first
            self._set_length(trainer, self._shortened)
        elif self._shortened is not None:
            self._shortened = None
            self._set_length(trainer, batches)
        if runner._reason is not None and trainer.fit_loop._can_stop_early:
            trainer.should_stop = False  # the epoch has its first iteration; `on_train_batch_end` sets it again

    def _open_epoch(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        runner = self.runner
        self._take_up(trainer)
        self._train_mode(pl_module)
        runner.mode = "train"
        runner._flow = (0, self._in_flow)
        loader = self._train_loaders[0] if self._train_loaders else None
        runner.data_loader = self._shown = shown(self._train_loaders, trainer, self._batches)
        if loader is not None:
            loader.override = None
        self._set_max_iters(trainer)
        self._logged.epoch_begins()
        self._note_sources()
        runner._began = snapshot(runner._sources)
        runner.call_hook("before_train_epoch")
        self._logged.epoch_has_begun()
        if loader is not None and runner.data_loader is not self._shown:
            loader.override = runner.data_loader
        self._first, runner._in_epoch = runner._in_epoch, 0
        runner.finished_in_epoch = self._first
        runner._phase = "open"

    def _set_length(self, trainer: pl.Trainer, batches: float) -> None:
        """Tell the Trainer how long this epoch is: a hook may have set another loader, a file may hold a part of it."""
        fit = trainer.fit_loop
        if batches == fit.max_batches or fit._combined_loader is None or fit._data_fetcher is None:
            return
        fit.max_batches = batches
        fit._combined_loader.limits = [batches]
        iter(fit._data_fetcher)  # made anew with the new length; no batch is taken yet

    def _train_mode(self, pl_module: pl.LightningModule) -> None:
        if isinstance(pl_module, HookedModule):
            self.runner.model.train()
        elif not pl_module.training:  # a hook left it in eval mode; parts that the user froze stay so
            for module, training in self._modes.items():
                module.training = training

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """before_train_iter."""
        runner = self.runner
        if self.by_epoch:
            if not runner._phase:  # the Trainer goes on in the middle of an epoch
                self._open_epoch(trainer, pl_module)
                runner.finished_in_epoch = batch_idx
            runner.inner_iter = batch_idx + self._first
        else:
            self._train_mode(pl_module)
            runner.mode = "train"
            loader = self._train_loaders[0]
            assert loader.endless is not None
            runner.data_loader = loader.endless
            runner.epoch = loader.epoch
            if self._in_flow == 0:
                runner.inner_iter, runner._flow = 0, (0, 0)
        runner.data_batch = batch
        runner.call_hook("before_train_iter")
        if self._wrapper is not None:
            self._exchanges = self._wrapper.require_backward_grad_sync

    def after_train_iter(self, module: HookedModule) -> None:
        """after_train_iter, called from the training step of a `HookedModule`."""
        with module.without_autocast():
            self._finish_iter()

    def _finish_iter(self) -> None:
        runner = self.runner
        runner._stepped = True
        runner.call_hook("after_train_iter")
        runner._stepped = False
        self._logged.iteration_ends()
        runner.data_batch = None
        runner.iter += 1
        runner.finished_in_epoch += 1
        if not self.by_epoch:
            runner.inner_iter += 1
            self._in_flow = (self._in_flow + 1) % self._flow[0][1]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """after_train_iter of an ordinary module; after_train_epoch when this was the last batch."""
        if self._wrapper is not None:
            # with manual optimization the Trainer leaves it off, and the buffers of the ranks would drift apart
            self._wrapper.require_forward_param_sync = self._exchanges
        if not isinstance(pl_module, HookedModule):
            self._logged.record(outputs, batch, "training_step", pl_module.automatic_optimization)
            self._finish_iter()
        if not self.by_epoch:
            self._stop_at_max_iters(trainer)
            tries_all = fast_dev_run(trainer) and trainer.is_last_batch
            self._validate_next(trainer, self._in_flow == 0 or tries_all)
            return
        if self.runner._reason is not None:
            trainer.should_stop = True
        stops = trainer.should_stop and trainer.fit_loop._can_stop_early
        if trainer.is_last_batch or stops:
            for loader in self._train_loaders:
                loader.exhaust()
            self._validate_next(trainer, self._close_epoch())
        else:
            self._validate_next(trainer, False)

    def _validate_next(self, trainer: pl.Trainer, due: bool) -> None:
        if self._validates:
            # the Trainer validates after a batch whose number this divides
            trainer.val_check_batch = 1 if due else sys.maxsize

    def _close_epoch(self) -> bool:
        """after_train_epoch.

        Returns:
            Whether the workflow validates now.
        """
        runner = self.runner
        self._logged.epoch_ends()
        runner._phase, runner._began, runner._pass = "closing", None, None
        runner.call_hook("after_train_epoch")
        runner._phase = ""
        self._logged.tell()
        runner.epoch += 1
        done, length = self._in_flow + 1, self._flow[0][1]
        self._in_flow = done % length
        due = done == length or self._is_over()
        runner._flow = (1, 0) if due and self._validates else (0, done)
        return due

    def _stop_at_max_iters(self, trainer: pl.Trainer) -> None:
        limit = self.runner.max_iters
        if limit is not None and self.runner.iter >= limit:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """after_train_epoch of an epoch that ended before its last batch."""
        self._first = 0
        if self.runner._phase == "open" and self.by_epoch and self._close_epoch() and self._validates:
            validate_now(trainer)  # as the Trainer does after a last batch; here the loader had fewer than it says
        if trainer.world_size > 1:  # a hook may have decided it by what one rank alone knows, an evaluation perhaps
            trainer.should_stop = trainer.strategy.reduce_boolean_decision(trainer.should_stop, all=False)
        self._logged.share()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """after_run; iteration-based, after_epoch first."""
        self._end_run()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """before_run and after_run of a run that was finished already: the Trainer has skipped it."""
        if self._finished:
            return
        self.runner.start()
        self._check_batches(trainer)
        self._begin_run(trainer)
        self._note_sources()
        if self.by_epoch:
            self._take_up(trainer)
        else:
            self._make_endless()
            self.runner.call_hook("before_epoch")
            self.runner.data_loader = next((loader.endless for loader in self._train_loaders), None)
            self.runner._settle()
        self._end_run()

    def _check_batches(self, trainer: pl.Trainer) -> None:
        """Refuse a run that the Trainer has skipped for want of data, not because it was finished."""
        if trainer.fit_loop.max_batches == 0 and trainer.limit_train_batches != 0 and not self._is_over():
            raise ConfigError("the train loader yields no batch: is its data set empty, or drop_last too much?")

    def _end_run(self) -> None:
        runner = self.runner
        if not self.by_epoch:
            runner._flow, runner._phase = (runner._flow[0], runner.inner_iter), ""
            runner.call_hook("after_epoch")
        self._logged.run_ends()
        runner.call_hook("after_run")
        self._finished = True
        self.active = False

    # val points -------------------------------------------------------------------------------------------

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """after_train_epoch, where a later callback has ended the epoch early: max_time does so."""
        is_open = self.active and self.by_epoch and self.runner._phase == "open"
        if is_open and trainer.should_stop and trainer.fit_loop._can_stop_early:
            with torch.enable_grad():
                self._train_mode(pl_module)
                self._close_epoch()
            pl_module.eval()

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """before_val_epoch of an epoch-based run."""
        if not self.active:
            return
        runner = self.runner
        endless = not self.by_epoch and self._validates
        if adopt_reloaded(trainer.fit_loop.epoch_loop.val_loop, self._val_loaders, endless):
            self._note_endless()
        runner.mode = "val"
        self._in_val = 0
        if self._validates:
            runner._flow = (1, 0)
        for loader in self._val_loaders[:1]:
            runner.data_loader = loader.shown if loader.endless is None else loader.endless
        if self.by_epoch:
            self._logged.val_begins()
            self._note_sources()
            runner._began = snapshot(runner._sources)
            runner.call_hook("before_val_epoch")
            if self._val_loaders:
                self._take_over_val_loader(trainer, self._val_loaders[0])
        self._logged.val_has_begun()

    def _take_over_val_loader(self, trainer: pl.Trainer, loader: LazyLoader) -> None:
        """See a loader that a hook has set in place of the Trainer's, of another length perhaps."""
        if self.runner.data_loader is not loader.shown:
            loader.override = self.runner.data_loader
        val = trainer.fit_loop.epoch_loop.val_loop
        wanted = pass_length(loader, trainer.limit_val_batches) if len(self._val_loaders) == 1 else None
        if wanted in (None, val._max_batches[0]) or val._combined_loader is None or val._data_fetcher is None:
            return
        val._max_batches = val._combined_loader.limits = [wanted]
        iter(val._data_fetcher)  # made anew with the new length; no batch is taken yet

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """before_val_iter."""
        if not self.active:
            return
        runner = self.runner
        runner.inner_iter = self._in_val
        if dataloader_idx:
            runner.data_loader = self._val_loaders[dataloader_idx].shown
        runner.data_batch = batch
        runner.call_hook("before_val_iter")

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """after_val_iter."""
        if not self.active:
            return
        runner = self.runner
        if not isinstance(pl_module, HookedModule):
            self._logged.record(outputs, batch, "validation_step", automatic=False)
        runner.call_hook("after_val_iter")
        runner.data_batch = None
        self._in_val += 1
        if not self.by_epoch:
            runner.inner_iter += 1

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """after_val_epoch of an epoch-based run."""
        if not self.active:
            return
        for loader in self._val_loaders:
            loader.exhaust()
            loader.override = None
        if not self._logged.ends_val_late:
            self._end_val_epoch()

    def _end_val_epoch(self) -> None:
        """after_val_epoch, when all that is logged in a val epoch has been."""
        self._logged.val_ends()
        if self.by_epoch:
            self.runner.call_hook("after_val_epoch")
            self.runner._began = None
        if self._validates:
            self._in_flow = 0
            self.runner._flow = (1, 1)
        self._logged.val_has_ended()
        self._logged.share()

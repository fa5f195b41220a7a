"""HookCallback: any number of hooks, in the order of their priorities, as one Lightning callback."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn

from mmhooks.errors import ConfigError, HookError
from mmhooks.hooks.updater import LrUpdaterHook
from mmhooks.runner import IterLoader
from mmhooks.runner.base import Workflow
from mmhooks.runner.checks import check_length
from mmhooks.runner.registration import HookRegistration
from mmhooks_lightning.checks import check_package, check_workflow
from mmhooks_lightning.loaders import LazyLoader, lazy, pass_length
from mmhooks_lightning.module import HookedModule
from mmhooks_lightning.optimization import Stepping
from mmhooks_lightning.outputs import ordinary_outputs
from mmhooks_lightning.runner import LightningRunner


class HookCallback(pl.Callback, HookRegistration):
    """Calls hooks at MMCV's ten points while a Trainer trains.

    With a `HookedModule` the numbers are those of the native runners. Attached to any other LightningModule,
    Lightning goes on to optimize it; an optimizer hook becomes Trainer settings.

    ``trainer.validate``, ``trainer.test`` and the sanity check call no hook: no run has begun then.

    Args:
        hooks: hooks, ``dict(type=...)`` configs, or ``(hook, priority)`` pairs.
        work_dir: the folder of checkpoints and logs; ``mmhooks`` in the Trainer's log folder by default.
        by_epoch: an epoch-based run, which ends at the Trainer's ``max_epochs``; otherwise an iteration-based
            one, which ends at ``max_iters``.
        max_iters: the length of an iteration-based run, in train batches.
        workflow: ``[("train", n)]`` or ``[("train", n), ("val", m)]``: in epochs (m must be 1), or in
            iterations. By default it is ``[("train", 1)]``, with ``("val", 1)`` where there is a val loader; an
            ordinary module validates when its Trainer says so.
        meta: plain values that are logged first and saved with every checkpoint.
        logger: where lines go; the logger ``mmhooks`` by default.

    Attributes:
        runner: what the hooks see.

    Raises:
        ConfigError: arguments that contradict each other.

    Example:
        >>> hooks = [(EMAHook(), "HIGH"), CheckpointHook(interval=1, max_keep_ckpts=3), MyHook()]
        >>> L.Trainer(callbacks=[HookCallback(hooks)]).fit(lit_module, loader)
    """

    def __init__(
        self,
        hooks: Sequence[Any] = (),
        *,
        work_dir: str | os.PathLike[str] | None = None,
        by_epoch: bool = True,
        max_iters: int | None = None,
        workflow: Workflow | None = None,
        meta: dict[str, Any] | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        if by_epoch and max_iters is not None:
            raise ConfigError(
                "HookCallback(max_iters=...) is for iteration-based runs: add by_epoch=False, or leave it out and "
                "say max_epochs to the Trainer"
            )
        if max_iters is not None:
            max_iters = check_length("HookCallback", "max_iters", max_iters)
        if workflow is not None:
            check_workflow(workflow, by_epoch)
        self.runner = LightningRunner(by_epoch, max_iters, work_dir, logger, meta)
        self.call_table = self.runner.call_table
        self.by_epoch = by_epoch
        self.workflow = workflow
        self.active = False
        self._stepping = Stepping()
        self._changed: dict[str, Any] = {}
        self._pre_hook: Any = None
        self._reset()
        for item in hooks:
            hook, priority = item if isinstance(item, tuple) else (item, "NORMAL")
            self.register_hook(hook, priority)

    def _reset(self) -> None:
        self._train_loaders: list[LazyLoader] = []
        self._val_loaders: list[LazyLoader] = []
        self._flow: Workflow = [("train", 1)]
        self._validates = False
        self._finished = False
        self._in_flow = 0
        self._in_val = 0
        self._epoch_open = False
        self._validated = False
        self._modes: dict[Any, bool] = {}
        self._kept_generators: list[tuple[torch.Generator, torch.Tensor]] = []

    def resume(self, checkpoint: str | os.PathLike[str]) -> None:
        """Let the next fit go on where a checkpoint was saved, by a native runner, by MMCV or under a Trainer.

        Args:
            checkpoint: the file. One that was saved under a Trainer may go to ``trainer.fit(ckpt_path=...)``.
        """
        self.runner._pending_resume = checkpoint

    # setting up -------------------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check what cannot work, and set what the run needs."""
        check_package(trainer)
        if sum(isinstance(callback, HookCallback) for callback in trainer.callbacks) > 1:  # type: ignore[attr-defined]
            raise HookError(
                "the Trainer has two HookCallbacks, whose hooks would not know each other's priorities: "
                "register all hooks on one"
            )
        self.runner.attach(trainer, pl_module)
        self._pre_hook = self.runner.model.register_load_state_dict_pre_hook(self.runner.drop_foreign_keys)  # type: ignore[no-untyped-call]
        if stage != "fit":
            return
        self._reset()
        if isinstance(pl_module, HookedModule):
            pl_module._bridge = self
        else:
            self._stepping.take_over(self.runner, trainer, pl_module)
        self._set_limits(trainer, pl_module)
        self._set_validation(trainer, pl_module)
        self._wrap_loaders(trainer, pl_module)

    def _set_limits(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.by_epoch:
            return
        if self.runner.max_iters is None:
            raise ConfigError("how long to train? Give HookCallback(by_epoch=False, max_iters=N)")
        loop = trainer.fit_loop
        if loop.min_epochs or loop.epoch_loop.min_steps:
            raise ConfigError(
                "Trainer(min_epochs=...) and Trainer(min_steps=...) would keep an iteration-based run from ending at "
                "max_iters: leave them out"
            )
        if loop.max_epochs == 1000:  # what the Trainer takes when nobody says max_epochs
            loop.max_epochs = -1

    def _set_validation(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Let the workflow say when the Trainer validates; an ordinary module without one keeps its settings."""
        if self.workflow is None and not isinstance(pl_module, HookedModule):
            return
        loader = trainer.enable_validation
        every = trainer.check_val_every_n_epoch
        if self.workflow is not None:
            self._flow = self.workflow
        elif self.by_epoch:
            self._flow = [("train", every or 1), ("val", 1)] if loader else [("train", 1)]
        elif loader:
            raise ConfigError(
                "an iteration-based run with a val loader must say how often to validate: "
                "HookCallback(..., workflow=[('train', 1000), ('val', 50)])"
            )
        if len(self._flow) == 1:
            if loader:  # the workflow does not want it
                self._change(trainer, "limit_val_batches", 0)
            return
        if not loader:
            raise ConfigError(
                f"the workflow {self._flow} validates, but the Trainer has no val loader: pass one to fit"
            )
        if not hasattr(self.runner.model, "val_step") and isinstance(pl_module, HookedModule):
            raise ConfigError(f"the workflow {self._flow} validates, but {self.runner.model_name} has no val_step")
        k = self._flow[0][1]
        time_based = getattr(trainer, "_val_check_time_interval", None) is not None
        if trainer.val_check_interval != 1.0 or time_based or every not in (1, None, k):
            raise ConfigError(
                f"the workflow {self._flow} says when to validate: leave val_check_interval and "
                "check_val_every_n_epoch out of the Trainer"
            )
        self._validates = True
        self._change(trainer, "check_val_every_n_epoch", 1 if self.by_epoch else None)

    def _change(self, trainer: pl.Trainer, setting: str, value: Any) -> None:
        """Change a setting of the Trainer until the fit is over."""
        self._changed[setting] = getattr(trainer, setting)
        setattr(trainer, setting, value)

    def _wrap_loaders(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        strategy: Any = trainer.strategy
        self._unwrap_loaders(trainer)
        process = strategy.process_dataloader
        hooked = isinstance(pl_module, HookedModule)
        sampler_is_ours = not trainer._accelerator_connector.use_distributed_sampler or trainer.world_size == 1

        def process_dataloader(loader: object) -> object:
            wrapped = lazy(process(loader), hide_sampler=hooked and sampler_is_ours)
            if trainer.training:
                self._train_loaders.append(wrapped)
                if not self.by_epoch and not wrapped.is_sized:
                    wrapped.length = self.runner.max_iters  # one pass that lasts for the whole run
            else:
                self._val_loaders.append(wrapped)
                if trainer.sanity_checking:  # which takes batches next
                    self._kept_generators += [(g, g.get_state()) for g in wrapped.generators()]
                if not self.by_epoch and self._validates:
                    wrapped.length = self._flow[1][1]  # a flow may be longer than a pass
            return wrapped

        # after the Trainer has put its sampler in, whatever the loader comes from
        strategy.process_dataloader = process_dataloader

    def _unwrap_loaders(self, trainer: pl.Trainer) -> None:
        vars(trainer.strategy).pop("process_dataloader", None)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the Trainer and the module as they were."""
        self._leave(trainer, pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the Trainer and the module as they were; after_run is not called."""
        self._leave(trainer, pl_module)

    def _leave(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.active = False
        self.runner.leave()
        if self._pre_hook is not None:
            self._pre_hook.remove()
        self._unwrap_loaders(trainer)
        for setting, value in self._changed.items():
            setattr(trainer, setting, value)
        self._changed = {}
        if isinstance(pl_module, HookedModule):
            pl_module._bridge = None

    # the sanity check draws no random numbers --------------------------------------------------------------

    def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the loaders' own generators back, the global one is kept by the Trainer; let workers start anew."""
        for loader in self._val_loaders:
            loader.end_workers()
        for generator, state in self._kept_generators:
            generator.set_state(state)

    # train points -----------------------------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """before_run; iteration-based, before_epoch too."""
        runner = self.runner
        runner.start()
        self._check_start(trainer, pl_module)
        self._modes = {module: module.training for module in pl_module.modules()}
        self.active = True
        self._begin_run(trainer)
        if not self.by_epoch:
            for loader in (*self._train_loaders, *(self._val_loaders if self._validates else ())):
                loader.endless = IterLoader(loader.source)
            runner.call_hook("before_epoch")
            self._stop_at_max_iters(trainer)

    def _begin_run(self, trainer: pl.Trainer) -> None:
        runner = self.runner
        self._set_max_iters(trainer)
        runner._announce(self._flow, runner.max_epochs if self.by_epoch else runner.max_iters)
        runner._before_run()

    def _check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        runner = self.runner
        batches = trainer.num_training_batches
        if isinstance(pl_module, HookedModule):
            if len(self._train_loaders) > 1:
                raise ConfigError("a HookedModule trains on one train loader; combine the data sets into one")
            if self.by_epoch and batches == float("inf"):
                raise ConfigError(
                    "this train loader has no length, so an epoch of it has no end: train by iterations with "
                    "HookCallback(by_epoch=False, max_iters=N)"
                )
        self._stepping.check_epoch_length(batches)
        updaters = [type(hook).__name__ for hook in runner.hooks if isinstance(hook, LrUpdaterHook)]
        if updaters and trainer.lr_scheduler_configs:
            raise HookError(
                f"{' and '.join(updaters)} and the schedulers of {type(pl_module).__name__}.configure_optimizers() "
                "would both set the lr: keep one"
            )

    def _set_max_iters(self, trainer: pl.Trainer) -> None:
        if self.by_epoch:
            loaders = self._train_loaders
            # as it is now: a hook may have changed the data set, or set another loader for the epoch before
            one = pass_length(loaders[0], trainer.limit_train_batches) if len(loaders) == 1 else None
            epochs, batches = self.runner.max_epochs, trainer.num_training_batches if one is None else one
            self.runner.max_iters = None if epochs is None or batches == float("inf") else epochs * int(batches)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """before_train_epoch of an epoch-based run."""
        if not self.by_epoch:
            return
        runner = self.runner
        self._train_mode(pl_module)
        runner.mode = "train"
        loader = self._train_loaders[0] if self._train_loaders else None
        if loader is not None:
            loader.override = None
            runner.data_loader = loader.source
        self._set_max_iters(trainer)
        self._epoch_open = True
        self._validated = False
        runner.call_hook("before_train_epoch")
        if loader is not None:
            self._take_over_loader(trainer, loader)
        if runner.stop_reason is not None:
            trainer.should_stop = False  # the epoch has its first iteration; `on_train_batch_end` sets it again

    def _take_over_loader(self, trainer: pl.Trainer, loader: LazyLoader) -> None:
        """See a loader that a hook has set in place of the Trainer's, or one that has another length now."""
        if self.runner.data_loader is not loader.source:
            loader.override = self.runner.data_loader
        fit = trainer.fit_loop
        wanted = pass_length(loader, trainer.limit_train_batches) if len(self._train_loaders) == 1 else None
        if wanted in (None, fit.max_batches) or fit._combined_loader is None or fit._data_fetcher is None:
            return
        fit.max_batches = wanted
        fit._combined_loader.limits = [wanted]
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
            runner.inner_iter = batch_idx
        else:
            self._train_mode(pl_module)
            runner.mode = "train"
            loader = self._train_loaders[0]
            assert loader.endless is not None
            runner.data_loader = loader.endless
            runner.epoch = loader.epoch
            if self._in_flow == 0:
                runner.inner_iter = 0
        runner.data_batch = batch
        runner.call_hook("before_train_iter")

    def after_train_iter(self, module: HookedModule) -> None:
        """after_train_iter, called from the training step of a `HookedModule`."""
        with module.without_autocast():
            self._finish_iter()

    def _finish_iter(self) -> None:
        runner = self.runner
        runner._stepped = not self.by_epoch
        runner.call_hook("after_train_iter")
        runner._stepped = False
        runner.data_batch = None
        runner.iter += 1
        if not self.by_epoch:
            runner.inner_iter += 1
            self._in_flow = (self._in_flow + 1) % self._flow[0][1]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """after_train_iter of an ordinary module; after_train_epoch when this was the last batch."""
        runner = self.runner
        if not isinstance(pl_module, HookedModule):
            runner._record(ordinary_outputs(outputs, batch), "training_step")
            self._finish_iter()
        if not self.by_epoch:
            self._stop_at_max_iters(trainer)
            self._validate_next(trainer, self._in_flow == 0)
            return
        if runner.stop_reason is not None:
            trainer.should_stop = True
        stops = trainer.should_stop and trainer.fit_loop._can_stop_early
        if trainer.is_last_batch or stops:
            for loader in self._train_loaders:
                loader.exhaust()
            self._validate_next(trainer, self._end_train_epoch())
        else:
            self._validate_next(trainer, False)

    def _validate_next(self, trainer: pl.Trainer, due: bool) -> None:
        if self._validates:
            # the Trainer validates after a batch whose number this divides
            trainer.val_check_batch = 1 if due else sys.maxsize

    def _end_train_epoch(self) -> bool:
        """after_train_epoch; tell whether the workflow goes on to validation."""
        runner = self.runner
        runner.at_epoch_end = True
        try:
            runner.call_hook("after_train_epoch")
        finally:
            runner.at_epoch_end = False
        runner.epoch += 1
        self._epoch_open = False
        limit = runner.max_epochs
        self._in_flow = (self._in_flow + 1) % self._flow[0][1]
        return self._in_flow == 0 or (limit is not None and runner.epoch >= limit)

    def _stop_at_max_iters(self, trainer: pl.Trainer) -> None:
        limit = self.runner.max_iters
        if limit is not None and self.runner.iter >= limit:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """after_train_epoch, and the val epoch if it is due, of an epoch that ended before its last batch."""
        if self._epoch_open and self._end_train_epoch() and self._validates and not self._validated:
            trainer.validating = True  # as the Trainer does after a last batch; here the loader had fewer than it says
            trainer.fit_loop.epoch_loop.val_loop.run()
            trainer.training = True

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
        if not self.by_epoch:
            self.runner.call_hook("before_epoch")
        self._end_run()

    def _check_batches(self, trainer: pl.Trainer) -> None:
        """Refuse a run that the Trainer has skipped for want of data, not because it was finished."""
        runner = self.runner
        done, length = (runner.epoch, runner.max_epochs) if self.by_epoch else (runner.iter, runner.max_iters)
        if trainer.fit_loop.max_batches == 0 and trainer.limit_train_batches != 0 and (length is None or done < length):
            raise ConfigError("the train loader yields no batch: is its data set empty, or drop_last too much?")

    def _end_run(self) -> None:
        if not self.by_epoch:
            self.runner.call_hook("after_epoch")
        self.runner.call_hook("after_run")
        self._finished = True
        self.active = False

    # val points -------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """before_val_epoch of an epoch-based run."""
        if not self.active:
            return
        runner = self.runner
        runner.mode = "val"
        self._validated = True
        self._in_val = 0
        if self._val_loaders:
            endless = self._val_loaders[0].endless
            runner.data_loader = self._val_loaders[0].source if endless is None else endless
        if self.by_epoch:
            runner.call_hook("before_val_epoch")
            if self._val_loaders:
                self._take_over_val_loader(trainer, self._val_loaders[0])

    def _take_over_val_loader(self, trainer: pl.Trainer, loader: LazyLoader) -> None:
        if self.runner.data_loader is not loader.source:
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
            runner._record(ordinary_outputs(outputs, batch), "validation_step")
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
        if self.by_epoch:
            self.runner.call_hook("after_val_epoch")

    # checkpoints ------------------------------------------------------------------------------------------

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Make every file of a run one that a native runner can resume too."""
        if self.active or self._finished:
            self.runner.add_to_checkpoint(checkpoint)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take meta and the hooks' states from the file that a fit resumes."""
        if trainer.state.fn == TrainerFn.FITTING:
            self.runner.take_from_checkpoint(checkpoint)

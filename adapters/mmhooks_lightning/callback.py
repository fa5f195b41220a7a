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
from torch.nn.parallel import DistributedDataParallel

from mmhooks.errors import ConfigError, HookError
from mmhooks.hooks.updater import LrUpdaterHook
from mmhooks.runner import IterLoader
from mmhooks.runner.base import Workflow
from mmhooks.runner.checks import check_length
from mmhooks.runner.registration import HookRegistration
from mmhooks_lightning.checks import check_alone, check_hooks, check_package, check_workflow
from mmhooks_lightning.loaders import LazyLoader, limited_length
from mmhooks_lightning.module import HookedModule
from mmhooks_lightning.optimization import Stepping
from mmhooks_lightning.outputs import ordinary_outputs
from mmhooks_lightning.runner import ForeignKeys, LightningRunner
from mmhooks_lightning.settings import TrainerSettings, check_prediction, fast_dev_run, monitors
from mmhooks_lightning.wrapping import adopt_reloaded, unwrap_loaders, wrap_loaders


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
        self._settings = TrainerSettings()
        self._pre_hook: Any = None
        self._reset()
        for hook, priority in check_hooks(hooks):
            self.register_hook(hook, priority)

    def _reset(self) -> None:
        self._train_loaders: list[LazyLoader] = []
        self._val_loaders: list[LazyLoader] = []
        self._flow: Workflow = [("train", 1)]
        self._validates = False
        self._finished = False
        self._batches: float = 0
        self._in_flow = 0
        self._in_val = 0
        self._epoch_open = False
        self._modes: dict[Any, bool] = {}
        self._wrapper: DistributedDataParallel | None = None
        self._exchanges = True
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
        check_alone(trainer, HookCallback)
        runner = self.runner
        runner.attach(trainer, pl_module)
        self._pre_hook = runner.model.register_load_state_dict_pre_hook(ForeignKeys(runner))  # type: ignore[no-untyped-call]
        hooked = isinstance(pl_module, HookedModule)
        if stage == "predict":
            check_prediction(pl_module, runner.model)
        if stage != "fit":
            return
        self._reset()
        if isinstance(pl_module, HookedModule):
            pl_module._bridge = self
            pl_module.logs_values = monitors(trainer)
        else:
            self._stepping.take_over(runner, trainer, pl_module)
        self._flow = self._settings.prepare(trainer, runner, self.workflow, hooked)
        self._validates = len(self._flow) > 1
        wrap_loaders(trainer, runner, self._flow, hooked, self._train_loaders, self._val_loaders)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the Trainer and the module as they were."""
        self._leave(trainer, pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the Trainer and the module as they were; after_run is not called."""
        self._leave(trainer, pl_module)

    def _leave(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.active = False
        self._wrapper = None
        self.runner.leave()
        if self._pre_hook is not None:
            self._pre_hook.remove()
        unwrap_loaders(trainer)
        self._settings.restore()
        if isinstance(pl_module, HookedModule):
            pl_module._bridge = None

    # the sanity check draws no random numbers --------------------------------------------------------------

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the loaders' own generators; the global one is kept by the Trainer."""
        self._kept_generators = [(g, g.get_state()) for loader in self._val_loaders for g in loader.generators()]

    def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the loaders' own generators back."""
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
        wrapper = trainer.strategy.model
        if isinstance(pl_module, HookedModule) and isinstance(wrapper, DistributedDataParallel):
            self._wrapper = wrapper
        runner.data_loader = self._train_loaders[0].shown if self._train_loaders else None
        self._batches = trainer.fit_loop.max_batches
        self._set_max_iters(trainer)
        runner._announce(self._flow, runner.max_epochs if self.by_epoch else runner.max_iters)
        runner._before_run()
        if not self.by_epoch:
            for loader in (*self._train_loaders, *(self._val_loaders if self._validates else ())):
                loader.endless = IterLoader(loader.shown)
            runner.call_hook("before_epoch")
            self._stop_at_max_iters(trainer)

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
        self._stepping.check_epoch_length(batches)
        updaters = [type(hook).__name__ for hook in runner.hooks if isinstance(hook, LrUpdaterHook)]
        if updaters and trainer.lr_scheduler_configs:
            raise HookError(
                f"{' and '.join(updaters)} and the schedulers of {type(pl_module).__name__}.configure_optimizers() "
                "would both set the lr: keep one"
            )

    def _set_max_iters(self, trainer: pl.Trainer) -> None:
        if self.by_epoch:
            epochs, batches = self.runner.max_epochs, trainer.num_training_batches
            self.runner.max_iters = None if epochs is None or batches == float("inf") else epochs * int(batches)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """before_train_epoch of an epoch-based run."""
        if adopt_reloaded(trainer.fit_loop, self._train_loaders, endless=not self.by_epoch):
            self._batches = trainer.fit_loop.max_batches
        if not self.by_epoch:
            return
        runner = self.runner
        self._train_mode(pl_module)
        runner.mode = "train"
        loader = self._train_loaders[0] if self._train_loaders else None
        if loader is not None:
            loader.override = None
            runner.data_loader = loader.shown
        self._set_max_iters(trainer)
        self._epoch_open = True
        runner.call_hook("before_train_epoch")
        if loader is not None:
            self._take_over_loader(trainer, loader)

    def _take_over_loader(self, trainer: pl.Trainer, loader: LazyLoader) -> None:
        """See a loader that a hook has set in place of the Trainer's, of another length perhaps."""
        if self.runner.data_loader is not loader.shown:
            loader.override = self.runner.data_loader
        fit = trainer.fit_loop
        wanted = self._batches
        if loader.override is not None:
            wanted = limited_length(len(loader.override), trainer.limit_train_batches)
        if wanted == fit.max_batches or fit._combined_loader is None or fit._data_fetcher is None:
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
        if self._wrapper is not None:
            self._exchanges = self._wrapper.require_backward_grad_sync

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
        if self._wrapper is not None:
            # with manual optimization the Trainer leaves it off, and the buffers of the ranks would drift apart
            self._wrapper.require_forward_param_sync = self._exchanges
        if not isinstance(pl_module, HookedModule):
            runner._record(ordinary_outputs(outputs, batch), "training_step")
            self._finish_iter()
        if not self.by_epoch:
            self._stop_at_max_iters(trainer)
            tries_all = fast_dev_run(trainer) and trainer.is_last_batch
            self._validate_next(trainer, self._in_flow == 0 or tries_all)
            return
        stops = trainer.should_stop and trainer.fit_loop._can_stop_early
        if trainer.is_last_batch or stops:
            for loader in self._train_loaders:
                loader.exhaust()
            self._end_train_epoch()
            limit = runner.max_epochs
            self._in_flow = (self._in_flow + 1) % self._flow[0][1]
            self._validate_next(trainer, self._in_flow == 0 or (limit is not None and runner.epoch >= limit))
        else:
            self._validate_next(trainer, False)

    def _validate_next(self, trainer: pl.Trainer, due: bool) -> None:
        if self._validates:
            # the Trainer validates after a batch whose number this divides
            trainer.val_check_batch = 1 if due else sys.maxsize

    def _end_train_epoch(self) -> None:
        runner = self.runner
        runner.at_epoch_end = True
        try:
            runner.call_hook("after_train_epoch")
        finally:
            runner.at_epoch_end = False
        runner.epoch += 1
        self._epoch_open = False

    def _stop_at_max_iters(self, trainer: pl.Trainer) -> None:
        limit = self.runner.max_iters
        if limit is not None and self.runner.iter >= limit:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """after_train_epoch of an epoch that ended before its last batch."""
        if self._epoch_open:
            self._end_train_epoch()
        if trainer.world_size > 1:  # a hook may have decided it by what one rank alone knows, an evaluation perhaps
            trainer.should_stop = trainer.strategy.reduce_boolean_decision(trainer.should_stop, all=False)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """after_run; iteration-based, after_epoch first."""
        self._end_run()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """before_run and after_run of a run that was finished already: the Trainer has skipped it."""
        if self._finished:
            return
        self.runner.start()
        self.runner._before_run()
        if not self.by_epoch:
            self.runner.call_hook("before_epoch")
        self._end_run()

    def _end_run(self) -> None:
        if not self.by_epoch:
            self.runner.call_hook("after_epoch")
        self.runner.call_hook("after_run")
        self._finished = True
        self.active = False

    # val points -------------------------------------------------------------------------------------------

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """after_train_epoch, where a later callback has ended the epoch early: max_time does so."""
        if self.active and self._epoch_open and trainer.should_stop and trainer.fit_loop._can_stop_early:
            with torch.enable_grad():
                self._train_mode(pl_module)
                self._end_train_epoch()
            pl_module.eval()

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """before_val_epoch of an epoch-based run."""
        if not self.active:
            return
        runner = self.runner
        adopt_reloaded(
            trainer.fit_loop.epoch_loop.val_loop, self._val_loaders, endless=not self.by_epoch and self._validates
        )
        runner.mode = "val"
        self._in_val = 0
        if self._val_loaders:
            endless = self._val_loaders[0].endless
            runner.data_loader = self._val_loaders[0].shown if endless is None else endless
        if self.by_epoch:
            runner.call_hook("before_val_epoch")
            if self._val_loaders and runner.data_loader is not self._val_loaders[0].shown:
                self._val_loaders[0].override = runner.data_loader

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """before_val_iter."""
        if not self.active:
            return
        runner = self.runner
        if dataloader_idx and batch_idx == 0:
            runner.data_loader = self._val_loaders[dataloader_idx].shown
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

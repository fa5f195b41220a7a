"""HookCallback: any number of hooks, in the order of their priorities, as one Lightning callback."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.trainer.states import TrainerFn

from mmhooks.errors import ConfigError
from mmhooks.runner.base import Workflow
from mmhooks.runner.checks import check_length
from mmhooks_lightning.checks import check_alone, check_hooks, check_package, check_workflow
from mmhooks_lightning.files import takes_all
from mmhooks_lightning.logged import Logged
from mmhooks_lightning.module import HookedModule
from mmhooks_lightning.optimization import Stepping
from mmhooks_lightning.points import Points
from mmhooks_lightning.runner import (
    EpochBasedLightningRunner,
    ForeignKeys,
    IterBasedLightningRunner,
    LightningRunner,
)
from mmhooks_lightning.settings import TrainerSettings, check_prediction
from mmhooks_lightning.wrapped_loaders import unwrap_loaders, wrap_loaders
from mmhooks_lightning.wrapping import CallbackTable


class HookCallback(Points):
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
        kind = EpochBasedLightningRunner if by_epoch else IterBasedLightningRunner
        self.runner: LightningRunner = kind(by_epoch, max_iters, work_dir, logger, meta)
        self.call_table: CallbackTable = self.runner.call_table
        self.by_epoch = by_epoch
        self.workflow = workflow
        self.active = False
        self._stepping = Stepping()
        self._logged = Logged(self.runner)
        self._settings = TrainerSettings()
        self._pre_hook: Any = None
        self._reset()
        for hook, priority in check_hooks(hooks):
            self.register_hook(hook, priority)

    def resume(self, checkpoint: str | os.PathLike[str]) -> None:
        """Let the next fit go on where a checkpoint was saved, by a native runner, by MMCV or under a Trainer.

        Args:
            checkpoint: the file. It may go to ``trainer.fit(ckpt_path=...)`` instead, which wants its weights to fit
                exactly.
        """
        self.runner._pending_resume = checkpoint

    @property
    def callbacks(self) -> list[pl.Callback]:
        """This callback and stand-ins of those that are wrapped by `as_hook`, for ``Trainer(callbacks=...)``.

        ``callbacks=[bridge]`` does too, where the Trainer need not know the wrapped ones before its first fit. With
        ``callbacks=bridge.callbacks`` a first ``trainer.fit(ckpt_path="last")`` finds the files of a wrapped
        ModelCheckpoint (or OnExceptionCheckpoint), a wrapped Timer lifts the limit of 1000 epochs, and what forked
        processes have trained brings its ``best_model_path`` back.
        """
        return [self, *(hook.stand_in for hook in self.call_table.wrapped)]

    # setting up -------------------------------------------------------------------------------------------

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check what cannot work, and set what the run needs."""
        check_package(trainer)
        check_alone(trainer, HookCallback)
        runner = self.runner
        runner.attach(trainer, pl_module)
        self._pre_hook = runner.model.register_load_state_dict_pre_hook(ForeignKeys(runner))  # type: ignore[no-untyped-call]
        strategy: Any = trainer.strategy
        vars(strategy).pop("load_checkpoint", None)
        strategy.load_checkpoint = takes_all(strategy.load_checkpoint, runner.model)
        if stage == "predict":
            check_prediction(pl_module, runner.model)
        if stage == "fit":
            self._set_up_fit(trainer, pl_module)
        self.call_table.set_up(self, trainer, pl_module, stage)

    def _set_up_fit(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._reset()
        runner = self.runner
        if isinstance(pl_module, HookedModule):
            pl_module._bridge = self
        else:
            self._stepping.take_over(runner, trainer, pl_module)
        self._logged.attach(trainer, pl_module, self._end_val_epoch)
        self._flow = self._settings.prepare(trainer, runner, self.workflow, pl_module)
        self._validates = len(self._flow) > 1
        hooked = isinstance(pl_module, HookedModule)
        wrap_loaders(trainer, runner, self._flow, hooked, self._train_loaders, self._val_loaders)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the Trainer and the module as they were."""
        self._leave(trainer, pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the Trainer and the module as they were; after_run is not called."""
        self.runner.note_position(self.active)  # a callback may save a file now
        self._leave(trainer, pl_module)

    def _leave(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.active = False
        self._wrapper = None
        self._logged.leave()
        self._stepping.give_back(self.runner)
        self.runner.leave()
        self.call_table.leave(self)
        if self._pre_hook is not None:
            self._pre_hook.remove()
        unwrap_loaders(trainer)
        vars(trainer.strategy).pop("load_checkpoint", None)
        self._settings.restore()
        if isinstance(pl_module, HookedModule):
            pl_module._bridge = None

    # the sanity check draws no random numbers --------------------------------------------------------------

    def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the loaders' own generators back, the global one is kept by the Trainer; let workers start anew."""
        for loader in self._val_loaders:
            loader.end_workers()
            loader.restore_generators()

    # checkpoints ------------------------------------------------------------------------------------------

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Make every file of a run one that a native runner can resume too."""
        if self.active or self._finished or self.runner.interrupted:
            self.runner.add_to_checkpoint(checkpoint)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take meta and the hooks' states from the file that a fit resumes."""
        if trainer.state.fn == TrainerFn.FITTING:
            self.runner.take_from_checkpoint(checkpoint)

"""LightningRunner: the seam of the hooks, driven by a Trainer."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import nn

from mmhooks.checkpoint import get_state_dict, place_for, telling_failures
from mmhooks.checkpoint.storage import StorageOptions
from mmhooks.errors import HookError
from mmhooks.runner import BaseRunner
from mmhooks_lightning.module import HookedModule

T = TypeVar("T")


class LightningRunner(BaseRunner):
    """A runner without a loop: a Trainer drives it through a `HookCallback`.

    It keeps MMCV's own counters, since the Trainer's advance at other moments.

    Args:
        by_epoch: an epoch-based run; otherwise an iteration-based one.
        max_iters: the length of an iteration-based run.
        work_dir: see `BaseRunner`; by default ``mmhooks`` in the Trainer's log folder.
        logger: see `BaseRunner`.
        meta: see `BaseRunner`.
    """

    def __init__(
        self,
        by_epoch: bool = True,
        max_iters: int | None = None,
        work_dir: str | os.PathLike[str] | None = None,
        logger: logging.Logger | None = None,
        meta: dict[str, Any] | None = None,
    ) -> None:
        self._init_state(work_dir, logger, meta)
        self.by_epoch = by_epoch
        self.max_unit = "epochs" if by_epoch else "iters"
        self.batch_processor = None
        self.optimizer: Any = None
        self.max_iters = max_iters
        self._trainer: pl.Trainer | None = None
        self._pending_resume: str | os.PathLike[str] | None = None
        self._saving: dict[str, Any] | None = None

    # the Trainer ------------------------------------------------------------------------------------------

    @property
    def trainer(self) -> pl.Trainer:
        """The Trainer of the current fit."""
        if self._trainer is None:
            raise HookError("this runner has no Trainer yet: pass its HookCallback to L.Trainer(callbacks=[...])")
        return self._trainer

    @property
    def module(self) -> pl.LightningModule:
        """The LightningModule of the current fit."""
        return self.trainer.lightning_module

    @property
    def max_epochs(self) -> int | None:  # the Trainer has it
        """The length of the run in epochs, where it has one."""
        limit = self.trainer.fit_loop.max_epochs if self._trainer is not None and self.by_epoch else None
        return None if limit is None or limit < 0 else limit

    @max_epochs.setter
    def max_epochs(self, limit: int | None) -> None:  # a hook may move the end of the run
        self.trainer.fit_loop.max_epochs = -1 if limit is None else limit

    def attach(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take the model of a fit; the optimizers follow when the Trainer has set them up."""
        self._trainer = trainer
        self._unclaimed = {}  # what an earlier fit or test has left belongs to its file
        self.model = module.model if isinstance(module, HookedModule) else module

    def start(self) -> None:
        """Take the optimizers and the counters when training begins."""
        if isinstance(self.module, HookedModule):
            self.optimizer = self._named(self.module, self.module.optimizers())
            for one in self.optimizer.values() if isinstance(self.optimizer, dict) else [self.optimizer]:
                if isinstance(one, LightningOptimizer):  # its own would keep the state to itself, and step without it
                    one.load_state_dict = one.optimizer.load_state_dict  # type: ignore[attr-defined]
        else:
            optimizers = self.trainer.optimizers
            self.optimizer = optimizers[0] if len(optimizers) == 1 else {str(i): o for i, o in enumerate(optimizers)}
        loop = self.trainer.fit_loop
        self.epoch = loop.epoch_progress.current.processed if self.by_epoch else 0  # type: ignore[attr-defined]
        self.iter = loop.epoch_loop.batch_progress.total.ready
        self.inner_iter = 0
        if self.work_dir is None:
            self.work_dir = str(Path(self.trainer.log_dir or self.trainer.default_root_dir, "mmhooks").absolute())
        Path(self.work_dir).mkdir(parents=True, exist_ok=True)
        if self._pending_resume is not None:
            path, self._pending_resume = self._pending_resume, None
            self.resume(path)

    def _named(self, module: HookedModule, optimizers: Any) -> Any:
        # the Trainer's wrappers, not the raw optimizers: a step that train_step takes is counted too
        if module.optimizer_names is None:
            return None if isinstance(optimizers, list) and not optimizers else optimizers
        several = optimizers if isinstance(optimizers, list) else [optimizers]
        return dict(zip(module.optimizer_names, several, strict=True))

    # services ---------------------------------------------------------------------------------------------

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of a loss through the Trainer's strategy and precision."""
        self.module.manual_backward(loss)

    def clip_grads(self, parameters: Iterable[nn.Parameter], **grad_clip: Any) -> torch.Tensor | None:
        """Clip as a native runner does; refused where a scaler has made the gradients larger."""
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            raise HookError(
                f"grad_clip under Trainer(precision={self.trainer.precision!r}) would clip scaled gradients: "
                "use precision='bf16-mixed' or '32-true', or leave grad_clip out"
            )
        return super().clip_grads(parameters, **grad_clip)

    def check_amp(self, hook: str, scales: bool) -> None:
        """Refuse mixed precision of a hook's own beside the Trainer's, and where the steps cannot be left out."""
        precision = self.trainer.precision
        if precision not in ("32-true", "64-true"):
            raise HookError(
                f"{hook} and Trainer(precision={precision!r}) would both bring mixed precision: keep the hook with "
                "Trainer(precision='32-true'), which gives a native run's numbers, or keep the Trainer's precision "
                "and replace the hook by OptimizerHook or GradientCumulativeOptimizerHook"
            )
        if scales and any(getattr(one, "_step_supports_amp_scaling", False) for one in self.trainer.optimizers):
            raise HookError(
                f"{hook} cannot tell a fused optimizer under a Trainer to leave a step out: build the optimizer with "
                "fused=False, or use dtype='bf16'"
            )

    def no_sync(self) -> contextlib.AbstractContextManager[Any]:
        """Give a context in which backward does not exchange gradients between processes."""
        no_sync = getattr(self.trainer.strategy.model, "no_sync", None)
        return no_sync() if no_sync is not None else contextlib.nullcontext()

    def agree(self, value: T) -> T:
        """Give rank 0's value, since saving takes all ranks; every rank must call it."""
        return self.trainer.strategy.broadcast(value)

    def stop(self, reason: str) -> None:
        """End the run after the current iteration, by ``trainer.should_stop``."""
        super().stop(reason)
        self.trainer.should_stop = True

    # checkpoints ------------------------------------------------------------------------------------------

    @property
    def writes_files(self) -> bool:  # type: ignore[override]  # the Trainer knows
        """Whether `save_checkpoint` writes anything: not under fast_dev_run."""
        return not getattr(self.trainer, "fast_dev_run", False)

    def _write_checkpoint(
        self, path: str, save_optimizer: bool, meta: dict[str, Any] | None, storage_options: StorageOptions
    ) -> None:
        if not self.writes_files:
            self.logger.info("fast_dev_run: %s is not written", path)
            return
        self._saving = {"save_optimizer": save_optimizer, "meta": meta}
        try:
            with telling_failures(path), place_for(path, storage_options) as (temporary, finish):
                # collective: every rank comes here, rank 0 (or each, when sharded) writes
                self.trainer.save_checkpoint(temporary, weights_only=False)
                if self.trainer.is_global_zero:
                    finish()
        finally:
            self._saving = None
        self.trainer.strategy.barrier("mmhooks.save_checkpoint")

    def add_to_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put what a native runner's file holds beside what the Trainer saves.

        A file that a hook saves in the middle of the Trainer's loop also gets counters that are true at that
        point; the Trainer would repeat or skip a step otherwise.
        """
        checkpoint.update(self.checkpoint_extras(**(self._saving or {})))
        if isinstance(self.module, HookedModule):
            _complete(checkpoint["state_dict"], self.model)
        if self._saving is not None:
            settle_progress(checkpoint["loops"]["fit_loop"], at_epoch_end=self.at_epoch_end)

    #: True while the points at the end of a train epoch are called.
    at_epoch_end = False

    def _progress(self) -> tuple[int, int, int]:
        if self._saving is not None:
            return super()._progress()
        return self.epoch, self.iter, self.iter  # a callback of Lightning's own saves between our points

    def take_from_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Take what the Trainer does not restore from a file that is being resumed."""
        if "meta" in checkpoint:
            self.meta = dict(checkpoint["meta"])
        self._hook_states = dict(checkpoint.get("mmhooks", {}).get("hooks", {}))

    def drop_foreign_keys(self, module: nn.Module, state: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take out of a state dict what only hooks, or MMCV's files, put there; a strict load goes through then.

        Averages of an EMAHook are kept for it (see `claim`): its buffers do not exist yet.
        """
        own = module.state_dict(prefix=prefix, keep_vars=True)
        buffers = {prefix + name for name, _ in module.named_buffers()}
        for key in [key for key in state if key.startswith(prefix) and key not in own]:
            name = key[len(prefix) :]
            if name.startswith("ema_"):
                self._unclaimed[name] = state.pop(key)
            elif key in buffers:
                del state[key]

    def _load_optimizer_state(self, state: Any) -> None:
        # into the raw optimizers: a state loaded into the Trainer's wrappers would shadow the real lr
        raw = self.trainer.optimizers
        states = list(state.values()) if isinstance(self.optimizer, Mapping) else [state]
        for optimizer, own in zip(raw, states, strict=True):
            optimizer.load_state_dict(own)

    def _resumed(self, content: dict[str, Any]) -> None:
        """Move the Trainer's counters to where the run goes on."""
        loop = self.trainer.fit_loop
        epoch = self.epoch if self.by_epoch else 0
        for tracker, number in (
            (loop.epoch_progress.current, epoch),
            (loop.epoch_progress.total, epoch),
            (loop.epoch_loop.batch_progress.total, self.iter),
            (loop.epoch_loop.manual_optimization.optim_step_progress.total, content.get("global_step", self.iter)),
        ):
            for name in vars(tracker):  # ready, started, processed, completed, as far as it has them
                setattr(tracker, name, number)


def _complete(state: dict[str, Any], model: nn.Module) -> None:
    """Add the buffers that are not persistent, and bring the names into the order of MMCV's files."""
    buffers = dict(model.named_buffers())
    for name, tensor in get_state_dict(model).items():
        if name in state or name in buffers:
            state[name] = state.pop(name, tensor)


def settle_progress(fit_loop: dict[str, Any], at_epoch_end: bool) -> None:
    """Make the saved counters say that the iteration (and at its end, the epoch) in progress is finished.

    Args:
        fit_loop: the state of the Trainer's fit loop, changed in place.
        at_epoch_end: the epoch is finished as well.
    """
    batch = fit_loop["epoch_loop.batch_progress"]
    for tracker in (batch["total"], batch["current"]):
        tracker.update(started=tracker["ready"], processed=tracker["ready"], completed=tracker["ready"])
    if at_epoch_end:
        batch["current"].update(ready=0, started=0, processed=0, completed=0)
        epoch = fit_loop["epoch_progress"]
        for tracker in (epoch["total"], epoch["current"]):
            tracker.update(started=tracker["ready"], processed=tracker["ready"], completed=tracker["ready"])

"""LightningRunner: the seam of the hooks, driven by a Trainer."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import nn

from mmhooks.checkpoint import get_state_dict, place_for, telling_failures
from mmhooks.checkpoint.storage import StorageOptions, real_path
from mmhooks.errors import HookError
from mmhooks.hooks.optimizer import GradientCumulativeOptimizerHook
from mmhooks.runner import BaseRunner
from mmhooks.runner.checkpointing import Position
from mmhooks.runner.exact import check_exact
from mmhooks_lightning.checks import is_sharded
from mmhooks_lightning.files import write_agreed, writes_files_of_torch
from mmhooks_lightning.module import HookedModule
from mmhooks_lightning.optimizers import as_hooks_see_them
from mmhooks_lightning.progress import move_progress, settle_progress, settle_step
from mmhooks_lightning.wrapping import CallbackTable, callback_info

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

    _table_type = CallbackTable
    call_table: CallbackTable

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
        self._given = (self.work_dir, self.meta)
        self._pending_resume: str | os.PathLike[str] | None = None
        self._saving: dict[str, Any] | None = None
        self._file: Mapping[str, Any] | None = None
        self._left_at: tuple[Position | None, dict[str, Any], dict[str, Any]] | None = None
        self.finished_in_epoch = 0

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
        """Take the model of a fit; the optimizers follow when the Trainer has set them up.

        Under another Trainer the run begins anew, with the work_dir and the meta that were given.
        """
        if self._trainer is None:
            self._given = (self.work_dir, copy.deepcopy(self.meta))
        elif self._trainer is not trainer:
            self.work_dir, self.meta = self._given[0], copy.deepcopy(self._given[1])
        self._trainer = trainer
        self.data_loader = None  # until the first epoch, or iteration, as in a native runner
        self._hook_states = {}
        self._due = None
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
            self.optimizer = as_hooks_see_them(self.module, self.trainer.optimizers)
        self._left_at = None
        self.resumed_from = real_path(self.trainer.ckpt_path) if self.trainer.ckpt_path else None
        self._count()
        self.inner_iter = 0
        if self.work_dir is None:
            self.work_dir = str(Path(self.trainer.log_dir or self.trainer.default_root_dir, "mmhooks").absolute())
        Path(self.work_dir).mkdir(parents=True, exist_ok=True)
        if self._pending_resume is not None:
            path, self._pending_resume = self._pending_resume, None
            self.resume(path)

    def _count(self) -> None:
        """Take the counters from the Trainer, or from the file that it resumes: those of hooks are exact there."""
        loop = self.trainer.fit_loop
        self.epoch = loop.epoch_progress.current.processed if self.by_epoch else 0  # type: ignore[attr-defined]
        self.iter = loop.epoch_loop.batch_progress.total.ready
        content, self._file = self._file, None
        if content is None:
            return
        counters = self.epoch, self.iter
        exact = self._go_on_from(content.get("mmhooks", {}))
        if not isinstance(self.module, HookedModule):
            self._in_epoch = 0  # the Trainer goes on in an epoch as it does without hooks
            self._due_shared = {}
            if self._due is not None and self._due.get("passes"):
                self._due = None
            self.epoch, self.iter = counters
            return
        if not exact:
            self.epoch, self.iter = int(content["meta"]["epoch"]), int(content["meta"]["iter"])
        self._resumed(content)

    def _named(self, module: HookedModule, optimizers: Any) -> Any:
        # the Trainer's wrappers, not the raw optimizers: a step that train_step takes is counted too
        if module.optimizer_names is None:
            return None if isinstance(optimizers, list) and not optimizers else optimizers
        several = optimizers if isinstance(optimizers, list) else [optimizers]
        return dict(zip(module.optimizer_names, several, strict=True))

    def get_hook_info(self) -> str:
        """Describe which hooks are called at each point, and wrapped callbacks at the Trainer's own moments."""
        return "\n".join(filter(None, (super().get_hook_info(), callback_info(self.hooks))))

    # services ---------------------------------------------------------------------------------------------

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of a loss through the Trainer's strategy and precision."""
        self.module.manual_backward(loss)

    def clip_grads(self, parameters: Iterable[nn.Parameter], **grad_clip: Any) -> torch.Tensor | None:
        """Clip as a native runner does; refused where a scaler has made the gradients larger."""
        if getattr(self.trainer.precision_plugin, "scaler", None) is not None:
            raise scaled_gradients(self.trainer.precision)
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

    def check_bypass(self, hook: str, service: str, instead: str) -> None:
        """Refuse what goes past a strategy or a precision that has something to do there."""
        if service == "save_checkpoint":
            if self.trainer.world_size > 1:
                raise HookError(
                    f"{hook} may save a checkpoint on some ranks alone, and under a Trainer saving takes all "
                    f"{self.trainer.world_size} of them, so the run would wait without end: derive it from {instead}"
                )
            return
        strategy, precision = type(self.trainer.strategy).__name__, self.trainer.precision
        if strategy != "SingleDeviceStrategy" or precision not in ("32-true", "64-true"):
            raise HookError(
                f"{hook} calls loss.backward() and optimizer.step() themselves, past the {strategy} with "
                f"precision={precision!r} of this Trainer, which could neither exchange nor scale the gradients: "
                f"derive it from {instead}, whose after_train_iter goes through runner.backward(loss) and "
                "runner.optimizer_step(optimizer), or train on one device with precision='32-true'"
            )

    def no_sync(self) -> contextlib.AbstractContextManager[Any]:
        """Give a context in which backward does not exchange gradients between processes."""
        no_sync = getattr(self.trainer.strategy.model, "no_sync", None)
        return no_sync() if no_sync is not None else contextlib.nullcontext()

    def agree(self, value: T) -> T:
        """Give rank 0's value, since saving takes all ranks; every rank must call it."""
        return self.trainer.strategy.broadcast(value)

    def stop(self, reason: str) -> None:
        """End the run after the current iteration, by ``trainer.should_stop``; not before a ``min_epochs``."""
        super().stop(reason)
        self.trainer.should_stop = True
        loop = self.trainer.fit_loop
        if not loop._can_stop_early:
            self.logger.info(
                "Trainer(min_epochs=%s, min_steps=%s) keeps the run going until then", loop.min_epochs, loop.min_steps
            )

    @property
    def stop_reason(self) -> str | None:  # whoever tells the Trainer to stop
        """Why the run ends after the current iteration; None when it goes on, or has come to its length."""
        trainer = self._trainer
        if trainer is None or not trainer.should_stop or self._is_complete():
            return self._reason
        if not trainer.fit_loop._can_stop_early:
            return None
        return self._reason or "trainer.should_stop"

    @stop_reason.setter
    def stop_reason(self, reason: str | None) -> None:
        self._reason = reason

    def _is_complete(self) -> bool:
        return not self.by_epoch and self.max_iters is not None and self.iter >= self.max_iters

    # checkpoints ------------------------------------------------------------------------------------------

    @property
    def shows_progress(self) -> bool:  # type: ignore[override]  # the Trainer knows
        """Whether the Trainer has a progress bar."""
        bar = self.trainer.progress_bar_callback
        return bar is not None and bool(getattr(bar, "is_enabled", True))

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
        content = self.checkpoint_content(save_optimizer, meta)
        if content is not None:
            write_agreed(self, content, path, storage_options)
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

    def checkpoint_content(
        self, save_optimizer: bool = True, meta: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Collect what the Trainer saves, and what a native file holds; None where the strategy itself writes."""
        if not writes_files_of_torch(self.trainer):
            return None
        self._saving = {"save_optimizer": save_optimizer, "meta": meta}
        try:
            with self.trainer.profiler.profile("save_checkpoint"):  # type: ignore[attr-defined]
                return self.trainer._checkpoint_connector.dump_checkpoint(False)
        finally:
            self._saving = None

    def add_to_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put what a native runner's file holds beside what the Trainer saves.

        A file that a hook saves in the middle of the Trainer's loop also gets counters that are true at that
        point; the Trainer would repeat or skip a step otherwise.
        """
        if not self.interrupted:
            super().gather_ranks()  # every rank comes here
        extras = self.checkpoint_extras(**(self._saving or {}))
        if is_sharded(self.trainer):
            del extras["optimizer"]  # this rank's part of it; the Trainer brings the parts together
        checkpoint.update(extras)
        if isinstance(self.module, HookedModule):
            _complete(checkpoint["state_dict"], self.model)
        loop = checkpoint["loops"]["fit_loop"]
        if self._saving is not None:
            finished = self._stepped or self.data_batch is None
            settle_progress(loop, batch_finished=finished, at_epoch_end=self._phase == "closing")
        elif self._stepped and isinstance(self.module, HookedModule):
            settle_step(loop)

    def _progress(self) -> tuple[int, int]:
        if self._saving is not None:
            return super()._progress()
        # a callback of Lightning's own saves between our points, or, as a hook, at one
        last = self.by_epoch and self._stepped and self.trainer.is_last_batch
        return self.epoch + last, self.iter + self._stepped

    def note_position(self, active: bool) -> None:
        """Keep the position for files that are saved when an error has ended the run.

        Args:
            active: a run has begun.
        """
        self._left_at = (self._position(), self._own_part(), self._shared_part()) if active else None

    @property
    def interrupted(self) -> bool:
        """Whether an error has ended the run."""
        return self._left_at is not None

    def _position(self) -> Position | None:
        return super()._position() if self._left_at is None else self._left_at[0]

    def gather_ranks(self) -> None:
        """Do nothing: saving takes all ranks, and gathers then."""

    def _own_part(self) -> dict[str, Any]:
        return super()._own_part() if self._left_at is None else self._left_at[1]

    def _shared_part(self) -> dict[str, Any]:
        return super()._shared_part() if self._left_at is None else self._left_at[2]

    @contextlib.contextmanager
    def _back_at(self, point: str, inner_iter: int) -> Iterator[None]:
        steps = point == "after_train_iter"
        self.finished_in_epoch -= steps
        try:
            with super()._back_at(point, inner_iter):
                yield
        finally:
            self.finished_in_epoch += steps

    def _finished_in_epoch(self) -> int:
        return self.finished_in_epoch + self._stepped

    def take_from_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Take what the Trainer does not restore from a file that is being resumed."""
        check_exact(checkpoint.get("mmhooks", {}), "the file that is resumed")
        if "meta" in checkpoint:
            self.meta = dict(checkpoint["meta"])
            self._file = checkpoint
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

    def _resumed(self, content: Mapping[str, Any]) -> None:
        """Move the Trainer's counters to where the run goes on."""
        steps = content["global_step"] if "global_step" in content else self.iter // self._group
        passes = self._taken[0][0] if self._taken else 0
        move_progress(self.trainer, self.epoch if self.by_epoch else passes, self.iter, steps)

    @property
    def _group(self) -> int:
        """How many iterations a step takes; a native file does not count steps."""
        found = (one.cumulative_iters for one in self.hooks if isinstance(one, GradientCumulativeOptimizerHook))
        return next(found, 1)


def _complete(state: dict[str, Any], model: nn.Module) -> None:
    """Add the buffers that are not persistent, and bring the names into the order of MMCV's files."""
    buffers = dict(model.named_buffers())
    for name, tensor in get_state_dict(model).items():
        if name in state or name in buffers:
            state[name] = state.pop(name, tensor)


class ForeignKeys:
    """Calls `LightningRunner.drop_foreign_keys` before a module loads a state dict; a copy of the module has no run.

    Args:
        runner: the runner.
    """

    def __init__(self, runner: LightningRunner) -> None:
        self._runner = runner

    def __call__(self, *args: Any) -> None:
        """Take the keys out."""
        self._runner.drop_foreign_keys(*args)

    def __reduce__(self) -> Any:
        return _idle, ()


def _idle() -> Any:
    return _keep_all


def _keep_all(*args: Any) -> None:
    """Stand in for a `ForeignKeys` in a copy."""


def scaled_gradients(precision: Any) -> HookError:
    """Say that the norm of scaled gradients is not that of the gradients."""
    return HookError(
        f"grad_clip under Trainer(precision={precision!r}) would clip scaled gradients: "
        "use precision='bf16-mixed' or '32-true', or leave grad_clip out"
    )


class EpochBasedLightningRunner(LightningRunner):
    """Counts epochs; a class of its own for hooks that ask by ``isinstance`` what kind of runner they are under."""


class IterBasedLightningRunner(LightningRunner):
    """Counts iterations."""

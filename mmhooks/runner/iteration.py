"""IterBasedRunner: the loop over iterations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch

from mmhooks.distributed import device_of, mover, unpacked
from mmhooks.errors import ConfigError
from mmhooks.registry import RUNNERS
from mmhooks.runner.base import BaseRunner, Workflow, leaving
from mmhooks.runner.checkpointing import Position
from mmhooks.runner.checks import check_flows, check_length
from mmhooks.runner.passes import Pass
from mmhooks.runner.registration import HookOrConfig


class IterLoader:
    """A loader that never ends: after its last batch it begins anew.

    Args:
        dataloader: a sized or unsized loader. A sampler with ``set_epoch`` is told each new pass.
        epoch: passes that are finished already, of a run that is resumed.
        taken: batches of the current pass that are taken already: they are passed over.
        place: the place of the current pass in the file of that run, see `Pass`.
        logger: hears of what cannot be repeated.

    Attributes:
        current: the current pass.
        taken: batches that were taken of the current pass.

    Raises:
        ConfigError: the loader yields nothing.
    """

    def __init__(
        self,
        dataloader: Any,
        epoch: int = 0,
        taken: int = 0,
        place: Mapping[str, Any] | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self._dataloader = dataloader  # MMCV code looks at these two, by their names there
        self._epoch = epoch
        if epoch:
            self._set_epoch()
        self.current = Pass(dataloader, taken, place, epoch, logger)
        self.iter_loader = self.current.batches
        self.taken = taken

    @property
    def epoch(self) -> int:
        """How many passes over the loader are finished."""
        return self._epoch

    def __next__(self) -> Any:
        if not self.taken:
            self.current.begin()
        try:
            batch = next(self.iter_loader)
        except StopIteration:
            batch = self._begin_anew()
        self.taken += 1
        return batch

    def _begin_anew(self) -> Any:
        self._epoch += 1
        self.taken = 0
        self._set_epoch()
        self.current = Pass(self._dataloader)
        self.iter_loader = self.current.batches
        try:
            return next(self.iter_loader)
        except StopIteration:
            raise ConfigError(
                f"this {type(self._dataloader).__name__} yields no batch: is its data set empty?"
            ) from None

    def _set_epoch(self) -> None:
        set_epoch = getattr(getattr(self._dataloader, "sampler", None), "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self._epoch)

    def __len__(self) -> int:
        return len(self._dataloader)


@RUNNERS.register_module()
class IterBasedRunner(BaseRunner):
    """Trains iteration by iteration, over as many passes of the loader as it takes.

    One train iteration is::

        before_train_iter; model.train_step(batch, optimizer); after_train_iter; inner_iter += 1; iter += 1

    ``before_epoch`` and ``after_epoch`` are called once, around all iterations; the ``*_train_epoch`` and
    ``*_val_epoch`` points never.

    Example:
        >>> runner = IterBasedRunner(model, optimizer=optimizer, work_dir="work", max_iters=40_000)
        >>> runner.run([train_loader, val_loader], [("train", 1000), ("val", 50)])
    """

    by_epoch = False
    max_unit = "iters"
    _move: Callable[[Any], Any] | None = None

    def register_training_hooks(  # type: ignore[override]
        self,
        lr_config: HookOrConfig,
        optimizer_config: HookOrConfig = None,
        checkpoint_config: HookOrConfig = None,
        log_config: Mapping[str, Any] | None = None,
        momentum_config: HookOrConfig = None,
        custom_hooks_config: Any = None,
    ) -> None:
        """Register the hooks of an ordinary run; as in MMCV there is no ``timer_config`` in this signature."""
        super().register_training_hooks(
            lr_config,
            optimizer_config,
            checkpoint_config,
            log_config,
            momentum_config,
            custom_hooks_config=custom_hooks_config,
        )

    @leaving
    def run(
        self,
        data_loaders: list[Any],
        workflow: Workflow,
        max_iters: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Run the workflow again and again until ``max_iters`` train iterations are done.

        Args:
            data_loaders: one loader a flow.
            workflow: ``[("train", n), ("val", m), ...]``, in iterations.
            max_iters: the length of the run, in place of the constructor's.
            **kwargs: reach ``train_step`` and ``val_step``.
        """
        check_flows(data_loaders, workflow)
        if self.batch_processor is not None:
            raise ConfigError(
                "IterBasedRunner calls train_step and val_step alone: give the model these instead of a "
                "batch_processor, or train with EpochBasedRunner"
            )
        if max_iters is not None:
            self.max_iters = check_length(type(self).__name__, "max_iters", max_iters)
        if self.max_iters is None:
            raise ConfigError("how long to train? Give IterBasedRunner(..., max_iters=N)")

        self._announce(workflow, self.max_iters)
        self._before_run()
        self._sources = data_loaders
        self._loaders = self._endless(data_loaders)
        self.call_hook("before_epoch")
        self._phase = "open"
        self.data_loader = self._loaders[min(self._start[0], len(data_loaders) - 1)]
        self._settle()
        while self._trains_on():
            for loader, mode, rest in self._flows(self._loaders, workflow):
                self.inner_iter = rest.start
                for _ in rest:
                    if mode == "val":
                        self.val(loader, **kwargs)
                    elif self._trains_on():
                        self.train(loader, **kwargs)
        self._flow, self._phase = (self._flow[0], self.inner_iter), ""
        self.call_hook("after_epoch")
        self.call_hook("after_run")

    def train(self, data_loader: IterLoader, **kwargs: Any) -> None:
        """Run one train iteration."""
        model: Any = self.model
        model.train()
        self.mode = "train"
        self.data_loader = data_loader
        self.epoch = data_loader.epoch  # read before next(): one iteration late at a rollover, as in MMCV
        self.data_batch = batch = self._next(data_loader)
        self.call_hook("before_train_iter")
        self._record(
            model.train_step(unpacked(batch) if self._opens[1] else batch, self.optimizer, **kwargs), "train_step"
        )
        self._stepped = True
        self.call_hook("after_train_iter")
        self._stepped = False
        self.data_batch = None
        self.inner_iter += 1
        self.iter += 1

    @torch.no_grad()
    def val(self, data_loader: IterLoader, **kwargs: Any) -> None:
        """Run one val iteration."""
        model: Any = self.model
        model.eval()
        self.mode = "val"
        self.data_loader = data_loader
        self.data_batch = batch = self._next(data_loader)
        self.call_hook("before_val_iter")
        self._record(model.val_step(unpacked(batch) if self._opens[1] else batch, **kwargs), "val_step")
        self.call_hook("after_val_iter")
        self.data_batch = None
        self.inner_iter += 1

    def _next(self, loader: IterLoader) -> Any:
        batch = next(loader)
        if self._opens[0] is not loader:  # another flow, or another run
            self._look_at(loader, batch)
            self._move = mover(device_of(self.model))
        return batch if self._move is None else self._move(batch)

    def _endless(self, data_loaders: list[Any]) -> list[IterLoader]:
        taken, self._taken = [*self._taken, *((0, 0) for _ in data_loaders)], []
        return [
            IterLoader(loader, *taken[index], self._place(index), self.logger)
            for index, loader in enumerate(data_loaders)
        ]

    def _position(self) -> Position | None:
        ours = type(self).train is IterBasedRunner.train and type(self).run is IterBasedRunner.run
        return super()._position() if ours else None

    def _resumed(self, content: dict[str, Any]) -> None:
        self.inner_iter = self.iter  # until the first flow begins, as in MMCV

    def _trains_on(self) -> bool:
        assert self.max_iters is not None
        return self.iter < self.max_iters and self.stop_reason is None

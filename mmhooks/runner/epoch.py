"""EpochBasedRunner: the loop over epochs."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch

from mmhooks.distributed import device_of, mover, unpacked
from mmhooks.errors import ConfigError
from mmhooks.registry import RUNNERS
from mmhooks.runner.base import BaseRunner, Loader, Workflow, leaving
from mmhooks.runner.checkpointing import Position
from mmhooks.runner.checks import check_flows, check_length
from mmhooks.runner.randomness import snapshot


@RUNNERS.register_module()
class EpochBasedRunner(BaseRunner):
    """Trains epoch by epoch.

    A run that is resumed from a file of the middle of an epoch goes on in that epoch: ``before_train_epoch`` is called
    again, and the loader's first batches are passed over.

    One train epoch is::

        before_train_epoch
        for each batch:
            before_train_iter; model.train_step(batch, optimizer); after_train_iter; iter += 1
        after_train_epoch; epoch += 1

    Example:
        >>> runner = EpochBasedRunner(model, optimizer=optimizer, work_dir="work", max_epochs=4)
        >>> runner.register_training_hooks(lr_config=dict(policy="step", step=[2, 3]), optimizer_config=dict())
        >>> runner.run([train_loader, val_loader], [("train", 1), ("val", 1)])
    """

    @leaving
    def run(
        self,
        data_loaders: list[Any],
        workflow: Workflow,
        max_epochs: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Run the workflow again and again until ``max_epochs`` train epochs are done.

        Args:
            data_loaders: one loader a flow.
            workflow: ``[("train", n), ("val", m), ...]``, in epochs.
            max_epochs: the length of the run, in place of the constructor's.
            **kwargs: reach ``train_step``.
        """
        check_flows(data_loaders, workflow)
        if max_epochs is not None:
            self.max_epochs = check_length(type(self).__name__, "max_epochs", max_epochs)
        if self.max_epochs is None:
            raise ConfigError("how long to train? Give EpochBasedRunner(..., max_epochs=N)")
        lengths = [_length(loader) for loader, (mode, _) in zip(data_loaders, workflow, strict=True) if mode == "train"]
        self.max_iters = self.max_epochs * lengths[0]

        self._announce(workflow, self.max_epochs)
        self._before_run()
        self._sources = data_loaders
        if self._due is not None:  # hooks whose turn was to come look at it
            self.data_loader = data_loaders[min(self._start[0], len(data_loaders) - 1)]
        self._take_up()
        while self._trains_on():
            for loader, mode, rest in self._flows(data_loaders, workflow):
                for epoch in rest:
                    if mode == "val":
                        self.val(loader, **kwargs)
                    elif self._trains_on():
                        self.train(loader, **kwargs)
                    else:
                        break
                    self._flow = (self._flow[0], epoch + 1)
        self.call_hook("after_run")

    def train(self, data_loader: Loader, **kwargs: Any) -> None:
        """Run one train epoch."""
        assert self.max_epochs is not None
        self.model.train()
        self.mode = "train"
        self.data_loader = data_loader
        self.max_iters = self.max_epochs * len(data_loader)
        self._began = snapshot(self._sources)
        self.call_hook("before_train_epoch")
        move, call_hook = mover(device_of(self.model)), self.call_hook
        run_iter: Callable[..., None] = functools.partial(self.run_iter, **kwargs) if kwargs else self.run_iter
        first, self._in_epoch = self._in_epoch, 0
        batches = self._open_pass(first)
        self._phase = "open"
        self._settle()
        for i, batch in enumerate(batches, first):
            self.inner_iter = i
            self.data_batch = moved = batch if move is None else move(batch)
            if i == first:
                self._look_at(self.data_loader, batch)
            call_hook("before_train_iter")
            run_iter(moved, train_mode=True)
            self._stepped = True
            call_hook("after_train_iter")
            self._stepped = False
            self.data_batch = None
            self.iter += 1
            if self.stop_reason is not None:
                break
        self._phase, self._began = "closing", None
        self.call_hook("after_train_epoch")
        self._phase = ""
        self.epoch += 1

    @torch.no_grad()
    def val(self, data_loader: Loader, **kwargs: Any) -> None:
        """Run one val epoch; like MMCV's, it keeps the keyword arguments of `run` from ``val_step``."""
        self.model.eval()
        self.mode = "val"
        self.data_loader = data_loader
        self._began = snapshot(self._sources)
        self.call_hook("before_val_epoch")
        move = mover(device_of(self.model))
        for i, batch in enumerate(self.data_loader):
            self.inner_iter = i
            self.data_batch = moved = batch if move is None else move(batch)
            if i == 0:
                self._look_at(self.data_loader, batch)
            self.call_hook("before_val_iter")
            self.run_iter(moved, train_mode=False)
            self.call_hook("after_val_iter")
            self.data_batch = None
        self.call_hook("after_val_epoch")
        self._began = None

    def run_iter(self, data_batch: Any, train_mode: bool, **kwargs: Any) -> None:
        """Let the model take one step, and keep what it returns."""
        model: Any = self.model
        if self._opens[1]:
            data_batch = unpacked(data_batch)
        if self.batch_processor is not None:
            outputs = self.batch_processor(model, data_batch, train_mode=train_mode, **kwargs)
        elif train_mode:
            outputs = model.train_step(data_batch, self.optimizer, **kwargs)
        else:
            outputs = model.val_step(data_batch, self.optimizer, **kwargs)
        self._record(outputs, "train_step" if train_mode else "val_step")

    def _position(self) -> Position | None:
        ours = type(self).train is EpochBasedRunner.train and type(self).run is EpochBasedRunner.run
        return super()._position() if ours else None

    def _trains_on(self) -> bool:
        assert self.max_epochs is not None
        return self.epoch < self.max_epochs and self.stop_reason is None


@RUNNERS.register_module()
class Runner(EpochBasedRunner):
    """EpochBasedRunner under its old name, with a warning."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn("Runner is the old name of EpochBasedRunner: use that", DeprecationWarning, stacklevel=2)
        super().__init__(*args, **kwargs)


def _length(loader: Any) -> int:
    try:
        return len(loader)
    except TypeError:
        raise ConfigError(
            f"this {type(loader).__name__} has no length, so an epoch of it has no end: "
            "train by iterations with IterBasedRunner(..., max_iters=N)"
        ) from None

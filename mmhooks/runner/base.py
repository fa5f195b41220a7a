"""BaseRunner: all that a hook may see and use, whichever driver runs the loop."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from mmhooks.checkpoint import (
    load_state_dict,
    model_state,
    plain,
    point_latest_at,
    read_checkpoint,
    write_checkpoint,
)
from mmhooks.dispatch import CallTable, HookList
from mmhooks.distributed import get_dist_info, unwrap
from mmhooks.errors import CheckpointError, ConfigError, ModelError
from mmhooks.hook import POINTS, Hook
from mmhooks.log import get_logger
from mmhooks.log_buffer import LogBuffer
from mmhooks.priority import priority_name
from mmhooks.runner.checks import check_model, check_optimizer
from mmhooks.runner.registration import HookRegistration

Optimizers = Optimizer | dict[str, Optimizer]
Workflow = list[tuple[str, int]]


class Loader(Protocol):
    """What a runner asks of a loader: batches, and how many there are."""

    def __iter__(self) -> Any: ...
    def __len__(self) -> int: ...


class BaseRunner(HookRegistration):
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
        mode: ``"train"`` or ``"val"``.
        data_loader: the loader of the current epoch; before_train_epoch may set another.
        data_batch: the current batch, on the device, between before_*_iter and after_*_iter.
        outputs: what ``train_step`` or ``val_step`` returned last.
        log_buffer: the values to be logged.

    Raises:
        ModelError: the model cannot be trained by a runner.
        ConfigError: arguments that contradict each other.
        TypeError: an argument of the wrong type.
    """

    max_unit = "epochs"

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
        self._init_state(work_dir, logger, meta)
        self.model = model
        self.optimizer: Any = optimizer
        self.batch_processor = batch_processor
        self._max_epochs = max_epochs
        self._max_iters = max_iters

    def _init_state(
        self,
        work_dir: str | os.PathLike[str] | None,
        logger: logging.Logger | None,
        meta: dict[str, Any] | None,
    ) -> None:
        self.call_table = CallTable()
        self.logger = logger or get_logger()
        self.meta = meta
        self.work_dir: str | None = None
        if work_dir is not None:
            self.work_dir = str(Path(work_dir).absolute())
            Path(self.work_dir).mkdir(parents=True, exist_ok=True)
        self.timestamp = time.strftime("%Y%m%d_%H%M%S", time.localtime())
        self.mode: str | None = None
        self.data_loader: Any = None
        self.data_batch: Any = None
        self.outputs: Any = None
        self.log_buffer = LogBuffer()
        self.stop_reason: str | None = None
        self._epoch = 0
        self._iter = 0
        self._inner_iter = 0
        self._unclaimed: dict[str, torch.Tensor] = {}
        self._hook_states: dict[str, list[Any]] = {}

    # state ------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Epochs that are finished, so the index of the current one."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Train iterations that are finished, so the index of the current one."""
        return self._iter

    @property
    def inner_iter(self) -> int:
        """Index of the current iteration in its epoch; iteration-based, in its flow of the workflow."""
        return self._inner_iter

    @property
    def max_epochs(self) -> int | None:
        """The length of the run in epochs, where it has one."""
        return self._max_epochs

    @property
    def max_iters(self) -> int | None:
        """The length of the run in train iterations, where it is known."""
        return self._max_iters

    @property
    def _hooks(self) -> HookList:  # the name that MMCV code uses
        return self.hooks

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
        return self._of_groups(lambda group: group["lr"])

    def current_momentum(self) -> list[float] | dict[str, list[float]]:
        """Give the momentum (or Adam's first beta, or 0) of every param group, as `current_lr` does."""
        return self._of_groups(lambda group: group["momentum"] if "momentum" in group else group.get("betas", (0,))[0])

    def _of_groups(self, read: Callable[[dict[str, Any]], float]) -> list[float] | dict[str, list[float]]:
        if self.optimizer is None:
            raise ConfigError("this runner has no optimizer, so no learning rate; give it one: optimizer=...")
        if isinstance(self.optimizer, Mapping):
            return {name: [read(group) for group in one.param_groups] for name, one in self.optimizer.items()}
        return [read(group) for group in self.optimizer.param_groups]

    # hooks ------------------------------------------------------------------------------------------------

    def call_hook(self, fn_name: str) -> None:
        """Call every hook that overrides a point.

        Args:
            fn_name: one of the ten points, ``before_epoch`` and the like, or a method name of some hook.
        """
        self.call_table.call(fn_name, self)

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
        self.call_table.rebuild()  # methods may have been set on hooks since they were registered
        host = f"{os.environ.get('USER', 'user')}@{socket.gethostname()}"
        self.logger.info("Start running, host: %s, work_dir: %s", host, self.work_dir)
        self.logger.info("Hooks will be called in this order:\n%s", self.get_hook_info())
        self.logger.info("workflow: %s, max: %s %s", workflow, limit, self.max_unit)

    def _before_run(self) -> None:
        self.stop_reason = None
        self._give_hook_states()
        self.call_hook("before_run")
        self._give_hook_states()  # of a file that a hook has just resumed

    # services that differ by driver -----------------------------------------------------------------------

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of a loss."""
        loss.backward()  # type: ignore[no-untyped-call]

    def zero_grad(self, optimizer: Optimizer) -> None:
        """Forget the gradients of an optimizer's parameters."""
        optimizer.zero_grad()

    def optimizer_step(self, optimizer: Optimizer) -> None:
        """Let an optimizer change its parameters."""
        optimizer.step()

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

    def stop(self, reason: str) -> None:
        """End the run after the current iteration, as if its length were reached.

        An open epoch is closed, and the val that the workflow has next follows.

        Args:
            reason: said in the log.
        """
        self.stop_reason = reason
        self.logger.info("the run ends after this iteration: %s", reason)

    # checkpoints ------------------------------------------------------------------------------------------

    def checkpoint_name(self, filename_tmpl: str | None = None) -> str:
        """Give the file name of a checkpoint that is saved now.

        Args:
            filename_tmpl: the name with ``{}`` for the number; ``epoch_{}.pth`` or ``iter_{}.pth`` by default.
        """
        if self.by_epoch:
            return (filename_tmpl or "epoch_{}.pth").format(self._epoch + 1)
        return (filename_tmpl or "iter_{}.pth").format(self._iter + 1)

    def save_checkpoint(
        self,
        out_dir: str,
        filename_tmpl: str | None = None,
        save_optimizer: bool = True,
        meta: dict[str, Any] | None = None,
        create_symlink: bool = True,
    ) -> str | None:
        """Write a checkpoint with MMCV's keys: ``meta``, ``state_dict``, ``optimizer``.

        Args:
            out_dir: the folder, made when missing.
            filename_tmpl: the name, with ``{}`` for the number of the epoch (or iteration).
            save_optimizer: include the state of the optimizers.
            meta: more values for the file's ``meta``; what the runner's own meta says goes before them.
            create_symlink: let ``latest.pth`` point at the new file.

        Returns:
            The path of the file, or None where nothing was written.
        """
        if meta is not None and not isinstance(meta, dict):
            raise TypeError(f"meta must be a dict or None, not {type(meta).__name__}")
        path = str(Path(out_dir) / self.checkpoint_name(filename_tmpl))
        if not self._write_checkpoint(path, save_optimizer, meta):
            return None
        if create_symlink and self.rank == 0:
            point_latest_at(path)
        return path

    def _write_checkpoint(self, path: str, save_optimizer: bool, meta: dict[str, Any] | None) -> bool:
        content = {"state_dict": model_state(self.model), **self.checkpoint_extras(save_optimizer, meta)}
        write_checkpoint({"meta": content.pop("meta"), **content}, path)
        return True

    def checkpoint_extras(self, save_optimizer: bool = True, meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Collect what a checkpoint holds beside the weights.

        Returns:
            ``meta`` as MMCV writes it, ``mmhooks`` with what an exact resume needs beyond it, and
            ``optimizer`` if wanted.
        """
        from mmhooks import __version__

        full = {**(meta or {}), **(self.meta or {})}
        epoch, iteration, finished = self._progress()
        full.update(epoch=epoch, iter=iteration, time=time.asctime(), mmhooks_version=__version__)
        classes = getattr(unwrap(self.model), "CLASSES", None)
        if classes is not None:
            full["CLASSES"] = classes
        extras: dict[str, Any] = {"meta": plain(full), "mmhooks": self._exact_state(finished)}
        if save_optimizer and self.optimizer is not None:
            extras["optimizer"] = self._optimizer_state()
        return extras

    def _optimizer_state(self) -> Any:
        if isinstance(self.optimizer, Mapping):
            return {name: one.state_dict() for name, one in self.optimizer.items()}
        return self.optimizer.state_dict()

    def _progress(self) -> tuple[int, int, int]:
        """Say how far the run is at a point: MMCV's epoch and iter of a file, and the iterations really finished."""
        return self._epoch + 1, self._iter, self._iter if self.by_epoch else self._iter + 1

    def _exact_state(self, finished_iters: int) -> dict[str, Any]:
        """Collect what MMCV's meta leaves out."""
        states: dict[str, list[Any]] = {}
        for hook in self.hooks:
            if isinstance(hook, Hook):
                states.setdefault(type(hook).__name__, []).append(plain(hook.state_dict()))
        return {"by_epoch": self.by_epoch, "finished_iters": finished_iters, "hooks": states}

    def load_checkpoint(
        self, filename: str | os.PathLike[str], map_location: Any = "cpu", strict: bool = False
    ) -> dict[str, Any]:
        """Load the weights of a checkpoint into the model.

        Args:
            filename: a file of ours, of MMCV or of Lightning.
            map_location: see ``torch.load``.
            strict: refuse weights that do not fit exactly.

        Returns:
            The content of the file.

        Raises:
            CheckpointError: the file cannot be read, or does not fit and ``strict`` is set.
        """
        content = read_checkpoint(filename, map_location)
        self._load_weights(content, filename, strict=strict)
        return content

    def _load_weights(
        self, content: Mapping[str, Any], filename: str | os.PathLike[str], *, strict: bool
    ) -> dict[str, torch.Tensor]:
        unclaimed = load_state_dict(self.model, content["state_dict"], strict=strict, logger=self.logger)
        self.logger.info("loaded the weights of %s", filename)
        return unclaimed

    def resume(
        self, checkpoint: str | os.PathLike[str], resume_optimizer: bool = True, map_location: Any = "cpu"
    ) -> None:
        """Go on where a checkpoint was saved: weights, optimizers, epoch, iteration, meta and hook states.

        Args:
            checkpoint: the file.
            resume_optimizer: take the optimizers' state from the file too.
            map_location: see ``torch.load``; the optimizers move what they need to the device themselves.

        Raises:
            CheckpointError: the file cannot be read, or does not say where the run was.
        """
        content = read_checkpoint(checkpoint, map_location)
        try:
            meta = content["meta"]
            epoch, iteration = meta["epoch"], meta["iter"]
        except KeyError as error:
            raise CheckpointError(
                f"{checkpoint} does not say where the run was (no {error} in its meta): "
                "it holds weights to start from, so use load_from instead of resume_from"
            ) from None
        unclaimed = self._load_weights(content, checkpoint, strict=False)
        self._epoch, self._iter = epoch, iteration
        exact = content.get("mmhooks", {})
        if exact.get("by_epoch") is False and not self.by_epoch:
            self._iter = exact["finished_iters"]
        self._hook_states = exact.get("hooks", {})
        # of MMCV's own files, what the model has no place for is lost there, so here too
        self._unclaimed = unclaimed if exact else {}
        self.meta = dict(meta)
        self.meta.setdefault("hook_msgs", {})
        if resume_optimizer and "optimizer" in content:
            self._load_optimizer_state(content["optimizer"])
        self._resumed(content)
        self.logger.info("resumed %s at epoch %d, iter %d", checkpoint, self._epoch, self._iter)

    def _load_optimizer_state(self, state: Any) -> None:
        if isinstance(self.optimizer, Mapping):
            for name, one in self.optimizer.items():
                one.load_state_dict(state[name])
        elif self.optimizer is not None:
            self.optimizer.load_state_dict(state)

    def _resumed(self, content: dict[str, Any]) -> None:
        """Tell a driver that the counters have moved."""

    def claim(self, key: str) -> torch.Tensor | None:
        """Hand out a tensor of the resumed file for which the model had no place, once.

        A hook that adds buffers to the model in before_run finds their values here.

        Args:
            key: the name in the file.
        """
        return self._unclaimed.pop(key, None)

    def _give_hook_states(self) -> None:
        for name, states in self._hook_states.items():
            hooks = [hook for hook in self.hooks if isinstance(hook, Hook) and type(hook).__name__ == name]
            for hook, state in zip(hooks, states, strict=False):
                if state:
                    hook.load_state_dict(state)
        self._hook_states = {}

    # the model's steps ------------------------------------------------------------------------------------

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

"""HookedModule: a model with train_step as a LightningModule."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from torch.optim import Optimizer

from mmhooks.distributed import mover, unpacked
from mmhooks.errors import ConfigError, HookError, ModelError
from mmhooks.optim import build_optimizer
from mmhooks.runner.checks import check_model

if TYPE_CHECKING:
    from mmhooks_lightning.callback import HookCallback

OptimizerSource = Optimizer | Mapping[str, Any] | Callable[[nn.Module], Any] | None


class HookedModule(pl.LightningModule):
    """Lets a Trainer train an MMCV-style model: the model computes, the hooks of a `HookCallback` do the rest.

    Optimization is manual: an `OptimizerHook` goes backward and steps, through the Trainer's strategy and
    precision. A checkpoint holds the model's own key names, as a native runner's does.

    Args:
        model: a module with ``train_step(data, optimizer, **kwargs)``, and ``val_step`` for validation.
        optimizer: an optimizer over the model's parameters, a ``dict(type="SGD", lr=0.1)``, a callable that
            makes one from the model, or a dict of either by name.
        step_kwargs: more keyword arguments for ``train_step``.

    Raises:
        ModelError: the model has no ``train_step``.

    Example:
        >>> bridge = HookCallback(work_dir="work")
        >>> bridge.register_training_hooks(lr_config=dict(policy="fixed"), optimizer_config=dict())
        >>> L.Trainer(max_epochs=4, callbacks=[bridge]).fit(HookedModule(model, dict(type="SGD", lr=0.1)), loader)
    """

    def __init__(
        self, model: nn.Module, optimizer: OptimizerSource = None, step_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        check_model(model)
        self.automatic_optimization = False
        self.model = model
        self.step_kwargs = dict(step_kwargs or {})
        self.optimizer_names: list[str] | None = None
        self._optimizer_source = optimizer
        self._bridge: HookCallback | None = None
        # hooks on the state dict, not overridden methods: those would break nesting and weight averaging
        self.register_state_dict_post_hook(_own_names)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_module_names)  # type: ignore[no-untyped-call]

    def configure_optimizers(self) -> Any:
        """Build or hand over the optimizers."""
        source: Any = self._optimizer_source
        if callable(source) and not isinstance(source, Optimizer):
            source = source(self.model)
        if isinstance(source, Mapping) and not all(isinstance(one, Optimizer) for one in source.values()):
            source = build_optimizer(self.model, dict(source))
        if isinstance(source, Mapping):
            self.optimizer_names = list(source)
            return list(source.values())
        self.optimizer_names = None
        if source is not None and not isinstance(source, Optimizer):
            raise ConfigError(
                "HookedModule's optimizer must be an Optimizer, a dict(type=...), a callable(model) or a dict of "
                f"optimizers by name, not {type(source).__name__}"
            )
        return [] if source is None else source  # for None the Trainer would make one up, which steps nothing

    def configure_callbacks(self) -> list[pl.Callback]:
        """Check the Trainer's settings: this is the first call that it makes."""
        trainer = self.trainer
        if trainer.state.fn != TrainerFn.FITTING:
            return []
        from mmhooks_lightning.callback import HookCallback

        if not any(isinstance(callback, HookCallback) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            raise HookError(
                "a HookedModule needs a HookCallback, whose hooks step the optimizer: "
                "L.Trainer(callbacks=[HookCallback([OptimizerHook()])])"
            )
        if trainer.gradient_clip_val:
            raise ConfigError(
                f"Trainer(gradient_clip_val={trainer.gradient_clip_val}) has no effect on a HookedModule: "
                f"clip with OptimizerHook(grad_clip=dict(max_norm={trainer.gradient_clip_val}))"
            )
        if trainer.accumulate_grad_batches != 1:
            raise ConfigError(
                f"Trainer(accumulate_grad_batches={trainer.accumulate_grad_batches}) has no effect on a HookedModule: "
                f"use GradientCumulativeOptimizerHook(cumulative_iters={trainer.accumulate_grad_batches})"
            )
        return []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Let the model take its step, and the hooks theirs."""
        assert self._bridge is not None
        runner = self._bridge.runner
        model: Any = self.model
        try:
            outputs = model.train_step(unpacked(batch), runner.optimizer, **self.step_kwargs)
        except StopIteration as error:
            raise _ends_a_loop(model, "train_step") from error
        runner._record(outputs, "train_step")
        self._bridge.after_train_iter(self)
        return runner.outputs

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Let the model take its val step; outside a fit its log_vars are the Trainer's metrics."""
        model: Any = self.model
        batch = unpacked(batch)
        if not hasattr(model, "val_step"):
            raise ModelError(f"{type(model).__name__} has no val_step, so it cannot be validated")
        bridge = self._bridge
        in_run = bridge is not None and bridge.active
        optimizer = bridge.runner.optimizer if bridge is not None and in_run else None
        try:
            if bridge is None or bridge.by_epoch:  # each as the native runner of that kind calls it
                outputs = model.val_step(batch, optimizer)
            else:
                outputs = model.val_step(batch, **self.step_kwargs)
        except StopIteration as error:
            raise _ends_a_loop(model, "val_step") from error
        if bridge is not None and in_run:
            bridge.runner._record(outputs, "val_step")
        elif not self.trainer.sanity_checking:
            self.log_dict(dict(outputs.get("log_vars", {})), batch_size=outputs.get("num_samples"))

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Measure as `validation_step` does."""
        return self.validation_step(batch, batch_idx)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        return self.model(*args, **kwargs)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch as the native runners do."""
        move = mover(device)
        return batch if move is None else move(batch)

    def on_validation_model_zero_grad(self) -> None:
        """Keep the gradients: a group of accumulated iterations may span a validation."""

    def on_validation_model_train(self) -> None:
        """Leave the model in eval mode during a run, as the native runners do: training sets it back."""
        if self._bridge is not None and self._bridge.active:
            self.training = True
        else:  # the sanity check and trainer.validate leave all as it was
            self.trainer._evaluation_loop._module_mode.restore(self)

    def without_autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Give a context in which hooks run in full precision while the Trainer's precision autocasts."""
        if isinstance(self.trainer.precision_plugin, MixedPrecision):
            return torch.autocast(self.device.type, enabled=False)
        return contextlib.nullcontext()


def _ends_a_loop(model: nn.Module, method: str) -> ModelError:
    """Say what the Trainer would take for the end of the data, without a word."""
    return ModelError(
        f"{type(model).__name__}.{method}() raises StopIteration: a next() in it finds nothing more. Give that a "
        "default, or begin the iterator anew"
    )


def _own_names(module: nn.Module, state: dict[str, Any], prefix: str, local_metadata: Any) -> None:
    """Take ``model.`` off the names as they leave the module."""
    _rename(state, prefix + "model.", prefix)
    metadata = getattr(state, "_metadata", None)
    if metadata is not None:
        inner = prefix + "model"
        for name in [name for name in metadata if name == inner or name.startswith(inner + ".")]:
            metadata[(prefix + name[len(inner) + 1 :]).rstrip(".")] = metadata.pop(name)


def _module_names(module: nn.Module, state: dict[str, Any], prefix: str, *args: Any) -> None:
    """Put ``model.`` before the names as they come back."""
    _rename(state, prefix, prefix + "model.")
    metadata = getattr(state, "_metadata", None)
    if metadata is not None:
        for name in [name for name in metadata if (name + ".").startswith(prefix)]:
            # beside the old ones, which the caller's state dict goes on to use
            metadata.setdefault((prefix + "model." + name[len(prefix) :]).rstrip("."), metadata[name])


def _rename(state: dict[str, Any], old: str, new: str) -> None:
    for key in [key for key in state if key.startswith(old)]:
        state[new + key[len(old) :]] = state.pop(key)

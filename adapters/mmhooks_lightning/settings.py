"""The Trainer's settings: which a run sets for itself, and which are refused before it begins."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch import nn

from mmhooks.errors import ConfigError, HookError, ModelError
from mmhooks.hooks import CheckpointHook, EMAHook, EvalHook, GradientCumulativeOptimizerHook, OptimizerHook
from mmhooks.runner.base import Workflow
from mmhooks_lightning.checks import is_sharded
from mmhooks_lightning.logged import overrides
from mmhooks_lightning.module import HookedModule
from mmhooks_lightning.runner import LightningRunner, scaled_gradients

#: What a Trainer takes as max_epochs when nobody says it.
_DEFAULT_MAX_EPOCHS = 1000


class TrainerSettings:
    """Checks the settings of a Trainer before a fit, changes what the run needs, and puts it back."""

    def __init__(self) -> None:
        self._changed: list[tuple[Any, str, Any]] = []

    def change(self, owner: Any, name: str, value: Any) -> None:
        """Change a setting until the fit is over."""
        self._changed.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    def restore(self) -> None:
        """Put back what has been changed."""
        while self._changed:
            owner, name, value = self._changed.pop()
            setattr(owner, name, value)

    def prepare(
        self, trainer: pl.Trainer, runner: LightningRunner, workflow: Workflow | None, module: pl.LightningModule
    ) -> Workflow:
        """Check the settings and set those that the run decides on.

        Args:
            trainer: whose settings they are.
            runner: what the hooks see.
            workflow: what the user has said.
            module: the module of the fit.

        Returns:
            The workflow; one that ends with val says when the Trainer validates.

        Raises:
            ConfigError: settings that contradict the run or would be ignored.
            HookError: hooks that cannot work under them.
        """
        hooked = isinstance(module, HookedModule)
        _check_strategy(trainer, runner, hooked)
        if hooked:
            _check_clipping(trainer, runner)
            _check_accumulation(trainer, runner)
        if not runner.by_epoch:
            self._set_limits(trainer, runner)
        if workflow is None and not hooked:
            return [("train", 1)]
        flow = _flow(trainer, runner, workflow, module)
        self._set_validation(trainer, runner, flow, hooked)
        return flow

    def _set_limits(self, trainer: pl.Trainer, runner: LightningRunner) -> None:
        """Let max_iters be the end of an iteration-based run."""
        if runner.max_iters is None:
            raise ConfigError("how long to train? Give HookCallback(by_epoch=False, max_iters=N)")
        loop = trainer.fit_loop
        for name, value in (("min_steps", loop.min_steps), ("min_epochs", loop.min_epochs)):
            if value:
                raise ConfigError(
                    f"Trainer({name}={value}) could keep an iteration-based run from ending at "
                    f"max_iters={runner.max_iters}: leave it out"
                )
        if loop.max_epochs == _DEFAULT_MAX_EPOCHS:
            self.change(loop, "max_epochs", -1)
        elif loop.max_epochs is not None and loop.max_epochs > 0 and not fast_dev_run(trainer):
            runner.logger.warning(
                "Trainer(max_epochs=%d) ends this iteration-based run after %d passes of the train loader, if that is "
                "before max_iters=%d; leave it out to train for max_iters",
                loop.max_epochs,
                loop.max_epochs,
                runner.max_iters,
            )

    def _set_validation(self, trainer: pl.Trainer, runner: LightningRunner, flow: Workflow, hooked: bool) -> None:
        """Let the workflow say when the Trainer validates."""
        if len(flow) == 1:
            if trainer.enable_validation:  # the workflow does not want it
                self.change(trainer, "limit_val_batches", 0)
            return
        if hooked and not hasattr(runner.model, "val_step"):
            raise ConfigError(f"the workflow {flow} validates, but {runner.model_name} has no val_step")
        _check_validation_settings(trainer, runner.by_epoch, flow, hooked)
        # None: callbacks that monitor look after each validation, since not every epoch has one
        self.change(trainer, "check_val_every_n_epoch", 1 if runner.by_epoch and flow[0][1] == 1 else None)


def _flow(
    trainer: pl.Trainer, runner: LightningRunner, workflow: Workflow | None, module: pl.LightningModule
) -> Workflow:
    """Say what is run in turns."""
    if workflow is None:
        if not trainer.enable_validation:
            return [("train", 1)]
        if not runner.by_epoch:
            raise ConfigError(
                "an iteration-based run with a val loader must say how often to validate: "
                "HookCallback(..., workflow=[('train', 1000), ('val', 50)])"
            )
        return [("train", trainer.check_val_every_n_epoch or 1), ("val", 1)]
    if len(workflow) == 1 or trainer.enable_validation:
        return workflow
    if trainer.limit_val_batches == 0:
        runner.logger.info("Trainer(limit_val_batches=0): the run does not validate")
        return workflow[:1]
    raise ConfigError(
        f"the workflow {workflow} validates, but "
        + (
            "the Trainer has no val loader: pass one to fit"
            if overrides(module, "validation_step")
            else f"{type(module).__name__} has no validation_step"
        )
    )


def _check_validation_settings(trainer: pl.Trainer, by_epoch: bool, flow: Workflow, hooked: bool) -> None:
    """Refuse what would make the Trainer validate at another time, or not wholly."""
    said = []
    interval: Any = getattr(trainer, "val_check_interval", None)  # a Trainer with a time for it has no such attribute
    if getattr(trainer, "_val_check_time_interval", None) is not None:
        said.append("val_check_interval=<a time>")
    elif type(interval) is not float or interval != 1.0:  # 1 is after every batch, 1.0 at the end of an epoch
        said.append(f"val_check_interval={interval}")
    every = trainer.check_val_every_n_epoch
    if every not in (1, None) and not (by_epoch and every == flow[0][1]):
        said.append(f"check_val_every_n_epoch={every}")
    if said:
        within = (
            "to evaluate within an epoch register EvalHook(loader, interval=N, by_epoch=False)"
            if by_epoch and hooked
            else f"write another workflow, [('train', n), ('val', {1 if by_epoch else 'm'})]"
        )
        raise ConfigError(
            f"the workflow {flow} says when to validate, and Trainer({', '.join(said)}) too: leave that out of the "
            f"Trainer; {within}"
        )
    limit = trainer.limit_val_batches
    if not by_epoch and isinstance(limit, float) and limit != 1.0:
        raise ConfigError(
            f"the workflow {flow} says how many iterations to validate, so Trainer(limit_val_batches={limit}), or an "
            "overfit_batches of that kind, is a part of no whole: write an integer"
        )


def fast_dev_run(trainer: pl.Trainer) -> bool:
    """Tell whether a Trainer only tries things out."""
    return bool(getattr(trainer, "fast_dev_run", False))


def check_hooked_module(trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Refuse Trainer settings that would have no effect on a `HookedModule`, or another one than they say.

    Raises:
        ConfigError: one is set; says what to write instead.
    """
    clip, groups = trainer.gradient_clip_val, trainer.accumulate_grad_batches
    if clip:
        way = (
            f"clip with OptimizerHook(grad_clip=dict(max_norm={clip}))"
            if trainer.gradient_clip_algorithm in (None, "norm")
            else "OptimizerHook clips norms: write OptimizerHook(grad_clip=dict(max_norm=..., norm_type='inf'))"
        )
        raise ConfigError(f"Trainer(gradient_clip_val={clip}) has no effect on a HookedModule: {way}")
    if trainer.gradient_clip_algorithm is not None:
        algorithm = str(trainer.gradient_clip_algorithm.value)
        raise ConfigError(
            f"Trainer(gradient_clip_algorithm={algorithm!r}) has no effect on a HookedModule: leave it out"
        )
    if groups != 1:
        raise ConfigError(
            f"Trainer(accumulate_grad_batches={groups}) has no effect on a HookedModule: "
            f"use GradientCumulativeOptimizerHook(cumulative_iters={groups})"
        )
    if any(isinstance(callback, GradientAccumulationScheduler) for callback in trainer.callbacks):  # type: ignore[attr-defined]
        raise ConfigError(
            "GradientAccumulationScheduler has no effect on a HookedModule: use GradientCumulativeOptimizerHook"
        )
    compiled: Any = module
    if compiled._compiler_ctx is not None or compiled._compiled_call_impl is not None:
        raise ConfigError(
            "a compiled HookedModule would compile the hooks too: compile the model, HookedModule(torch.compile(model))"
        )


def check_prediction(module: pl.LightningModule, model: nn.Module) -> None:
    """Refuse to predict with a model that has no forward.

    Raises:
        ModelError: it has none.
    """
    if model is not module and type(model).forward is nn.Module.forward:
        raise ModelError(f"{type(model).__name__} has no forward, which trainer.predict calls with each batch")


def _check_strategy(trainer: pl.Trainer, runner: LightningRunner, hooked: bool) -> None:
    strategy = trainer.strategy
    on_cpu = trainer.world_size > 1 and strategy.root_device.type == "cpu"
    if on_cpu and getattr(strategy, "_layer_sync", None) is not None:
        raise ConfigError("Trainer(sync_batchnorm=True) needs GPUs: leave it out where accelerator='cpu'")
    if not is_sharded(trainer):
        return
    kind = type(strategy).__name__
    if hooked:
        raise ConfigError(
            f"the hooks of a HookedModule step, clip and save whole parameters, and {kind} gives each process a part "
            "of them: write strategy='ddp', or an ordinary LightningModule with a HookCallback"
        )
    for hook in runner.hooks:
        name = type(hook).__name__
        if isinstance(hook, EMAHook):
            raise HookError(
                f"{name} averages whole parameters, and {kind} gives each process a part of them: use strategy='ddp', "
                "or leave the hook out and give the Trainer lightning.pytorch.callbacks.EMAWeightAveraging(decay="
                f"{1 - hook.momentum})"
            )
        if isinstance(hook, CheckpointHook) or (isinstance(hook, EvalHook) and hook.save_best is not None):
            raise HookError(
                f"{name} writes whole files, and {kind} gives each process a part of the optimizer's state: use "
                "strategy='ddp', or let lightning.pytorch.callbacks.ModelCheckpoint save"
            )


def _check_clipping(trainer: pl.Trainer, runner: LightningRunner) -> None:
    if getattr(trainer.precision_plugin, "scaler", None) is None:
        return
    if any(isinstance(hook, OptimizerHook) and hook.grad_clip is not None for hook in runner.hooks):
        raise scaled_gradients(trainer.precision)


def _check_accumulation(trainer: pl.Trainer, runner: LightningRunner) -> None:
    groups = [hook for hook in runner.hooks if isinstance(hook, GradientCumulativeOptimizerHook)]
    if groups and runner.by_epoch and runner.max_epochs is None:
        raise ConfigError(
            f"{type(groups[0]).__name__} divides the last group by its own size, so it must know how long the run is: "
            "write Trainer(max_epochs=N), beside a max_steps or max_time if you like"
        )

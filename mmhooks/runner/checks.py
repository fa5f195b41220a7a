"""What a runner refuses before it begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

from torch.optim import Optimizer

from mmhooks.checks import check_count
from mmhooks.dispatch import GENERIC_POINTS
from mmhooks.distributed import unwrap
from mmhooks.errors import ConfigError, ModelError
from mmhooks.hook import POINTS
from mmhooks.priority import get_priority


def check_model(model: Any, batch_processor: Any = None) -> None:
    """Check that a runner can train a model.

    Raises:
        ModelError: the model has no ``train_step``, or its wrapper hides it.
        ConfigError: it has one, and there is a ``batch_processor`` too.
        TypeError: the ``batch_processor`` cannot be called.
    """
    inner = unwrap(model)
    if batch_processor is not None:
        if not callable(batch_processor):
            raise TypeError(f"batch_processor must be callable, not {type(batch_processor).__name__}")
        if hasattr(inner, "train_step") or hasattr(inner, "val_step"):
            raise ConfigError(
                f"{type(inner).__name__} has train_step or val_step: leave batch_processor out, or they would compete"
            )
    elif not hasattr(inner, "train_step"):
        raise ModelError(
            f"{type(inner).__name__} has no train_step. Give it one: def train_step(self, data, optimizer, **kwargs): "
            "return dict(loss=loss, log_vars=dict(loss=loss.detach()), num_samples=len(batch)). "
            "An ordinary LightningModule needs none: attach a HookCallback to its Trainer"
        )
    elif not hasattr(model, "train_step"):
        raise ModelError(
            f"{type(model).__name__} hides the train_step of {type(inner).__name__}: give the runner the model "
            "itself, or wrap it in MMDistributedDataParallel (several processes) or MMDataParallel (one device) of "
            "mmhooks.distributed"
        )


def check_optimizer(optimizer: Any) -> None:
    """Check that an optimizer is one, or several by name, or None.

    Raises:
        TypeError: it is something else.
    """
    named = optimizer if isinstance(optimizer, dict) else {"": optimizer}
    for name, one in named.items():
        if one is not None and not isinstance(one, Optimizer):
            where = f"optimizer[{name!r}]" if name else "optimizer"
            raise TypeError(
                f"{where} must be a torch.optim.Optimizer, a dict of them or None, not {type(one).__name__}; "
                "a config becomes one by mmhooks.optim.build_optimizer(model, config)"
            )


def check_length(runner: str, name: str, value: Any) -> int:
    """Check the length of a run.

    Args:
        runner: the class of the runner.
        name: ``max_epochs`` or ``max_iters``.
        value: what was given; as in MMCV, a float such as ``4e4`` is fine where it is whole.

    Raises:
        ConfigError: it is no number of epochs or iterations.
    """
    return check_count(runner, name, value, minimum=0, whole_floats=True)


def check_flows(loaders: Any, workflow: Any) -> None:
    """Check what `run` is given.

    Raises:
        TypeError: ``loaders`` is no list, ``workflow`` no list of tuples, or the loader of a flow none.
        ConfigError: they differ in length, or the workflow is none.
    """
    if not isinstance(loaders, list):
        raise TypeError(f"run takes a list of loaders, one a flow of the workflow, not {type(loaders).__name__}")
    if not isinstance(workflow, list) or not all(isinstance(flow, tuple) for flow in workflow):
        raise TypeError(f"workflow must be a list of tuples such as [('train', 1), ('val', 1)], not {workflow!r}")
    if len(loaders) != len(workflow):
        raise ConfigError(
            f"{len(loaders)} loaders for {len(workflow)} flows {workflow}: run takes one loader a flow, in that order"
        )
    check_workflow(workflow)
    for loader, flow in zip(loaders, workflow, strict=True):
        if flow[1] > 0 and not isinstance(loader, Iterable) and not hasattr(loader, "__getitem__"):
            raise TypeError(
                f"the flow {flow} needs a loader that gives its batches, not {loader!r:.60}; where there is none, "
                "leave the flow out of the workflow"
            )


def check_workflow(workflow: list[tuple[Any, ...]]) -> None:
    """Check the flows of a workflow.

    Raises:
        ConfigError: one is neither train nor val, or how often it runs is no number; or none of them trains.
    """
    for flow in workflow:
        if len(flow) != 2 or flow[0] not in ("train", "val") or not _is_number_of_times(flow[1]):
            raise ConfigError(
                "a flow of the workflow is ('train', n) or ('val', n), with an integer n that is 0 (never) or more, "
                f"not {flow!r}"
            )
    if not any(mode == "train" and count > 0 for mode, count in workflow):
        raise ConfigError(f"the workflow {workflow} never trains, so the run would never end; add ('train', 1)")


def _is_number_of_times(count: Any) -> bool:
    return isinstance(count, Integral) and not isinstance(count, bool) and int(count) >= 0


def check_hook(argument: str, hook: Any, example: str) -> None:
    """Check that a hook is given as an object, or as a dict that becomes one.

    Args:
        argument: what it is given as, for the message: ``"lr_config"``.
        hook: a `Hook`, any object with some of its methods, or a dict.
        example: a dict that would do, as it is written.

    Raises:
        ConfigError: it is something else.
    """
    if not _is_hook(hook):
        raise ConfigError(f"{argument} must be a dict such as {example}, or a hook, not {hook!r}")


def _is_hook(hook: Any) -> bool:
    return isinstance(hook, Mapping) or any(hasattr(hook, point) for point in (*POINTS, *GENERIC_POINTS))


def check_custom_hooks(argument: str, hooks: Any) -> list[Any]:
    """Check the hooks that a user adds, and their priorities.

    Args:
        argument: what they are given as, for the message.
        hooks: a hook, a dict that becomes one, a list of these, or None.

    Returns:
        All of them in a list.

    Raises:
        ConfigError: one is something else, or has a ``priority`` that is none.
    """
    if hooks is None:
        return []
    example = "dict(type='EMAHook', priority='NORMAL')"
    several = isinstance(hooks, (list, tuple))
    if not several and not _is_hook(hooks):
        raise ConfigError(f"{argument} must be a list of hooks such as [{example}], not {hooks!r}")
    for index, hook in enumerate(hooks if several else [hooks]):
        place = f"{argument}[{index}]" if several else argument
        check_hook(place, hook, example)
        if isinstance(hook, Mapping) and "priority" in hook:
            try:
                get_priority(hook["priority"])
            except (TypeError, ConfigError) as error:
                raise ConfigError(f"{place}: {error}") from None
    return list(hooks) if several else [hooks]

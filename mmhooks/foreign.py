"""Hooks that were written against the real mmcv (1.x), in an environment where a user's code has imported it.

Nothing here imports mmcv. Once it is imported by somebody else,

- a name that a registry of mmhooks does not have is looked up in mmcv's registry of that kind, so what a project has
  registered there is found;
- hooks of mmcv's own that step, save, log or evaluate are replaced by those of mmhooks, with the same arguments: they
  give the same numbers and use the services of the driver;
- whoever looks for mmcv's classes with ``isinstance``, as mmcv's and projects' hooks do, finds their counterparts.

Set ``mmhooks.foreign.enabled = False`` to leave all of that out.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from mmhooks.errors import MMHooksError
from mmhooks.hook import Hook
from mmhooks.registry import HOOKS, MODELS, OPTIMIZER_BUILDERS, OPTIMIZERS, parameters_of

if TYPE_CHECKING:
    from mmhooks.runner.base import BaseRunner

#: Whether names are looked up in mmcv's registries and its hooks are replaced. What a driver cannot run is refused
#: either way.
enabled = True

#: Hooks of mmcv that are replaced, besides its loggers, as far as there are such ones here.
_REPLACED = frozenset(
    {
        "CheckpointHook",
        "DistEvalHook",
        "DistSamplerSeedHook",
        "EMAHook",
        "EvalHook",
        "Fp16OptimizerHook",
        "GradientCumulativeFp16OptimizerHook",
        "GradientCumulativeOptimizerHook",
        "OptimizerHook",
        "SyncBuffersHook",
    }
)

#: The families that mmcv's code looks for among a runner's hooks.
_LOOKED_FOR = ("LoggerHook", "CheckpointHook", "EvalHook")


# names ----------------------------------------------------------------------------------------------------------


class TheirRegistry:
    """A registry of mmcv, if it has been imported.

    A name means the class of mmhooks rather than mmcv's own, and the class of a project rather than either: one that
    a project has put in the place of mmcv's is what its configs mean. ``mmcv.Name`` is mmcv's own, ``mmhooks.Name``
    that of mmhooks.

    Args:
        module: where it is, as in ``"mmcv.runner"``.
        name: what it is called there.
    """

    def __init__(self, module: str, name: str) -> None:
        self._place = (module, name)

    def find(self, key: str, own: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """Give what a key means, whose entry in the registry of mmhooks (if there is one) is ``own``."""
        theirs = self._get(key)
        built_in = own is not None and _package(own) in ("mmhooks", "torch")
        if theirs is None or (own is not None and not (built_in and _package(theirs) != "mmcv")):
            return own
        return theirs

    def keys(self) -> Iterator[str]:
        """List what is registered there, as it is written in a config."""
        if (registry := self._registry()) is not None:
            yield from _keys_of(registry)

    def _get(self, key: str) -> Callable[..., Any] | None:
        registry = self._registry()
        *scopes, name = key.split(".")
        if scopes and registry is not None and scopes[0] == registry.scope:
            del scopes[0]
        for scope in scopes:
            registry = None if registry is None else registry.children.get(scope)
        return None if registry is None else registry.module_dict.get(name)

    def _registry(self) -> Any:
        module, name = self._place
        return getattr(sys.modules.get(module), name, None) if enabled else None


def _keys_of(registry: Any) -> Iterator[str]:
    yield from registry.module_dict
    for scope, child in registry.children.items():
        for key in _keys_of(child):
            yield f"{scope}.{key}"


def _package(target: Any) -> str:
    return str(target.__module__).partition(".")[0]


HOOKS.elsewhere = TheirRegistry("mmcv.runner", "HOOKS")
OPTIMIZERS.elsewhere = TheirRegistry("mmcv.runner", "OPTIMIZERS")
OPTIMIZER_BUILDERS.elsewhere = TheirRegistry("mmcv.runner", "OPTIMIZER_BUILDERS")
MODELS.elsewhere = TheirRegistry("mmcv.cnn", "MODELS")


# hooks ----------------------------------------------------------------------------------------------------------


def is_a(hook: Any, kind: type) -> bool:
    """Tell whether a hook is of a class of ours, or of mmcv's class of that name."""
    return isinstance(hook, kind) or any(
        cls.__name__ == kind.__name__ and _package(cls) == "mmcv" for cls in type(hook).__mro__
    )


def adopt(runner: BaseRunner, hook: Any) -> Any:
    """Take a hook into the list of a runner.

    Args:
        runner: whose list; its log says what is replaced.
        hook: any hook.

    Returns:
        The hook, or what takes its place: for one of mmcv's own, ours of that name with the same arguments.

    Raises:
        ConfigError: it has arguments that ours refuses.
    """
    if not enabled or _mmcv() is None:
        return hook
    _introduce(runner)
    if isinstance(hook, Hook):
        _make_known(hook)
        return hook
    name = type(hook).__name__
    ours = _counterpart(hook)
    if ours is None:
        return hook
    if hasattr(hook, "priority"):
        ours.priority = hook.priority
    _make_known(ours)
    runner.logger.info("mmcv's %s is replaced by mmhooks.%s, with the same arguments", name, name)
    scaler = getattr(ours, "loss_scaler", None)
    if scaler is not None and not scaler.is_enabled() and not torch.cuda.is_available():
        runner.logger.warning(
            "without a GPU mmcv switches the loss scaler of its %s off and forgets its arguments, so it stays off: to "
            "train in fp16 on the CPU, register mmhooks.%s(loss_scale='dynamic')",
            name,
            name,
        )
    return ours


def settle(runner: BaseRunner) -> None:
    """Look, when a run begins, at all hooks of a runner: mmcv may have been imported since they were registered.

    Raises:
        HookError: a hook of mmcv's does by itself what the driver must do.
    """
    if _mmcv() is None:
        return
    runner.hooks[:] = list(runner.hooks)  # each is adopted on its way in
    for hook in runner.hooks:
        if isinstance(hook, Hook):
            continue
        for base in type(hook).__mro__:
            if _package(base) == "mmcv" and base.__name__ in _SERVICES:
                service = _SERVICES[base.__name__]
                if "Eval" not in base.__name__ or getattr(hook, "save_best", None) is not None:
                    runner.check_bypass(type(hook).__name__, service, f"mmhooks.{base.__name__}")
                break


#: What hooks of these classes of mmcv, and those derived from them, do past the services of a runner.
_SERVICES = {
    "OptimizerHook": "backward",
    "GradientCumulativeOptimizerHook": "backward",
    "Fp16OptimizerHook": "backward",
    "GradientCumulativeFp16OptimizerHook": "backward",
    "CheckpointHook": "save_checkpoint",
    "EvalHook": "save_checkpoint",
    "DistEvalHook": "save_checkpoint",
}


def _mmcv() -> Any:
    """Give ``mmcv.runner``, if somebody has imported it."""
    return sys.modules.get("mmcv.runner")


def _class_of(name: str) -> Any:
    """Give mmcv's own class of a name."""
    found = getattr(_mmcv(), name, None)
    return found if isinstance(found, type) and _package(found) == "mmcv" else None


def _introduce(runner: BaseRunner) -> None:
    """Let ``isinstance(runner, mmcv.runner.EpochBasedRunner)``, which hooks ask, say what it says of mmcv's own."""
    for name in ("BaseRunner", "EpochBasedRunner" if runner.by_epoch else "IterBasedRunner"):
        theirs = _class_of(name)
        if theirs is not None and not isinstance(runner, theirs):
            theirs.register(type(runner))


# one of ours that mmcv's code knows, too --------------------------------------------------------------------------


def _make_known(hook: Hook) -> None:
    """Let ``isinstance(hook, mmcv.runner.CheckpointHook)``, and the like, hold for one of ours."""
    known = _known(type(hook))
    if known is not type(hook):
        hook.__class__ = known  # a subclass without anything of its own


def _known(cls: Any) -> Any:
    ours = [base for base in cls.__mro__ if _package(base) == "mmhooks"]
    if any(base.__name__ in _LOOKED_FOR for base in ours):
        for theirs in (_class_of(base.__name__) for base in ours):
            if theirs is not None:
                return cls if issubclass(cls, theirs) else _joined(cls, theirs)
    return cls


@functools.cache
def _joined(ours: Any, theirs: Any) -> Any:
    names = {"__module__": ours.__module__, "__qualname__": ours.__qualname__, "__doc__": ours.__doc__}
    return type(ours.__name__, (ours, theirs), {**names, "__reduce_ex__": _reduced})


def _reduced(hook: Any, protocol: int) -> Any:
    """Pickle (or copy) as an instance of our class: another process makes the joined one anew, if it has mmcv."""
    return _restored, (type(hook).__bases__[0],), hook.__getstate__()


def _restored(cls: Any) -> Any:
    known = _known(cls)
    return known.__new__(known)


# one of ours in the place of one of mmcv's ------------------------------------------------------------------------


def _counterpart(hook: Any) -> Any:
    """Make ours for a hook of one of mmcv's own classes; None where there is none, or it would not be the same."""
    from mmhooks import hooks  # they import the base of runners, which imports this

    cls = type(hook)
    name = cls.__name__
    replaced = name in _REPLACED or any(base.__name__ == "LoggerHook" for base in cls.__mro__)
    own = getattr(hooks, name, None)
    if own is None or not replaced or _package(cls) != "mmcv" or _is_changed(hook):
        return None
    if issubclass(own, hooks.RetiredLoggerHook):
        return own()
    try:
        arguments = _arguments(hook, own)
    except AttributeError:  # of a release that keeps it elsewhere
        return None
    if arguments is None:
        return None
    try:
        ours = own(**arguments)
    except (MMHooksError, TypeError) as error:
        error.add_note(f"while replacing mmcv's {name} by mmhooks.{name}")
        raise
    if name == "EMAHook":
        ours.momentum = hook.momentum  # exactly
    return ours


def _is_changed(hook: Any) -> bool:
    """Tell whether methods have been set on the object itself."""
    return any(callable(value) and hasattr(type(hook), name) for name, value in vars(hook).items())


def _arguments(hook: Any, own: type) -> dict[str, Any] | None:
    """Read the arguments of a hook off the object; None where ours does not take one of them."""
    taken = parameters_of(own)
    given: dict[str, Any] = {}
    for name, parameter in parameters_of(type(hook)).items():
        value = _READERS[name](hook) if name in _READERS else getattr(hook, name)
        if name in taken:
            given[name] = value
        elif value != parameter.default:
            return None
    more = {"CheckpointHook": "args", "EvalHook": "eval_kwargs", "DistEvalHook": "eval_kwargs"}.get(type(hook).__name__)
    return given if more is None else {**given, **getattr(hook, more)}


def _test_fn(hook: Any) -> Any:
    """Give a test function of the user's own."""
    engine = sys.modules.get("mmcv.engine")
    default = hook.test_fn in (getattr(engine, "single_gpu_test", None), getattr(engine, "multi_gpu_test", None))
    return None if default else hook.test_fn


def _momentum(hook: Any) -> float:
    return float(hook.momentum ** (1 / hook.interval))  # the hook keeps momentum ** interval


def _loss_scale(hook: Any) -> Any:
    if hook._scale_update_param is not None:
        return hook._scale_update_param
    scaler = hook.loss_scaler
    if not scaler.is_enabled():
        return {"enabled": False}
    return {
        "init_scale": scaler.get_scale(),
        "growth_factor": scaler.get_growth_factor(),
        "backoff_factor": scaler.get_backoff_factor(),
        "growth_interval": scaler.get_growth_interval(),
    }


#: Arguments that a hook of mmcv does not keep under their own names.
_READERS: dict[str, Callable[[Any], Any]] = {
    "loss_scale": _loss_scale,
    "momentum": _momentum,
    "resume_from": lambda hook: hook.checkpoint,
    "rule": lambda hook: getattr(hook, "rule", None),  # not kept without save_best
    "test_fn": _test_fn,
}

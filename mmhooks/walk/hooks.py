"""The hooks of a plan, registered as a run would, with stand-ins for classes that cannot be found."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import mmhooks.hooks  # noqa: F401  (registers them)
from mmhooks.hook import POINTS, Hook
from mmhooks.hook_names import policy_class
from mmhooks.hooks import EvalHook, LoggerHook, ServiceLoggerHook
from mmhooks.imports import import_custom
from mmhooks.log import get_logger
from mmhooks.plan import RunPlan
from mmhooks.registry import HOOKS
from mmhooks.runner.base import BaseRunner
from mmhooks.runner.registration import HookRegistration
from mmhooks.walk.evaluation import evaluation_stand_in
from mmhooks.walk.known import LOGGER_POINTS, POINTS_OF, UPDATER_POINTS
from mmhooks.walk.trace import Unwalked

_POLICIES = {"lr_config": "LrUpdaterHook", "momentum_config": "MomentumUpdaterHook"}


class StandIn(Hook):
    """Holds the place of a hook whose class cannot be found, and does nothing.

    Where it is known at which points the hook does something, it is called there, otherwise at all of them.

    Attributes:
        config: the arguments of the hook.
        every: for its points, how often it does something there; empty where that is not known.
    """

    every: Mapping[str, str] = {}

    def __init__(self, **config: Any) -> None:
        self.config = config


def stand_in(name: str, every: Mapping[str, str] | None = None) -> type[StandIn]:
    """Make a class that stands in for a hook.

    Args:
        name: of the class that cannot be found.
        every: for the points at which it does something, how often. None: look it up, or assume all ten points.

    Example:
        >>> stand_in("NumClassCheckHook")().get_triggered_stages()
        ['before_train_epoch', 'before_val_epoch']
    """
    known = POINTS_OF.get(name.rpartition(".")[2]) if every is None else every
    methods = dict.fromkeys(known or POINTS, _nothing)
    return type(name.rpartition(".")[2], (StandIn,), {"__module__": __name__, "every": known or {}, **methods})


def silent(service: type[ServiceLoggerHook]) -> type[ServiceLoggerHook]:
    """Make a logger of a service that checks its arguments and sends nothing; its package need not be installed.

    Args:
        service: the logger's class.
    """
    methods = {"__module__": __name__, "check_installed": _installed, "before_run": LoggerHook.before_run}
    return type(service.__name__, (service,), methods)


def _installed(self: ServiceLoggerHook) -> None:
    """Ask for nothing."""


def _nothing(self: StandIn, runner: BaseRunner) -> None:
    """Hold a place in the calling order."""


def import_classes(plan: RunPlan) -> None:
    """Import the code base of a plan, and what its ``custom_imports`` name, which runs their code.

    Raises:
        ConfigError: a module of ``custom_imports`` cannot be imported.
        ImportError: the code base cannot.
    """
    builders = plan.recipe.builders
    if builders is not None:
        for place in (builders.model, builders.dataset, builders.optimizer):
            importlib.import_module(place.partition(":")[0])
    import_custom(plan.source.values.get("custom_imports"), plan.source.name, get_logger())


class HookSet:
    """The hooks of a run, as configs, with what cannot be found replaced by stand-ins.

    Args:
        training_hooks: the arguments of `register_training_hooks`.
        hooks: what is registered afterwards: (key, config, priority, place of the class) each.
        custom_key: what the config calls the hooks in ``custom_hooks_config``.
        keys: other names of the training hooks' keys.

    Attributes:
        unwalked: what was replaced, each with the reason.
        origins: by the id of a hook, the key that asks for it.
    """

    def __init__(
        self,
        training_hooks: Mapping[str, Any],
        hooks: Iterable[tuple[str, Any, Any, str | None]] = (),
        custom_key: str = "custom_hooks",
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self.unwalked: list[Unwalked] = []
        self.origins: dict[int, str] = {}
        self._keys = dict(keys or {})
        self._custom_key = custom_key
        self._hooks = list(hooks)
        self._training = dict(training_hooks)

    @classmethod
    def of(cls, plan: RunPlan) -> HookSet:
        """Take the hooks of a plan."""
        recipe, values = plan.recipe, plan.source.values
        custom = next((key for key in recipe.custom_hooks_keys if values.get(key) is not None), "custom_hooks")
        keys = {}
        if values.get("fp16") is not None and recipe.fp16 != "ignored":
            keys["optimizer_config"] = "fp16"
        hooks = [(hook.key, hook.config, hook.priority, hook.place) for hook in plan.hooks]
        return cls(plan.training_hooks, hooks, custom, keys)

    def register(self, target: HookRegistration) -> None:
        """Register the hooks on a runner, or on whatever else takes hooks.

        Args:
            target: it has no hooks yet.

        Raises:
            ConfigError: a hook refuses its arguments.
        """
        training = dict(self._training)
        for argument, suffix in _POLICIES.items():
            training[argument] = self._updater(argument, training.get(argument), suffix)
        for argument in ("optimizer_config", "checkpoint_config"):
            if argument in training:
                training[argument] = self._typed(self._name(argument), training[argument])
        if isinstance(training.get("log_config"), Mapping):
            training["log_config"] = self._loggers(training["log_config"])
        custom = training.get("custom_hooks_config")
        if custom is not None:
            listed = custom if isinstance(custom, (list, tuple)) else [custom]
            named = [(f"{self._custom_key}[{index}]", one) for index, one in enumerate(listed)]
            training["custom_hooks_config"] = [self._custom(key, one) for key, one in named]
        before = len(target.hooks)
        assert before == 0, "the hooks of a walk are registered first"
        with _Origins(target, self) as origins:
            target.register_training_hooks(**training)
            for key, config, priority, place in self._hooks:
                origins.key = key
                target.register_hook(self._further(key, config, place), priority)

    def _name(self, argument: str) -> str:
        return self._keys.get(argument, argument)

    def _updater(self, argument: str, config: Any, suffix: str) -> Any:
        policy = config.get("policy") if isinstance(config, Mapping) else None
        if not isinstance(policy, str):
            return config
        name = policy_class(policy, suffix)
        if HOOKS.get(name) is not None:
            return config
        what = suffix.removesuffix("UpdaterHook").lower()
        self._miss(name, argument, f"the policy {policy!r} cannot be found, so the {what} cannot be walked")
        return stand_in(name, UPDATER_POINTS)(**{key: value for key, value in config.items() if key != "policy"})

    def _typed(self, key: str, config: Any, every: Mapping[str, str] | None = None) -> Any:
        """Replace the type of a config where it cannot be found."""
        kind = config.get("type") if isinstance(config, Mapping) else None
        if not isinstance(kind, str):
            return config
        found = HOOKS.get(kind)
        if isinstance(found, type) and issubclass(found, ServiceLoggerHook):
            return {**config, "type": silent(found)}
        if found is not None:
            return config
        self._miss(kind, key, "its class cannot be found, so its place alone is kept")
        return {**config, "type": stand_in(kind, every)}

    def _custom(self, key: str, config: Any) -> Any:
        if isinstance(config, Mapping) and "type" not in config:
            self._miss("a hook without a type", key, "nothing can be built from it")
            return {**config, "type": stand_in("Untyped")}
        return self._typed(key, config)

    def _loggers(self, log_config: Mapping[str, Any]) -> Any:
        loggers = log_config.get("hooks", ())
        if not isinstance(loggers, (list, tuple)):
            return log_config
        replaced = [
            self._typed(f"log_config.hooks[{index}]", logger, LOGGER_POINTS) for index, logger in enumerate(loggers)
        ]
        return {**log_config, "hooks": replaced}

    def _further(self, key: str, config: Any, place: str | None) -> Any:
        if not isinstance(config, Mapping):
            return config
        kind = config.get("type")
        found = HOOKS.get(kind) if isinstance(kind, str) else kind
        is_evaluation = key == "evaluation" or (isinstance(found, type) and issubclass(found, EvalHook))
        if not is_evaluation:
            return self._custom(key, config)
        if place is None and found is None:
            self._miss(str(kind), key, "its class cannot be found; it is taken to evaluate when MMCV's EvalHook would")
        return evaluation_stand_in(config, place)

    def _miss(self, what: str, key: str, reason: str) -> None:
        self.unwalked.append(Unwalked(what, key, reason))


class _Origins:
    """Notes, while hooks are registered, which key of the config asks for each.

    Args:
        target: whose methods it wraps meanwhile.
        hooks: what takes the notes.
    """

    def __init__(self, target: HookRegistration, hooks: HookSet) -> None:
        self.key = ""
        self._index: int | None = None
        self._target = target
        self._hooks = hooks

    def __enter__(self) -> _Origins:
        names = self._hooks._name
        several = {"register_logger_hooks": "log_config.hooks", "register_custom_hooks": self._hooks._custom_key}
        single = {f"register_{name}_hook": names(f"{name}_config") for name in ("lr", "momentum", "optimizer")}
        single |= {"register_checkpoint_hook": "checkpoint_config", "register_timer_hook": ""}
        self._wrapped = [*several, *single, "register_hook"]
        for method, key in several.items():
            setattr(self._target, method, self._asking(getattr(self._target, method), key, 0))
        for method, key in single.items():
            setattr(self._target, method, self._asking(getattr(self._target, method), key, None))
        self._target.register_hook = self._noting(self._target.register_hook)  # type: ignore[method-assign]
        return self

    def __exit__(self, *error: object) -> None:
        for method in self._wrapped:
            vars(self._target).pop(method, None)

    def _asking(self, method: Callable[[Any], None], key: str, index: int | None) -> Callable[[Any], None]:
        def asking(config: Any) -> None:
            self.key, self._index = key, index
            method(config)
            self.key, self._index = "", None

        return asking

    def _noting(self, method: Callable[..., None]) -> Callable[..., None]:
        def noting(hook: Any, priority: Any = "NORMAL") -> None:
            before = set(map(id, self._target.hooks))
            method(hook, priority)
            key = self.key
            if self._index is not None:
                key, self._index = f"{key}[{self._index}]", self._index + 1
            self._hooks.origins.update({id(one): key for one in self._target.hooks if id(one) not in before})

        return noting

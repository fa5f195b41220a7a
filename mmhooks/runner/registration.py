"""The register_* methods, the same on runners and on the Lightning callback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmhooks.checks import check_count
from mmhooks.dispatch import CallTable, HookList
from mmhooks.errors import ConfigError, RegistryError, nearest
from mmhooks.hook_names import policy_class
from mmhooks.priority import Priority
from mmhooks.registry import HOOKS, build_from_cfg
from mmhooks.runner.checks import check_custom_hooks, check_hook

HookOrConfig = Any  # a hook, a dict(type=...), or None

_EXAMPLES = {
    "lr_config": "dict(policy='step', step=[8, 11])",
    "momentum_config": "dict(policy='step', step=[8, 11])",
    "optimizer_config": "dict(grad_clip=dict(max_norm=35))",
    "checkpoint_config": "dict(interval=1)",
    "timer_config": "dict(type='IterTimerHook')",
    "profiler_config": "dict(profile_iters=1)",
}
_LOG_KEYS = ("interval", "hooks")


class HookRegistration:
    """Takes hooks as objects or as configs and keeps them in a call table.

    The default priorities are MMCV's:

    | hook | priority |
    |---|---|
    | lr updater | VERY_HIGH (10) |
    | momentum updater | HIGH (30) |
    | optimizer | ABOVE_NORMAL (40) |
    | checkpoint | NORMAL (50) |
    | custom | NORMAL (50), or what its config says |
    | timer | LOW (70) |
    | loggers | VERY_LOW (90) |

    Attributes:
        call_table: the hooks and what they override.
        by_epoch: what a config that does not say so means: epochs or iterations.
    """

    call_table: CallTable
    by_epoch: bool = True

    @property
    def hooks(self) -> HookList:
        """The registered hooks in calling order; the list may be changed."""
        return self.call_table.hooks

    def register_hook(self, hook: Any, priority: int | str | Priority = "NORMAL") -> None:
        """Register one hook.

        Args:
            hook: a hook, any object with some of the ten methods, or a ``dict(type=..., ...)``. Of the real mmcv's own
                hooks some are replaced (see `mmhooks.foreign`).
            priority: 0 (first) to 100 (last), a name such as ``"HIGH"``, or a `Priority`. A ``priority`` in a
                dict goes before it.

        Raises:
            ConfigError: a priority that is none.
            HookError: the object is registered already.
            RegistryError: a type that nobody registered; the message names the nearest known ones.

        Example:
            >>> runner.register_hook(EMAHook(), priority="ABOVE_NORMAL")
            >>> runner.register_hook(dict(type="EMAHook", momentum=0.001, priority="HIGH"))
        """
        if isinstance(hook, Mapping):
            config = dict(hook)
            priority = config.pop("priority", priority)
            hook = build_from_cfg(config, HOOKS)
        self.call_table.add(hook, priority)

    def register_hook_from_cfg(self, hook_cfg: Mapping[str, Any]) -> None:
        """Register a hook from its config, whose ``priority`` is NORMAL unless it says otherwise."""
        self.register_hook(hook_cfg)

    def register_lr_hook(self, lr_config: HookOrConfig) -> None:
        """Register an lr updater: a hook, or a config whose ``policy='step'`` names a StepLrUpdaterHook."""
        self._register("lr_config", _with_policy(lr_config, "lr_config", "LrUpdaterHook"), "VERY_HIGH")

    def register_momentum_hook(self, momentum_config: HookOrConfig) -> None:
        """Register a momentum updater: a hook, or a config with a ``policy``."""
        config = _with_policy(momentum_config, "momentum_config", "MomentumUpdaterHook")
        self._register("momentum_config", config, "HIGH")

    def register_optimizer_hook(self, optimizer_config: HookOrConfig) -> None:
        """Register what turns the loss into a step: a hook, or a config (an OptimizerHook by default)."""
        self._register("optimizer_config", _with_type(optimizer_config, "OptimizerHook"), "ABOVE_NORMAL")

    def register_checkpoint_hook(self, checkpoint_config: HookOrConfig) -> None:
        """Register what saves checkpoints: a hook, or a config (a CheckpointHook by default)."""
        self._register("checkpoint_config", _with_type(checkpoint_config, "CheckpointHook"), "NORMAL")

    def register_timer_hook(self, timer_config: HookOrConfig) -> None:
        """Register what measures the time of iterations: a hook, or a config."""
        self._register("timer_config", timer_config, "LOW")

    def register_profiler_hook(self, profiler_config: HookOrConfig) -> None:
        """Register a profiler: a hook, or a config (a ProfilerHook by default)."""
        self._register("profiler_config", _with_type(profiler_config, "ProfilerHook"), "NORMAL")

    def register_logger_hooks(self, log_config: Mapping[str, Any] | None) -> None:
        """Register loggers.

        Args:
            log_config: ``dict(interval=10, hooks=[dict(type="TextLoggerHook"), ...])``. The interval (in
                iterations, 10 by default) holds for every logger that has none of its own.

        Raises:
            ConfigError: it is no such dict.
        """
        if log_config is None:
            return
        interval, loggers = _log_config(log_config)
        for info in loggers:
            hook = info
            if isinstance(info, Mapping):
                hook = build_from_cfg(info, HOOKS, default_args={"interval": interval})
            self.register_hook(hook, "VERY_LOW")

    def register_custom_hooks(self, custom_config: Any) -> None:
        """Register the user's own hooks: a hook, a config with or without ``priority``, or a list of these.

        Raises:
            ConfigError: one of them is something else, or has a priority that is none.
        """
        for hook in check_custom_hooks("custom_hooks", custom_config):
            self.register_hook(hook)

    def register_training_hooks(
        self,
        lr_config: HookOrConfig,
        optimizer_config: HookOrConfig = None,
        checkpoint_config: HookOrConfig = None,
        log_config: Mapping[str, Any] | None = None,
        momentum_config: HookOrConfig = None,
        timer_config: HookOrConfig = {"type": "IterTimerHook"},  # noqa: B006  (read, never changed)
        custom_hooks_config: Any = None,
    ) -> None:
        """Register the hooks of an ordinary training run at their default priorities.

        In an iteration-based run the lr, checkpoint and logger configs mean iterations unless they say
        ``by_epoch`` themselves.

        Args:
            lr_config: see `register_lr_hook`.
            optimizer_config: see `register_optimizer_hook`.
            checkpoint_config: see `register_checkpoint_hook`.
            log_config: see `register_logger_hooks`.
            momentum_config: see `register_momentum_hook`.
            timer_config: see `register_timer_hook`.
            custom_hooks_config: see `register_custom_hooks`.

        Raises:
            ConfigError: a config that cannot be used; says which.
            RegistryError: a type or a policy that nobody registered.
        """
        if not self.by_epoch:
            lr_config = _by_iteration(lr_config)
            checkpoint_config = _by_iteration(checkpoint_config)
            if log_config is not None:
                interval, loggers = _log_config(log_config)
                log_config = {"interval": interval, "hooks": [_by_iteration(info) for info in loggers]}
        self.register_lr_hook(lr_config)
        self.register_momentum_hook(momentum_config)
        self.register_optimizer_hook(optimizer_config)
        self.register_checkpoint_hook(checkpoint_config)
        self.register_timer_hook(timer_config)
        self.register_logger_hooks(log_config)
        self.register_custom_hooks(custom_hooks_config)

    def _register(self, argument: str, config: HookOrConfig, priority: str) -> None:
        if config is not None:
            check_hook(argument, config, f"{argument}={_EXAMPLES[argument]}")
            hook = build_from_cfg(config, HOOKS) if isinstance(config, Mapping) else config
            self.register_hook(hook, priority)


def _with_type(config: HookOrConfig, default: str) -> HookOrConfig:
    return {"type": default, **config} if isinstance(config, Mapping) else config


def _by_iteration(config: HookOrConfig) -> HookOrConfig:
    return {"by_epoch": False, **config} if isinstance(config, Mapping) else config


def _log_config(config: Any) -> tuple[int, Sequence[HookOrConfig]]:
    """Read a log_config: the interval, and the loggers."""
    example = "log_config=dict(interval=10, hooks=[dict(type='TextLoggerHook')])"
    if not isinstance(config, Mapping):
        raise ConfigError(f"log_config must be a dict such as {example}, not {config!r}")
    for key in config:
        if key not in _LOG_KEYS:
            raise ConfigError(
                f"log_config takes {' and '.join(_LOG_KEYS)}, not {key!r}{nearest(str(key), _LOG_KEYS) or '.'} "
                f"Write {example}"
            )
    loggers = config.get("hooks", ())
    if not isinstance(loggers, (list, tuple)):
        raise ConfigError(f"the hooks of log_config must be a list as in {example}, not {loggers!r}")
    for index, logger in enumerate(loggers):
        check_hook(f"log_config.hooks[{index}]", logger, "dict(type='TextLoggerHook')")
    return check_count("log_config", "interval", config.get("interval", 10)), loggers


def _with_policy(config: HookOrConfig, argument: str, suffix: str) -> HookOrConfig:
    """Spell the class that a policy names: 'step' is StepLrUpdaterHook, 'CosineAnnealing' stays as it is."""
    if not isinstance(config, Mapping):
        return config
    config = dict(config)
    try:
        policy = config.pop("policy")
    except KeyError:
        raise ConfigError(
            f"{argument} needs a policy, such as {argument}={_EXAMPLES[argument]}; "
            f"it has {', '.join(map(repr, config)) or 'no keys'}"
        ) from None
    if not isinstance(policy, str):
        raise ConfigError(f"the policy in {argument} must be a name such as 'step', not {policy!r}")
    kind = policy_class(policy, suffix)
    if HOOKS.get(kind) is None:
        stems = [name.removesuffix(suffix) for name in HOOKS.all_keys() if name.endswith(suffix)]
        known = list(dict.fromkeys(_policy(stem) for stem in stems if stem))
        raise RegistryError(
            f"{argument} has the policy {policy!r}, which nobody registered"
            f"{nearest(policy, known) or '; there are ' + ', '.join(known) + '.'} "
            f"A policy 'step' is the hook Step{suffix}: one of your own gets in with @HOOKS.register_module() on a "
            f"class {kind} in a module that the config imports: custom_imports=dict(imports=['my_package.my_module'])"
        )
    return {**config, "type": kind}


def _policy(stem: str) -> str:
    """Write a policy as configs do: 'step', since that is Step, but 'CosineAnnealing'."""
    return stem.lower() if stem == stem.title() else stem

"""build_runner: a config becomes a runner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmhooks.errors import ConfigError
from mmhooks.registry import RUNNER_BUILDERS, RUNNERS, build_from_cfg
from mmhooks.runner.base import BaseRunner


def build_runner(cfg: Mapping[str, Any], default_args: Mapping[str, Any] | None = None) -> BaseRunner:
    """Build a runner.

    Args:
        cfg: ``dict(type="EpochBasedRunner", max_epochs=12)`` or the like, which stays as it is. ``constructor``
            names another class of RUNNER_BUILDERS than `DefaultRunnerConstructor` to build it.
        default_args: the model, the optimizer and what else the config does not say.

    Raises:
        ConfigError: ``cfg`` is no dict.
        RegistryError: a type that is no runner, or a constructor that nobody registered.
    """
    if not isinstance(cfg, Mapping):
        raise ConfigError(
            f"runner must be a dict such as dict(type='EpochBasedRunner', max_epochs=12), not {type(cfg).__name__}"
        )
    runner_cfg = dict(cfg)
    kind = runner_cfg.pop("constructor", "DefaultRunnerConstructor")
    runner: BaseRunner = build_runner_constructor(
        {"type": kind, "runner_cfg": runner_cfg, "default_args": default_args}
    )()
    return runner


def build_runner_constructor(cfg: Mapping[str, Any]) -> Any:
    """Build what builds a runner.

    Args:
        cfg: ``dict(type="DefaultRunnerConstructor", runner_cfg=..., default_args=...)`` or the like.

    Returns:
        An object to be called without arguments; it gives the runner.

    Raises:
        RegistryError: a type that nobody registered in RUNNER_BUILDERS.
    """
    return RUNNER_BUILDERS.build(cfg)


@RUNNER_BUILDERS.register_module()
class DefaultRunnerConstructor:
    """Builds the runner that a config names. A constructor of one's own may change it on the way out.

    Args:
        runner_cfg: the type and arguments of the runner.
        default_args: arguments for the keys that it does not have.

    Raises:
        TypeError: ``runner_cfg`` is no dict.

    Example:
        >>> @RUNNER_BUILDERS.register_module()
        ... class Tagged(DefaultRunnerConstructor):
        ...     def __call__(self):
        ...         runner = super().__call__()
        ...         runner.tag = "mine"
        ...         return runner
        >>> build_runner(dict(type="EpochBasedRunner", constructor="Tagged", max_epochs=12), dict(model=model))
    """

    def __init__(self, runner_cfg: Mapping[str, Any], default_args: Mapping[str, Any] | None = None) -> None:
        if not isinstance(runner_cfg, Mapping):
            raise TypeError(f"runner_cfg must be a dict, not {type(runner_cfg).__name__}")
        self.runner_cfg = runner_cfg
        self.default_args = default_args

    def __call__(self) -> BaseRunner:
        """Build the runner."""
        runner: BaseRunner = build_from_cfg(self.runner_cfg, RUNNERS, self.default_args)
        return runner

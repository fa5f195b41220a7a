"""build_optimizer: a config becomes an optimizer, or several by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from mmhooks.distributed import unwrap
from mmhooks.errors import ConfigError, nearest
from mmhooks.registry import OPTIMIZERS, build_from_cfg

_DEFAULT_CONSTRUCTOR = "DefaultOptimizerConstructor"  # MMCV's, which does just what is done here


def build_optimizer(model: nn.Module, cfg: Mapping[str, Any]) -> Optimizer | dict[str, Optimizer]:
    """Build the optimizer of a model.

    Args:
        model: the model, in a parallel wrapper or not.
        cfg: ``dict(type="SGD", lr=0.1)`` for all parameters, or a dict of such dicts: one optimizer for each
            submodule that is named. It stays as it is.

    Returns:
        The optimizer, or the optimizers by the name of their submodule.

    Raises:
        ConfigError: a config that is no dict, a name that is no submodule, or ``paramwise_cfg`` or
            ``constructor``, which are not supported yet.
        RegistryError: a type that is no optimizer.

    Example:
        >>> build_optimizer(nn.Linear(2, 1), dict(type="SGD", lr=0.1)).defaults["lr"]
        0.1
    """
    inner = unwrap(model)
    if not isinstance(cfg, Mapping):
        raise ConfigError(f"optimizer must be a dict such as dict(type='SGD', lr=0.1), not {type(cfg).__name__}")
    if not cfg or "type" in cfg or not all(isinstance(one, Mapping) for one in cfg.values()):
        return _build(inner, cfg)
    return {name: _build(_submodule(inner, name), one) for name, one in cfg.items()}


def _build(module: nn.Module, cfg: Mapping[str, Any]) -> Optimizer:
    args = dict(cfg)
    if args.pop("paramwise_cfg", None):
        raise ConfigError(_unsupported("paramwise_cfg", cfg))
    if args.pop("constructor", _DEFAULT_CONSTRUCTOR) != _DEFAULT_CONSTRUCTOR:
        raise ConfigError(_unsupported("constructor", cfg))
    optimizer: Optimizer = build_from_cfg(args, OPTIMIZERS, {"params": module.parameters()})
    return optimizer


def _unsupported(key: str, cfg: Mapping[str, Any]) -> str:
    return (
        f"{key}={cfg[key]!r} of the optimizer is not supported yet: build the optimizer yourself, with the param "
        "groups that you want, and give it to the runner: optimizer=torch.optim.SGD(groups, ...)"
    )


def _submodule(model: nn.Module, name: str) -> nn.Module:
    children = dict(model.named_children())
    try:
        return children[name]
    except KeyError:
        raise ConfigError(
            f"optimizer has an entry {name!r}, but {type(model).__name__} has no submodule of that name, only "
            f"{', '.join(children) or 'none at all'}{nearest(name, children)}"
        ) from None

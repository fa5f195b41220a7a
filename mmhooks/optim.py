"""build_optimizer: a config becomes an optimizer with its param groups, or several optimizers by name."""

from __future__ import annotations

import copy
import inspect
import re
import warnings
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.optim import Optimizer

from mmhooks.checks import check_flag, check_module
from mmhooks.distributed import unwrap
from mmhooks.errors import ConfigError, MMHooksError, nearest
from mmhooks.registry import OPTIMIZER_BUILDERS, OPTIMIZERS, build_from_cfg

_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
_DECAY_MULTS = ("bias_decay_mult", "norm_decay_mult", "dwconv_decay_mult")
_MULTS = ("bias_lr_mult", *_DECAY_MULTS, "dcn_offset_lr_mult")
_KEYS = ("custom_keys", *_MULTS, "bypass_duplicate")
_CUSTOM_KEYS = ("lr_mult", "decay_mult")

#: Deformable convolutions are known by name: they are operators of mmcv, which need not be installed.
_DCN_NAMES = frozenset({"DeformConv2d", "DeformConv2dPack", "ModulatedDeformConv2d", "ModulatedDeformConv2dPack"})


def build_optimizer(model: nn.Module, cfg: Mapping[str, Any]) -> Optimizer | dict[str, Optimizer]:
    """Build the optimizer of a model.

    Args:
        model: the model, in a parallel wrapper or not.
        cfg: ``dict(type="SGD", lr=0.1)`` for all parameters, or a dict of such dicts: one optimizer for each
            submodule that is named. It stays as it is. ``paramwise_cfg`` gives params groups of their own (see
            `DefaultOptimizerConstructor`); ``constructor`` names another class of OPTIMIZER_BUILDERS that does so.

    Returns:
        The optimizer, or the optimizers by the name of their submodule.

    Raises:
        ConfigError: a config that is no dict, a name that is no submodule, or what the constructor or the optimizer
            refuses.
        ModelError: ``model`` is no model.
        RegistryError: a type that is no optimizer, or a constructor that nobody registered.
        TypeError: an argument that the optimizer does not take, or one that it lacks.

    Example:
        >>> build_optimizer(nn.Linear(2, 1), dict(type="SGD", lr=0.1)).defaults["lr"]
        0.1
    """
    check_module("build_optimizer", "model", model)
    inner = unwrap(model)
    if not isinstance(cfg, Mapping):
        raise ConfigError(f"optimizer must be a dict such as dict(type='SGD', lr=0.1), not {type(cfg).__name__}")
    if not cfg:
        raise ConfigError(
            "optimizer is an empty dict: it needs a 'type' and its arguments, as in dict(type='SGD', lr=0.1), or such "
            "a dict for each submodule"
        )
    if "type" in cfg or not all(isinstance(one, Mapping) for one in cfg.values()):
        return _build(inner, cfg)
    return {name: _build(_submodule(inner, name), one) for name, one in cfg.items()}


def build_optimizer_constructor(cfg: Mapping[str, Any]) -> Any:
    """Build what builds an optimizer.

    Args:
        cfg: ``dict(type="DefaultOptimizerConstructor", optimizer_cfg=..., paramwise_cfg=...)`` or the like.

    Returns:
        An object to be called with the model; it gives the optimizer.

    Raises:
        RegistryError: a type that nobody registered in OPTIMIZER_BUILDERS.
    """
    return build_from_cfg(cfg, OPTIMIZER_BUILDERS)


@OPTIMIZER_BUILDERS.register_module()
class DefaultOptimizerConstructor:
    """Gives every parameter a group of its own, with the learning rate and weight decay that ``paramwise_cfg`` says.

    For a parameter, the first that applies:

    1. ``custom_keys``: the longest key that is part of its full name (among equally long ones, the first in the
       alphabet) gives ``lr_mult`` and ``decay_mult``, and no other rule counts.
    2. the learning rate times ``bias_lr_mult`` for a bias outside of norm layers; times ``dcn_offset_lr_mult`` for
       the ``conv_offset`` of a deformable convolution.
    3. the weight decay times ``norm_decay_mult`` in norm layers, ``dwconv_decay_mult`` in depthwise Conv2d
       (``groups == in_channels``), ``bias_decay_mult`` for other biases.

    Without any of these, all parameters are one group. A subclass may override `add_params`, and is used when it is
    registered in OPTIMIZER_BUILDERS and named: ``optimizer=dict(..., constructor="MyConstructor")``.

    Args:
        optimizer_cfg: the type and arguments of the optimizer.
        paramwise_cfg: the rules: ``custom_keys`` (a dict of dicts), the numbers ``bias_lr_mult``,
            ``bias_decay_mult``, ``norm_decay_mult``, ``dwconv_decay_mult``, ``dcn_offset_lr_mult`` (1 by default),
            and ``bypass_duplicate``: whether a parameter that another module shares is passed over.

    Attributes:
        base_lr: ``lr`` of the optimizer's config, or None.
        base_wd: ``weight_decay`` of the optimizer's config, or None.

    Raises:
        TypeError: an argument, ``custom_keys`` or one of its values is no dict, or a factor no number.
        ConfigError: a rule multiplies a ``weight_decay`` or ``lr`` that the optimizer's config does not say; a key of
            ``custom_keys`` is no str, ``bypass_duplicate`` no bool; at the call, a number of the optimizer is none, or
            the optimizer refuses its config.
        ModelError: at the call, what is given is no model.

    Example:
        >>> constructor = DefaultOptimizerConstructor(
        ...     dict(type="SGD", lr=0.01, weight_decay=1e-4),
        ...     dict(norm_decay_mult=0.0, custom_keys={"backbone": dict(lr_mult=0.1)}))
        >>> optimizer = constructor(model)
    """

    def __init__(self, optimizer_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        if not isinstance(optimizer_cfg, Mapping):
            raise TypeError(f"optimizer_cfg must be a dict, not {type(optimizer_cfg).__name__}")
        self.optimizer_cfg = optimizer_cfg
        self.paramwise_cfg: Any = {} if paramwise_cfg is None else paramwise_cfg
        self.base_lr = optimizer_cfg.get("lr")
        self.base_wd = optimizer_cfg.get("weight_decay")
        self._validate_cfg()

    def __call__(self, model: nn.Module) -> Optimizer:
        """Build the optimizer of a model, in a parallel wrapper or not."""
        check_module(type(self).__name__, "model", model)
        model = unwrap(model)
        args = dict(self.optimizer_cfg)
        _check_numbers(args)
        if self.paramwise_cfg:
            args["params"] = []
            self.add_params(args["params"], model)
        else:
            args["params"] = model.parameters()
        try:
            optimizer: Optimizer = build_from_cfg(args, OPTIMIZERS)
        except (TypeError, ValueError) as error:
            if isinstance(error, MMHooksError) or _MISCALLED.search(str(error)):
                raise
            config = ", ".join(f"{key}={value!r}" for key, value in self.optimizer_cfg.items())
            raise ConfigError(f"optimizer=dict({config}) is refused: {error}") from error
        return optimizer

    def add_params(
        self,
        params: list[dict[str, Any]],
        module: nn.Module,
        prefix: str = "",
        is_dcn_module: bool | float | None = None,
    ) -> None:
        """Add the param groups of a module and all below it.

        Args:
            params: the groups so far, which grow.
            module: whose parameters.
            prefix: its full name in the model.
            is_dcn_module: whether the module that holds it is a deformable convolution.
        """
        cfg = self.paramwise_cfg
        taken = {id(one) for group in params for one in group["params"]} if cfg.get("bypass_duplicate") else set()
        for name, param in module.named_parameters(recurse=False):
            group: dict[str, Any] = {"params": [param]}
            if param.requires_grad:
                if id(param) in taken:
                    warnings.warn(
                        f"{prefix} shares its {name} with another module: bypass_duplicate passes it over", stacklevel=2
                    )
                    continue
                group.update(self._options(module, f"{prefix}.{name}", name, bool(is_dcn_module)))
            params.append(group)
        is_dcn = any(cls.__name__ in _DCN_NAMES for cls in type(module).__mro__)
        for name, child in module.named_children():
            self.add_params(params, child, prefix=f"{prefix}.{name}" if prefix else name, is_dcn_module=is_dcn)

    def _options(self, module: nn.Module, full_name: str, name: str, in_dcn: bool) -> dict[str, float]:
        """Give the learning rate and weight decay that a parameter's group says itself."""
        cfg = self.paramwise_cfg
        for key in sorted(sorted(cfg.get("custom_keys", ())), key=len, reverse=True):
            if key in full_name:
                own = cfg["custom_keys"][key]
                options = {"lr": self._lr(_factor(own, "lr_mult"))}
                if self.base_wd is not None:
                    options["weight_decay"] = self._wd(_factor(own, "decay_mult"))
                return options
        options = {}
        is_norm = isinstance(module, _NORMS)
        is_conv = isinstance(module, nn.Conv2d)
        if name == "bias" and not is_norm and not in_dcn:
            options["lr"] = self._lr(_factor(cfg, "bias_lr_mult"))
        if in_dcn and is_conv and "conv_offset" in full_name.rpartition(".")[0]:
            options["lr"] = self._lr(_factor(cfg, "dcn_offset_lr_mult"))
        if self.base_wd is None:
            return options
        if is_norm:
            options["weight_decay"] = self._wd(_factor(cfg, "norm_decay_mult"))
        elif is_conv and module.in_channels == module.groups:
            options["weight_decay"] = self._wd(_factor(cfg, "dwconv_decay_mult"))
        elif name == "bias" and not in_dcn:
            options["weight_decay"] = self._wd(_factor(cfg, "bias_decay_mult"))
        return options

    def _wd(self, mult: float) -> float:
        return _product("weight_decay", self.base_wd, mult)

    def _lr(self, mult: float) -> float:
        if self.base_lr is None:
            raise ConfigError(
                "paramwise_cfg multiplies lr, and the optimizer's config has none: write optimizer=dict(..., lr=...)"
            )
        return _product("lr", self.base_lr, mult)

    def _validate_cfg(self) -> None:
        cfg = self.paramwise_cfg
        if not isinstance(cfg, Mapping):
            raise TypeError(f"paramwise_cfg must be a dict or None, not {type(cfg).__name__}")
        custom = cfg.get("custom_keys", {})
        if not isinstance(custom, Mapping):
            raise TypeError(
                "custom_keys of paramwise_cfg must be a dict such as {'backbone': dict(lr_mult=0.1)}, "
                f"not {type(custom).__name__}"
            )
        decays = [key for key in _DECAY_MULTS if key in cfg]
        decays += [f"custom_keys[{key!r}]['decay_mult']" for key, own in custom.items() if _has_decay(own)]
        if decays and self.base_wd is None:
            raise ConfigError(
                f"{decays[0]} of paramwise_cfg multiplies weight_decay, and the optimizer's config has none: "
                "write optimizer=dict(..., weight_decay=...)"
            )
        if type(self).add_params is DefaultOptimizerConstructor.add_params:  # else the keys are the subclass's
            _check_factors({key: value for key, value in cfg.items() if key in _MULTS}, "paramwise_cfg")
            _warn_of_unknown(cfg, _KEYS, "paramwise_cfg")
            check_flag("paramwise_cfg", "bypass_duplicate", cfg.get("bypass_duplicate", False))
            for key, own in custom.items():
                if not isinstance(key, str):
                    raise ConfigError(
                        "custom_keys of paramwise_cfg must have parts of parameters' names as keys, such as "
                        f"'backbone', not {key!r}"
                    )
                where = f"custom_keys[{key!r}] of paramwise_cfg"
                if not isinstance(own, Mapping):
                    raise TypeError(f"{where} must be a dict such as dict(lr_mult=0.1), not {own!r}")
                _check_factors({name: value for name, value in own.items() if name in _CUSTOM_KEYS}, where)
                _warn_of_unknown(own, _CUSTOM_KEYS, where)


def _has_decay(own: Any) -> bool:
    return isinstance(own, Mapping) and "decay_mult" in own


def _check_factors(factors: Mapping[str, Any], where: str) -> None:
    for key, value in factors.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{key} of {where} must be a number, not {value!r}")


def _factor(rules: Mapping[str, Any], key: str) -> Any:
    """Give a factor, one of NumPy as a number of Python: what it makes goes into checkpoints."""
    value = rules.get(key, 1.0)
    return value.item() if isinstance(value, np.generic) else value


#: How Python says that something is called with other arguments than it takes; it names them itself.
_MISCALLED = re.compile(r"unexpected keyword argument|\(\) missing \d|takes no arguments")


def _product(name: str, base: Any, factor: Any) -> float:
    if not _is_number(base):
        raise ConfigError(f"paramwise_cfg multiplies the optimizer's {name}, which must be a number, not {base!r}")
    product: float = base * factor
    return product


def _check_numbers(args: dict[str, Any]) -> None:
    """Refuse what is no number where an optimizer has one by default: it would compare or multiply it.

    One of torch takes nothing else there; one of somebody else's may have a meaning for None or True.
    """
    target = OPTIMIZERS.get(args["type"]) if isinstance(args.get("type"), str) else args.get("type")
    if not callable(target):
        return  # build_from_cfg tells
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # a class written in C
        return
    torchs = str(target.__module__).startswith("torch.")
    for name in (name for name in parameters if name in args):
        value, default = args[name], parameters[name].default
        if isinstance(default, Real) and not isinstance(default, bool):
            if isinstance(value, (str, list, tuple, dict)) or (torchs and not _is_number(value)):
                raise ConfigError(f"{target.__name__}'s {name} must be a number, not {value!r}")
        elif torchs and isinstance(default, tuple):
            if not _are_numbers(value, default):
                raise ConfigError(
                    f"{target.__name__}'s {name} must be {len(default)} numbers such as {default}, not {value!r}"
                )
            # newer releases of torch refuse betas=(0, 0.99), as many configs of GANs have it, and floats of NumPy
            args[name] = tuple(float(one) if isinstance(one, Real) else one for one in value)


def _is_number(value: Any) -> bool:
    """Tell a number, of NumPy too, or a tensor, in which torch may keep one."""
    return hasattr(type(value), "__float__") and not isinstance(value, bool)


def _are_numbers(value: Any, default: tuple[Any, ...]) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != len(default):
        return False
    return all(_is_number(one) or (one is None and None in default) for one in value)


def _warn_of_unknown(cfg: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in cfg:
        if key not in known:
            warnings.warn(
                f"{where} has {key!r}, which changes nothing: it knows {', '.join(known)}{nearest(str(key), known)}",
                stacklevel=4,
            )


def _build(module: nn.Module, cfg: Mapping[str, Any]) -> Optimizer:
    args = copy.deepcopy(dict(cfg))
    constructor = build_optimizer_constructor(
        {
            "type": args.pop("constructor", "DefaultOptimizerConstructor"),
            "paramwise_cfg": args.pop("paramwise_cfg", None),
            "optimizer_cfg": args,
        }
    )
    optimizer: Optimizer = constructor(module)
    return optimizer


def _submodule(model: nn.Module, name: str) -> nn.Module:
    children = dict(model.named_children())
    try:
        return children[name]
    except KeyError:
        hint = nearest(name, children) if isinstance(name, str) else ""
        raise ConfigError(
            f"optimizer has an entry {name!r}, but {type(model).__name__} has no submodule of that name, only "
            f"{', '.join(children) or 'none at all'}{hint}"
        ) from None

"""Mixed precision inside a model: decorators for its methods, and the switch that turns them on."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from mmhooks.checks import check_flag, check_module
from mmhooks.errors import ConfigError, ModelError, nearest

Names = str | Iterable[str] | None
Method = TypeVar("Method", bound=Callable[..., Any])

#: The names of the narrow types; "fp16" needs its loss scaled, "bf16" does not.
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def amp_dtype(name: Any) -> torch.dtype:
    """Give the type that a name stands for.

    Raises:
        ConfigError: neither "fp16" nor "bf16".
    """
    try:
        return DTYPES[name]
    except (KeyError, TypeError):
        close = nearest(name, DTYPES) if isinstance(name, str) else ""
        raise ConfigError(f"dtype must be 'fp16' or 'bf16', not {name!r}{close}") from None


def auto_fp16(
    apply_to: Names = None,
    out_fp32: bool = False,
    supported_types: type | tuple[type, ...] = (nn.Module,),
) -> Callable[[Method], Method]:
    """Decorate a method that is to run in fp16 (or bf16) once `wrap_fp16_model` has said so.

    Then its fp32 arguments are cast, and it runs under ``torch.autocast`` of the module's device, the CPU
    included. While the object has no ``fp16_enabled``, or a false one, the method is called as it is.

    Args:
        apply_to: the names of the arguments to cast (a string is one name). By default all that can be given
            by position; what ``*args`` collects is never cast. A name that the method does not have is warned of.
        out_fp32: cast the result back to fp32.
        supported_types: the classes whose methods may be decorated; a call on another is a `ModelError`.

    Raises:
        ConfigError: an argument of another kind.

    Example:
        >>> class Backbone(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.net, self.fp16_enabled = nn.Linear(4, 2), False
        ...
        ...     @auto_fp16(apply_to=("x",))
        ...     def forward(self, x, mask):
        ...         return self.net(x) * mask
    """
    check_flag("auto_fp16", "out_fp32", out_fp32)
    if isinstance(supported_types, type):
        supported_types = (supported_types,)
    if not isinstance(supported_types, tuple) or not all(isinstance(kind, type) for kind in supported_types):
        raise ConfigError(f"auto_fp16: supported_types must be a class or a tuple of them, not {supported_types!r}")
    return _decorator("auto_fp16", apply_to, narrow=True, back=out_fp32, supported=supported_types)


def force_fp32(apply_to: Names = None, out_fp16: bool = False) -> Callable[[Method], Method]:
    """Decorate a method that must compute in fp32, such as a loss, inside a model that runs in fp16 (or bf16).

    Its fp16 arguments are cast to fp32 and it runs with autocast switched off, while the module's
    ``fp16_enabled`` is true; otherwise it is called as it is.

    Args:
        apply_to: see `auto_fp16`.
        out_fp16: cast the result to fp16 (or bf16).

    Raises:
        ConfigError: an argument of another kind.
    """
    check_flag("force_fp32", "out_fp16", out_fp16)
    return _decorator("force_fp32", apply_to, narrow=False, back=out_fp16, supported=(nn.Module,))


def wrap_fp16_model(model: nn.Module, dtype: str = "fp16") -> None:
    """Turn the decorated methods of a model on: every module that has ``fp16_enabled`` gets True.

    The weights stay in fp32; autocast casts them as they are used.

    Args:
        model: the model, wrapped for parallel training or not.
        dtype: "fp16" or "bf16".

    Raises:
        ConfigError: another dtype.
        ModelError: ``model`` is no model.
    """
    check_module("wrap_fp16_model", "model", model)
    narrow = amp_dtype(dtype)
    for module in model.modules():
        if hasattr(module, "fp16_enabled"):
            module.fp16_enabled = True  # type: ignore[assignment]
            module.amp_dtype = narrow  # type: ignore[assignment]


def cast_tensor_type(inputs: Any, src_type: torch.dtype, dst_type: torch.dtype) -> Any:
    """Cast the tensors of one type, at any depth of mappings, lists, tuples and sets.

    Args:
        inputs: a tensor, a container, or anything else, which is given back.
        src_type: only tensors of this type are cast, so integers and masks stay.
        dst_type: the type they get.

    Returns:
        Containers of the same kinds, made anew.
    """
    if isinstance(inputs, torch.Tensor):
        return inputs.to(dst_type) if inputs.dtype == src_type else inputs
    if isinstance(inputs, Mapping):
        cast = {key: cast_tensor_type(value, src_type, dst_type) for key, value in inputs.items()}
        return cast if type(inputs) is dict else _like(inputs, cast)
    if isinstance(inputs, (list, tuple, set, frozenset)):
        parts = [cast_tensor_type(item, src_type, dst_type) for item in inputs]
        if hasattr(inputs, "_fields"):  # a named tuple
            return type(inputs)(*parts)
        return parts if type(inputs) is list else type(inputs)(parts)
    return inputs


def _like(inputs: Mapping[Any, Any], cast: dict[Any, Any]) -> Any:
    try:
        return type(inputs)(cast)  # type: ignore[call-arg]
    except TypeError:  # a defaultdict or the like
        return cast


def _decorator(
    name: str, apply_to: Names, narrow: bool, back: bool, supported: tuple[type, ...]
) -> Callable[[Method], Method]:
    """Make both decorators: ``narrow`` casts fp32 to fp16 and autocasts; without it all is the other way round."""
    wanted = _names(name, apply_to)

    def decorate(method: Method) -> Method:
        by_place, chosen = _chosen(name, method, wanted)

        @functools.wraps(method)
        def run(*args: Any, **kwargs: Any) -> Any:
            owner = args[0] if args else None
            if not isinstance(owner, supported):
                raise ModelError(
                    f"@{name} decorates methods of {' or '.join(kind.__name__ for kind in supported)}, and "
                    f"{method.__qualname__} was called on {type(owner).__name__}"
                )
            if not getattr(owner, "fp16_enabled", False):
                return method(*args, **kwargs)
            low: torch.dtype = getattr(owner, "amp_dtype", torch.float16)
            source, target = (torch.float32, low) if narrow else (low, torch.float32)
            places = zip(args, by_place, strict=False)  # what *args collects follows, as it is
            given = [cast_tensor_type(arg, source, target) if cast else arg for arg, cast in places]
            given += args[len(by_place) :]
            named = {k: cast_tensor_type(v, source, target) if k in chosen else v for k, v in kwargs.items()}
            with torch.autocast(_device_type(owner, given[1:], named), dtype=low, enabled=narrow):
                output = method(*given, **named)
            return cast_tensor_type(output, target, source) if back else output

        return run  # type: ignore[return-value]

    return decorate


def _names(decorator: str, apply_to: Names) -> tuple[str, ...] | None:
    if apply_to is None or isinstance(apply_to, str):
        return apply_to if apply_to is None else (apply_to,)
    names = tuple(apply_to) if isinstance(apply_to, Iterable) else (apply_to,)
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{decorator}: apply_to takes argument names such as ('x', 'mask'), not {apply_to!r}")
    return names


def _chosen(
    decorator: str, method: Callable[..., Any], wanted: tuple[str, ...] | None
) -> tuple[list[bool], frozenset[str]]:
    """Say which arguments are cast: by place (the first is the object itself), and by name."""
    parameters = inspect.signature(method).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    positional = [p.name for p in parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if wanted is not None and inspect.Parameter.VAR_KEYWORD not in kinds:
        for word in wanted:
            if word not in parameters:
                warnings.warn(
                    f"@{decorator}: apply_to names {word!r}, which is no argument of {method.__qualname__}"
                    f"({', '.join(parameters)}){nearest(word, parameters)}",
                    stacklevel=4,
                )
    chosen = frozenset(positional[1:] if wanted is None else wanted)
    return [word in chosen for word in positional], chosen


def _device_type(owner: Any, args: Any, kwargs: Mapping[str, Any]) -> str:
    """Find where a call computes: the owner's parameters say it, or else the first tensor that it is given."""
    if isinstance(owner, nn.Module):
        parameter = next(owner.parameters(), None)
        if parameter is not None:
            return parameter.device.type
    tensor = _first_tensor([args, kwargs])
    return "cpu" if tensor is None else tensor.device.type


def _first_tensor(value: Any) -> torch.Tensor | None:
    if isinstance(value, torch.Tensor):
        return value
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple, set, frozenset)):
        return None
    return next((tensor for item in value if (tensor := _first_tensor(item)) is not None), None)

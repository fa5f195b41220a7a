"""Checks that many arguments share: each names its argument, the value, and what is allowed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any

import torch
from torch import nn

from mmhooks.errors import ConfigError, ModelError, nearest


def check_flag(owner: str, name: str, value: Any) -> bool:
    """Check that an argument is a bool.

    Args:
        owner: whose argument it is, for the message: ``"CheckpointHook"``.
        name: the argument's name.
        value: what was given.

    Raises:
        ConfigError: it is something else.

    Example:
        >>> check_flag("CheckpointHook", "save_last", True)
        True
    """
    if not isinstance(value, bool):
        raise ConfigError(f"{owner}'s {name} must be True or False, not {value!r}")
    return value


def check_count(
    owner: str,
    name: str,
    value: Any,
    minimum: int = 1,
    *,
    special: Mapping[int | None, str] | None = None,
    whole_floats: bool = False,
) -> int:
    """Check that an argument is an integer that is large enough.

    Args:
        owner: whose argument it is.
        name: the argument's name.
        value: an integer of Python or NumPy; a bool is none.
        minimum: the least that is allowed.
        special: values below it that are allowed too, and what they stand for; None is only named, in the message.
        whole_floats: take ``40_000.0`` too, where MMCV does.

    Returns:
        The value as an int of Python.

    Raises:
        ConfigError: it is something else.

    Example:
        >>> check_count("CheckpointHook", "interval", -1, special={-1: "the last one only"})
        -1
    """
    whole = isinstance(value, Integral) or (whole_floats and isinstance(value, float) and value.is_integer())
    if whole and not isinstance(value, bool):
        count = int(value)
        if count >= minimum or count in (special or ()):
            return count
    allowed = {0: "0 or a positive integer", 1: "a positive integer"}.get(minimum, f"an integer from {minimum} on")
    others = "".join(f", or {one} for {meaning}" for one, meaning in (special or {}).items())
    raise ConfigError(f"{owner}'s {name} must be {allowed}{others}, not {value!r}")


def check_number(
    owner: str,
    name: str,
    value: Any,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> float:
    """Check that an argument is a finite number in a range.

    Args:
        owner: whose argument it is.
        name: the argument's name.
        value: a number of Python or NumPy; a bool is none.
        minimum: the least that is allowed, or
        above: what it must be above.
        maximum: the most that is allowed, or
        below: what it must be below.

    Returns:
        The value as an int or a float of Python.

    Raises:
        ConfigError: it is something else.

    Example:
        >>> check_number("CyclicLrUpdaterHook", "gamma", 0.5, above=0, maximum=1)
        0.5
    """
    low, high = minimum if above is None else above, maximum if below is None else below
    number = _finite(value)
    if number is not None:
        high_enough = low is None or number > low or (number == low and above is None)
        low_enough = high is None or number < high or (number == high and below is None)
        if high_enough and low_enough:
            return number
    if low is not None and high is not None:
        allowed = f"a number in {'[' if above is None else '('}{low}, {high}{']' if below is None else ')'}"
    else:
        bounds = {" above": above, " of at least": minimum, " below": below, " of at most": maximum}
        allowed = "a finite number" + "".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None)
    raise ConfigError(f"{owner}'s {name} must be {allowed}, not {value!r}")


def _finite(value: Any) -> float | None:
    """Give a finite number as one of Python: arithmetic with float32 would be in float32."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return None
    if not finite:
        return None
    return int(value) if isinstance(value, Integral) else float(value)


def check_path(owner: str, name: str, value: Any, *, optional: bool = False) -> str | None:
    """Check that an argument is the name of a file or a folder, local or in a store.

    Args:
        owner: whose argument it is.
        name: the argument's name.
        value: a str or a ``pathlib.Path``.
        optional: None is allowed.

    Returns:
        The name as a str, or None.

    Raises:
        ConfigError: it is something else.
    """
    if value is None and optional:
        return None
    text = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(text, str):
        or_none = " or None" if optional else ""
        raise ConfigError(f"{owner}'s {name} must be a path (str or pathlib.Path){or_none}, not {value!r}")
    return text


def check_choice(owner: str, name: str, value: Any, choices: Iterable[str]) -> str:
    """Check that an argument is one of a few words.

    Args:
        owner: whose argument it is.
        name: the argument's name.
        value: what was given.
        choices: the words.

    Raises:
        ConfigError: it is something else; the nearest word is named.
    """
    known = list(choices)
    if not isinstance(value, str) or value not in known:
        hint = nearest(value, known) if isinstance(value, str) else ""
        words = " or ".join(map(repr, known))
        raise ConfigError(f"{owner}'s {name} must be {words}, not {value!r}{hint}")
    return value


def check_template(owner: str, name: str, value: Any, *, numbered: bool = True) -> str:
    """Check that an argument is a file name with a place for one number.

    Args:
        owner: whose argument it is.
        name: the argument's name.
        value: a format string such as ``"epoch_{}.pth"`` or ``"epoch_{:03d}.pth"``.
        numbered: the place must be there; otherwise a name without one is fine.

    Raises:
        ConfigError: it is something else.
    """
    wanted = f"{owner}'s {name} must be a file name with one {{}} for the number, as in 'epoch_{{}}.pth', not {value!r}"
    if not isinstance(value, str):
        raise ConfigError(wanted)
    try:
        one, other = value.format(1), value.format(2)
    except (IndexError, KeyError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{wanted} ({type(error).__name__}: {error})") from None
    if numbered and one == other:
        raise ConfigError(f"{wanted}, which has no {{}} for the number")
    return value


def check_device(owner: str, name: str, value: Any) -> None:
    """Check that an argument is what ``torch.load`` takes as its ``map_location``.

    Args:
        owner: whose argument it is.
        name: the argument's name.
        value: a device or its name, a dict of such names, a function, or None.

    Raises:
        ConfigError: it is something else, or there is no such kind of device.
    """
    why = ""
    if isinstance(value, str):
        try:
            torch.device(value)
        except RuntimeError as error:
            why = f" ({str(error).splitlines()[0]})"
        else:
            return
    elif value is None or isinstance(value, (torch.device, dict)) or callable(value):
        return
    raise ConfigError(
        f"{owner}'s {name} must be a device such as 'cpu' or 'cuda:0', a dict of devices, a function or None, "
        f"not {value!r}{why}"
    )


def check_file(owner: str, name: str, value: Any) -> str:
    """Check that an argument is the name of a file, as `check_path` does, and not an empty one.

    Args:
        owner: whose argument it is.
        name: the argument's name.
        value: a str or a ``pathlib.Path``.

    Returns:
        The name as a str.

    Raises:
        ConfigError: it is something else.
    """
    path = check_path(owner, name, value)
    if not path:
        raise ConfigError(f"{owner}'s {name} is an empty name: name a file, such as 'work_dir/latest.pth'")
    return path


def check_module(owner: str, name: str, value: Any) -> None:
    """Check that an argument is a model.

    Args:
        owner: whose argument it is.
        name: the argument's name.
        value: a ``torch.nn.Module``, in a parallel wrapper or not.

    Raises:
        ModelError: it is something else.
    """
    if not isinstance(value, nn.Module):
        given = type(value).__name__ if value is not None else "None"
        if isinstance(value, type):
            given = f"the class {value.__name__}: call it to make one"
        raise ModelError(f"{owner}'s {name} must be a torch.nn.Module, not {given}")


def check_logger(owner: str, name: str, value: Any) -> None:
    """Check that an argument is a logger or None.

    Args:
        owner: whose argument it is.
        name: the argument's name.
        value: a ``logging.Logger``, or what has its methods.

    Raises:
        ConfigError: it is something else.
    """
    if value is not None and not all(callable(getattr(value, method, None)) for method in ("info", "warning")):
        raise ConfigError(f"{owner}'s {name} must be a logging.Logger or None, not {value!r}")

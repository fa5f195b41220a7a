"""How a config is laid over its base, and options over a config: MMCV's rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmhooks.errors import ConfigError

DELETE_KEY = "_delete_"


class ConfigKeyError(ConfigError, KeyError):
    """A key that a config cannot have, or that leads nowhere."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class ConfigTypeError(ConfigError, TypeError):
    """A dict where the config below it has another kind of value."""


def merge(child: Mapping[Any, Any], base: Any, *, list_keys: bool = False, at: str = "") -> Any:
    """Lay one dict over another; neither is changed.

    A dict goes into the base's dict key by key, unless it says `_delete_=True`; any other value replaces the base's.

    Args:
        child: what is laid over.
        base: a dict, or with list_keys a list, whose elements the child's keys then number.
        list_keys: whether keys such as '0' reach into lists.
        at: the dotted key of base, for messages.

    Raises:
        ConfigTypeError: a dict over a value that is none.
        ConfigKeyError: an index that a list does not have.

    Example:
        >>> merge({"model": {"width": 8}}, {"model": {"type": "Net", "width": 4}})
        {'model': {'type': 'Net', 'width': 8}}
    """
    merged = base.copy()
    for key, value in child.items():
        place = f"{at}.{key}" if at else str(key)
        slot = _index(key, base, at) if isinstance(base, list) else key
        if isinstance(value, dict) and (isinstance(base, list) or key in base):
            value = merge_value(value, base[slot], list_keys, place)
        merged[slot] = value  # where no base has the key, a `_delete_` stays in it, as MMCV has it
    return merged


def merge_value(value: dict[Any, Any], below: Any, list_keys: bool, place: str) -> Any:
    """Lay the dict of a key over the value that the base has for it.

    Args:
        value: the dict.
        below: the value of the base.
        list_keys: whether keys such as '0' reach into lists.
        place: the dotted key, for messages.
    """
    if DELETE_KEY in value:
        value = value.copy()
        if value.pop(DELETE_KEY):
            return value
    if isinstance(below, dict) or (list_keys and isinstance(below, list)):
        return merge(value, below, list_keys=list_keys, at=place)
    raise ConfigTypeError(
        f"{place:.300} is a dict here, but of type {type(below).__name__} in what it is merged into; "
        f"put {DELETE_KEY}=True into the dict to replace the other value"
    )


def _index(key: Any, values: list[Any], at: str) -> int:
    text = str(key)
    if not (text.isascii() and text.isdigit()):
        raise ConfigKeyError(f"{at}.{text}: {at} is a list, so the key must be an index from 0 to {len(values) - 1}")
    if len(text) > 9 or int(text) >= len(values):
        raise ConfigKeyError(f"{at}.{text}: index {text} is out of range, the list {at} has length {len(values)}")
    return int(text)


def nest_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into dicts in dicts.

    Args:
        options: such as `{"model.width": 32}`.

    Raises:
        ConfigKeyError: two of the keys exclude each other.

    Example:
        >>> nest_options({"model.width": 32, "model.type": "Net"})
        {'model': {'width': 32, 'type': 'Net'}}
    """
    nested: dict[str, Any] = {}
    for dotted, value in options.items():
        *parents, last = dotted.split(".")
        level = nested
        for parent in parents:
            inner = level.get(parent, {})
            if not isinstance(inner, dict):
                raise ConfigKeyError(f"option {dotted}: another option sets {parent} to {inner!r}, which has no keys")
            level[parent] = dict(inner)  # a dict that the caller gave is not written into
            level = level[parent]
        level[last] = value
    return nested

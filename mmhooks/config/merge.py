"""How a config is laid over its base, and options over a config: MMCV's rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmhooks.errors import ConfigError

DELETE_KEY = "_delete_"


def merge(child: Mapping[Any, Any], base: Any, *, list_keys: bool = False, at: str = "") -> Any:
    """Lay one dict over another; neither is changed.

    A dict goes into the base's dict key by key, unless it says `_delete_=True`; any other value replaces the base's.

    Args:
        child: what is laid over.
        base: a dict, or with list_keys a list, whose elements the child's keys then number.
        list_keys: whether keys such as '0' reach into lists.
        at: the dotted key of base, for messages.

    Raises:
        ConfigError: a dict over a value that is none, or an index that a list does not have.

    Example:
        >>> merge({"model": {"width": 8}}, {"model": {"type": "Net", "width": 4}})
        {'model': {'type': 'Net', 'width': 8}}
    """
    merged = base.copy()
    for key, value in child.items():
        place = f"{at}.{key}" if at else str(key)
        slot = _index(key, base, at) if isinstance(base, list) else key
        present = isinstance(base, list) or key in base
        if not isinstance(value, dict):
            merged[slot] = value
        elif not present:
            merged[slot] = dict(value)  # a `_delete_` stays in it, as MMCV has it
        else:
            merged[slot] = _merge_dict(value, merged[slot], list_keys, place)
    return merged


def _merge_dict(value: dict[Any, Any], below: Any, list_keys: bool, place: str) -> Any:
    kept = {key: item for key, item in value.items() if key != DELETE_KEY}
    if value.get(DELETE_KEY, False):
        return kept
    if isinstance(below, dict) or (list_keys and isinstance(below, list)):
        return merge(kept, below, list_keys=list_keys, at=place)
    raise ConfigError(
        f"{place} is a dict here, but of type {type(below).__name__} in what it is merged into; "
        f"put {DELETE_KEY}=True into the dict to replace the other value"
    )


def _index(key: Any, values: list[Any], at: str) -> int:
    text = str(key)
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"{at}.{text}: {at} is a list, so the key must be an index from 0 to {len(values) - 1}")
    if int(text) >= len(values):
        raise ConfigError(f"{at}.{text}: index {text} is out of range, the list {at} has length {len(values)}")
    return int(text)


def nest_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into dicts in dicts.

    Args:
        options: such as `{"model.width": 32}`.

    Raises:
        ConfigError: two of the keys exclude each other.

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
                raise ConfigError(f"option {dotted}: another option sets {parent} to {inner!r}, which has no keys")
            level[parent] = dict(inner)  # a dict that the caller gave is not written into
            level = level[parent]
        level[last] = value
    return nested

"""A dict whose keys can be read and written as attributes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Self

from mmhooks.errors import nearest

_SINGLE = frozenset({str, int, float, bool, type(None)})  # most values, and none of them holds another


class ConfigDict(dict[Any, Any]):
    """A dict with attribute access; dicts put into it, in lists and tuples too, become ConfigDicts.

    What it is made of is copied, as far as dicts, lists and tuples go.

    Args:
        *args: a mapping or an iterable of pairs, as for dict.
        **kwargs: further keys.

    Raises:
        AttributeError: when an attribute is read that is no key; names the nearest ones.

    Example:
        >>> model = ConfigDict(type="Net", head={"classes": 10})
        >>> model.head.classes
        10
    """

    def __init__(self, /, *args: Mapping[Any, Any] | Iterable[tuple[Any, Any]], **kwargs: Any) -> None:
        super().__init__({key: _copied(value) for key, value in dict(*args, **kwargs).items()})

    @classmethod
    def holding(cls, values: dict[Any, Any]) -> Self:
        """Make one of values that are wrapped already, without a look at them."""
        made = cls.__new__(cls)
        dict.update(made, values)
        return made

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, wrap(value))

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(missing(type(self).__name__, name, self)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise AttributeError(f"{name!r} is a method of {type(self).__name__}; write cfg[{name!r}] = ...")
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(missing(type(self).__name__, name, self))
        del self[name]

    def update(self, /, *args: Any, **kwargs: Any) -> None:
        """Take over keys; a dict goes into a dict that is there, key by key, as in MMCV."""
        for key, value in dict(*args, **kwargs).items():
            if isinstance(value, dict) and isinstance(self.get(key), ConfigDict):
                self[key].update(value)
            else:
                self[key] = value

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Give the value of a key, which becomes the default if it is missing."""
        if key not in self:
            self[key] = default
        return self[key]

    def __or__(self, other: Any) -> Any:
        if not isinstance(other, dict):
            return NotImplemented
        made = type(self)(self)
        made.update(other)
        return made

    def __ror__(self, other: Any) -> Any:
        return type(self)(other) | self if isinstance(other, dict) else NotImplemented

    def __ior__(self, other: Any) -> Self:
        self.update(other)
        return self

    def copy(self) -> Self:
        """Make a shallow copy: the values are the same objects."""
        return self.holding(self)

    __copy__ = copy

    def deepcopy(self) -> Self:
        """Make a copy that shares nothing with this one."""
        return copy.deepcopy(self)

    def to_dict(self) -> dict[Any, Any]:
        """Make a deep copy of plain dicts, lists and tuples."""
        return {key: unwrap(value) for key, value in self.items()}


def wrap(value: Any) -> Any:
    """Make the dicts in a value ConfigDicts."""
    if isinstance(value, dict):
        return value if isinstance(value, ConfigDict) else ConfigDict(value)
    if type(value) in (list, tuple):
        return type(value)([wrap(item) for item in value])
    return value


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return ConfigDict(value)
    if type(value) in (list, tuple):
        return type(value)([_copied(item) for item in value])
    return value


def unwrap(value: Any) -> Any:
    """Copy dicts, lists and tuples, with plain dicts in place of ConfigDicts; what is none of these stays itself."""
    if isinstance(value, dict):
        return {key: item if type(item) in _SINGLE else unwrap(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)([item if type(item) in _SINGLE else unwrap(item) for item in value])
    return value


def missing(owner: str, name: str, keys: Iterable[Any]) -> str:
    """Say that a key is missing, and which ones are near.

    Args:
        owner: what was asked, such as a class name.
        name: the key.
        keys: the keys that are there.
    """
    # copy and pickle ask for dunder names all the time: no search for those
    hint = "" if name.startswith("__") else nearest(name, map(str, keys))
    return f"{owner} has no attribute {name!r}{hint}"

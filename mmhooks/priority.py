"""The order of hooks within a point."""

from __future__ import annotations

from enum import Enum

from mmhooks.errors import ConfigError, nearest


class Priority(Enum):
    """Named priorities, 0 to 100: the lower the value, the earlier a hook is called at every point."""

    HIGHEST = 0
    VERY_HIGH = 10
    HIGH = 30
    ABOVE_NORMAL = 40
    NORMAL = 50
    BELOW_NORMAL = 60
    LOW = 70
    VERY_LOW = 90
    LOWEST = 100


def get_priority(priority: int | str | Priority) -> int:
    """Turn a priority, however it is written, into its value.

    Args:
        priority: an integer from 0 to 100, a `Priority`, or a name of one in any case.

    Raises:
        ConfigError: an integer out of range, or a name that is none.
        TypeError: neither an integer nor a name nor a `Priority`.

    Example:
        >>> get_priority("above_normal"), get_priority(Priority.LOW), get_priority(7)
        (40, 70, 7)
    """
    if isinstance(priority, Priority):
        return int(priority.value)
    if isinstance(priority, int):
        if not 0 <= priority <= 100:
            raise ConfigError(f"priority {priority} is out of range: write an integer from 0 (first) to 100 (last)")
        return priority
    if isinstance(priority, str):
        try:
            return int(Priority[priority.upper()].value)
        except KeyError:
            names = [level.name for level in Priority]
            raise ConfigError(
                f"priority {priority!r} is none of {', '.join(names)}{nearest(priority, names)}"
            ) from None
    raise TypeError(f"priority must be an integer, a name or a Priority, not {type(priority).__name__}")


def priority_name(value: int) -> str:
    """Name a priority value where it has a name, and write it as a number elsewhere."""
    try:
        return Priority(value).name
    except ValueError:
        return str(value)

"""What a config file says becomes a tree of ConfigDicts of its own."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from mmhooks.config.configdict import ConfigDict
from mmhooks.config.limits import MAX_DEPTH, Budget, Refusal
from mmhooks.config.templates import Pending

# dates are what YAML makes of 2020-01-31
DATA = frozenset({type(None), bool, int, float, complex, str, bytes, range, datetime.date, datetime.datetime})


def settle(value: Any, look_up: Callable[[Pending], Any], budget: Budget, depth: int = 0) -> Any:
    """Copy a value into a tree that shares no part with another one, with the bases' values put in.

    Args:
        value: what a file says.
        look_up: gives the value of a Pending.
        budget: is charged for every element of the copy.
        depth: how deep the value lies.

    Raises:
        Refusal: the value is no data but an iterator or a view, or it is too large or too deep.
    """
    kind = type(value)
    if kind in DATA:
        return value
    if kind is Pending:
        return settle(look_up(value), look_up, budget, depth)
    if kind not in _COPIES:
        raise Refusal(f"a {kind.__name__} object is no data; write list(...) around it")
    if depth > MAX_DEPTH:
        raise Refusal(f"a value is nested more than {MAX_DEPTH} deep, or holds itself")
    budget.step(1 + len(value))
    if kind is dict:
        depth += 1
        return ConfigDict.holding(
            {key: item if type(item) in DATA else settle(item, look_up, budget, depth) for key, item in value.items()}
        )
    if kind is set:
        return set(value)
    items = [item if type(item) in DATA else settle(item, look_up, budget, depth + 1) for item in value]
    return items if kind is list else tuple(items)


_COPIES = frozenset({dict, list, tuple, set})

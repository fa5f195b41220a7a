"""Plain data as Python text, in lines of 120 characters."""

from __future__ import annotations

import math
from typing import Any

_WIDTH = 120


def assignments(values: dict[str, Any]) -> str:
    """Write ``name: dict[str, Any] = ...`` for every value, laid out as formatters do.

    Args:
        values: dicts, lists, tuples, texts, numbers, True, False and None, by name.

    Example:
        >>> print(assignments({"lr": 0.1, "model": {"type": "Net", "size": (8, 8)}}), end="")
        lr = 0.1
        model: dict[str, Any] = {"type": "Net", "size": (8, 8)}
    """
    return "".join(_assignment(name, value) for name, value in values.items())


def _assignment(name: str, value: Any) -> str:
    kinds = {dict: ": dict[str, Any]", list: ": list[Any]", type(None): ": Any"}
    start = f"{name}{kinds.get(type(value), '')} = "
    return f"{start}{_text(value, 0, len(start), 0)}\n"


def _text(value: Any, indent: int, start: int, after: int) -> str:
    """Write a value that begins in a column of a line, before as many more characters."""
    flat = flat_text(value)
    if start + len(flat) + after <= _WIDTH or not isinstance(value, (dict, list, tuple)) or not value:
        return flat
    inner = indent + 4
    opening, closing = {dict: ("{", "}"), list: ("[", "]")}.get(type(value), ("(", ")"))
    lines = []
    if isinstance(value, dict):
        for key, one in value.items():
            head = f"{flat_text(key)}: "
            lines.append(f"{head}{_text(one, inner, inner + len(head), 1)}")
    else:
        lines = [_text(one, inner, inner, 1) for one in value]
    body = "".join(f"{' ' * inner}{line},\n" for line in lines)
    return f"{opening}\n{body}{' ' * indent}{closing}"


def flat_text(value: Any) -> str:
    """Write a value in one line."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flat_text(key)}: {flat_text(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(flat_text, value))
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def _quoted(text: str) -> str:
    """Quote as formatters do: with double quotes, unless that takes more escapes."""
    plain = repr(text)
    if plain[0] == '"':
        return plain
    inner = plain[1:-1].replace("\\'", "'")
    return plain if '"' in inner else f'"{inner}"'
